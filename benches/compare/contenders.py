"""The proxies: how each is configured, started and stopped."""

import base64
import json
import os
import signal
import socket
import subprocess
import sysconfig
import time
from dataclasses import dataclass
from pathlib import Path

import configs

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "target" / "compare"
SCOPEGATE = ROOT / "target" / "release" / "scopegate"
LOAD = ROOT / "target" / "release" / "examples" / "load"
ENVOY = Path(sysconfig.get_paths()["purelib"]) / "envoy" / "_bin" / "envoy"

LABELS = {
    "direct": "no proxy",
    "scopegate": "**Scopegate, full enforcement**",
    "hyper": "bare hyper forwarder, no checks",
    "nginx": "nginx, no checks",
    "haproxy": "HAProxy, no checks",
    "haproxy-jwt": "HAProxy, jwt_verify + scope + limit",
    "envoy": "Envoy, no checks",
    "envoy-jwt-cache": "Envoy, jwt_authn (cache) + RBAC",
    "envoy-jwt": "Envoy, jwt_authn + RBAC",
}


@dataclass(frozen=True)
class Setup:
    """What a contender is to do. `keys` is a folder that `load mint` wrote."""

    keys: Path
    alg: str = "RS256"
    tls: bool = False
    log: bool = False
    workers: int = 1
    cores: str = "1"
    routes: int = 0
    many: bool = False

    @property
    def folder(self):
        return OUT / "run"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def accepts(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Contender:
    """A running proxy. Leaving the `with` block ends it."""

    def __init__(self, kind, setup, backend, name=None):
        self.kind, self.setup, self.name = kind, setup, name or kind
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.folder = setup.folder / self.name
        self.folder.mkdir(parents=True, exist_ok=True)
        # Whatever ends this process ends the proxy too.
        command = ["setpriv", "--pdeathsig", "TERM", "taskset", "-c", setup.cores, *self.command(backend)]
        self.log = self.folder / "stdout.log"
        with self.log.open("wb") as out, (self.folder / "stderr.log").open("wb") as err:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=out, stderr=err)
        try:
            self.wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def command(self, backend):
        name = self.kind.split("-")[0]
        text = "" if name == "hyper" else getattr(configs, name)(self, backend)
        file = self.folder / f"{name}.conf"
        file.write_text(text)
        if name == "scopegate":
            return [SCOPEGATE, "serve", "--workers", str(self.setup.workers), "--config", file]
        if name == "nginx":
            return ["nginx", "-p", self.folder, "-c", file]
        if name == "haproxy":
            return ["haproxy", "-db", "-f", file]
        if name == "envoy":
            file = file.rename(self.folder / "envoy.json")
            return [ENVOY, "-c", file, "--concurrency", str(self.setup.workers),
                    "--disable-hot-restart", "-l", "error"]
        return [LOAD, "forward", self.address, backend]

    def wait_until_ready(self):
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            if accepts(self.port):
                time.sleep(0.3)
                return
            time.sleep(0.05)
        errors = (self.folder / "stderr.log").read_text(errors="replace")[-2000:]
        raise SystemExit(f"{self.name} does not start:\n{errors}")

    def processes(self):
        """Its process and that process's children."""
        own = self.process.pid
        children = Path(f"/proc/{own}/task/{own}/children").read_text().split()
        return [own, *map(int, children)]

    def watch(self):
        return ",".join(map(str, self.processes()))

    def rss_kib(self):
        status = [Path(f"/proc/{pid}/status").read_text() for pid in self.processes()]
        return sum(int(text.split("VmRSS:")[1].split()[0]) for text in status)

    def stop(self):
        self.process.stdin.close()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for log in self.folder.glob("*.log"):
            os.truncate(log, min(log.stat().st_size, 1 << 20))


def public_key_pem(jwks):
    """The key set's one key as HAProxy wants it: PEM of a SubjectPublicKeyInfo (RFC 5280)."""
    key = json.loads(jwks.read_text())["keys"][0]
    part = lambda name: base64.urlsafe_b64decode(key[name] + "==")
    if key["kty"] == "RSA":
        start = "30820122300d06092a864886f70d01010105000382010f003082010a0282010100"
        der = bytes.fromhex(start) + part("n") + bytes.fromhex("0203010001")
    else:
        start = "3059301306072a8648ce3d020106082a8648ce3d03010703420004"
        der = bytes.fromhex(start) + part("x") + part("y")
    text = base64.encodebytes(der).decode()
    return f"-----BEGIN PUBLIC KEY-----\n{text}-----END PUBLIC KEY-----\n"
