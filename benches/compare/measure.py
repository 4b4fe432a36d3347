"""Runs the load tool against contenders, in turns, and keeps what it says."""

import http.client
import json
import os
import shutil
import statistics
import subprocess
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from contenders import LOAD, OUT, Contender, accepts, free_port

ERRORS = []


@dataclass
class Bench:
    """The sizes of a session, and the backend's address."""

    quick: bool
    backend: str = field(default_factory=lambda: f"127.0.0.1:{free_port()}")

    def size(self, full, quick):
        return quick if self.quick else full

    @property
    def rounds(self):
        return self.size(5, 2)

    @property
    def seconds(self):
        return self.size(3.0, 1.0)

    def mint(self, name, **options):
        """Writes tokens and their key set, new in every session, and returns the folder."""
        folder = OUT / "tokens" / name
        shutil.rmtree(folder, ignore_errors=True)
        call([LOAD, "mint", *flags(options), folder])
        return folder

    @contextmanager
    def contenders(self, kinds, setup, checked=True):
        with ExitStack() as stack:
            running = {kind: stack.enter_context(Contender(kind, setup, self.backend)) for kind in kinds}
            if checked and not setup.tls:
                self.check(running.values())
            yield running

    @contextmanager
    def backend_alone(self):
        process = subprocess.Popen([LOAD, "backend", self.backend], stdin=subprocess.PIPE)
        try:
            while process.poll() is None and not accepts(int(self.backend.split(":")[1])):
                time.sleep(0.02)
            yield
        finally:
            process.stdin.close()
            process.wait(10)

    def check(self, running):
        """Asks every contender for what it must answer, before anything is measured."""
        with self.backend_alone():
            for contender in running:
                keys = contender.setup.keys
                checks = contender.kind == "scopegate" or "jwt" in contender.kind
                expected = {"tokens": 200, "unscoped": 403 if checks else 200, None: 401 if checks else 200}
                if (keys / "forged.txt").stat().st_size:
                    expected["forged"] = 401 if checks else 200
                for file, status in expected.items():
                    found = ask(contender.port, file and first_line(keys / f"{file}.txt"))
                    if found != status:
                        raise SystemExit(f"{contender.name} answers {found}, not {status}, with {file}")

    def run(self, contender, *, address=None, cores="0", **options):
        """One run of the load tool; see `load run --help` for the options."""
        options.setdefault("seconds", self.seconds)
        if contender:
            options["watch"] = contender.watch()
            if contender.setup.tls:
                options["tls"] = OUT / "tls" / "cert.pem"
        command = [LOAD, "run", "--to", address or contender.address, "--backend", self.backend, *flags(options)]
        return checked(contender, ["taskset", "-c", cores, *command])

    def stream(self, contender, **options):
        command = [LOAD, "stream", "--to", contender.address, "--backend", self.backend,
                   "--watch", contender.watch(), *flags(options)]
        return checked(contender, ["taskset", "-c", "0", *command])

    @contextmanager
    def held(self, contender, connections, tokens):
        """Connections that were used once and stay open inside the `with` block."""
        command = [LOAD, "hold", "--to", contender.address, "--backend", self.backend, "--connections",
                   connections, "--tokens", tokens, "--first", 1]
        if contender.setup.tls:
            command += ["--tls", OUT / "tls" / "cert.pem"]
        process = subprocess.Popen(list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            if process.stdout.readline() != b"ready\n":
                raise SystemExit(f"{contender.name} does not keep {connections} connections")
            yield
        finally:
            process.stdin.close()
            process.wait(10)


def interleave(rounds, cases):
    """Calls every case once a round, each round beginning with another; all results by case."""
    results = {name: [] for name in cases}
    order = list(cases)
    for number in range(rounds):
        turn = number % len(order)
        for name in order[turn:] + order[:turn]:
            results[name].append(cases[name](number))
    return results


def flags(options):
    words = []
    for name, value in options.items():
        if value is True:
            words.append("--" + name.replace("_", "-"))
        elif value is not None and value is not False:
            words += ["--" + name.replace("_", "-"), str(value)]
    return words


def checked(contender, command):
    """Runs the load tool and takes note of every answer that is not the expected one."""
    result = json.loads(call(command))
    wrong = result["errors"] + result.get("flood", {}).get("errors", 0)
    if wrong or not result.get("requests", 1):
        name = contender.name if contender else "direct"
        ERRORS.append(f"{name}: {wrong} wrong answers: {result.get('wrong')} {result.get('flood')}")
    result["command"] = " ".join(map(str, command)).replace(f"{os.getcwd()}/", "")
    return result


def call(command):
    return subprocess.run(list(map(str, command)), check=True, stdout=subprocess.PIPE, text=True).stdout


def ask(port, token):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    headers = {"Host": "api.example.com"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    connection.request("GET", "/orders/42", headers=headers)
    status = connection.getresponse().status
    connection.close()
    return status


def first_line(file):
    with file.open() as text:
        return text.readline().strip()


def median(runs, name):
    return statistics.median(run[name] for run in runs)
