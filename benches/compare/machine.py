"""What it runs on: printed beside every table."""

import os
import platform
import re
import subprocess
import time
from pathlib import Path

from contenders import ENVOY, SCOPEGATE


class Machine:
    """Counts the stolen time since it was made."""

    def __init__(self, quick):
        self.quick, self.start = quick, cpu_times()

    def about(self):
        spent = [now - before for now, before in zip(cpu_times(), self.start)]
        return {
            "quick": self.quick, "date": time.strftime("%Y-%m-%d", time.gmtime()), "versions": versions(),
            "machine": machine(), "steal": spent[7] / max(sum(spent), 1), "load_average": os.getloadavg(),
        }


def cpu_times():
    return [int(ticks) for ticks in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]


def machine():
    info = Path("/proc/cpuinfo").read_text()
    model = re.search(r"model name\s*: (.*)", info)[1]
    memory = int(Path("/proc/meminfo").read_text().split()[1]) / (1 << 20)
    return f"{os.cpu_count()} cores {model}, {memory:.0f} GiB, Linux {platform.release().split('-')[0]}"


def versions():
    return {
        "Scopegate": found(r"scopegate (\S+)", SCOPEGATE, "--version"),
        "nginx": found(r"nginx/(\S+)", "nginx", "-v"),
        "HAProxy": found(r"version (\d[\d.]*\d)", "haproxy", "-v"),
        "Envoy": found(r"/(\d+\.\d+\.\d+)/", ENVOY, "--version"),
    }


def found(pattern, *command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    match = re.search(pattern, done.stdout)
    return match[1] if match else "?"


def verifies_per_second(algorithm):
    """What OpenSSL does on one core, pinned where the proxies run."""
    command = ["taskset", "-c", "1", "openssl", "speed", "-mr", "-seconds", "1", algorithm]
    lines = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    # +F2:index:bits:signatures per second:verifications per second (+F4 for ECDSA)
    last = [line for line in lines.splitlines() if line.startswith(("+F2", "+F4"))][-1]
    return float(last.split(":")[4])
