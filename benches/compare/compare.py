"""Measures Scopegate beside other proxies. Started by benches/compare/run, which installs them."""

import argparse
import os
import resource
import shutil
import sys

import costs
import growth
import report
import times
from contenders import LOAD, OUT
from machine import Machine
from measure import ERRORS, Bench, call

TABLES = {
    "P1": costs.p1, "P2": costs.p2, "P3": costs.p3, "P4": growth.p4, "P5": growth.p5,
    "P6": times.p6, "P7": costs.p7, "P8": times.p8, "P9": costs.p9,
}


def main():
    options = arguments()
    prepare()
    bench = Bench(options.quick)
    for name in options.tables or TABLES:
        machine = Machine(options.quick)
        title, text, data = TABLES[name](bench)
        report.write(name, title, text, data, machine.about(), options.write_docs)
    shutil.rmtree(OUT / "tokens", ignore_errors=True)
    if ERRORS:
        sys.exit("answers were wrong, so the figures above mean nothing:\n" + "\n".join(ERRORS))


def arguments():
    parser = argparse.ArgumentParser(prog="benches/compare/run", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a second for each: shows that it works")
    parser.add_argument("--write-docs", action="store_true", help="put the tables into docs/performance.md")
    parser.add_argument("tables", nargs="*", metavar="P1..P9", help="default: all")
    options = parser.parse_args()
    for name in options.tables:
        if name not in TABLES:
            parser.error(f"there is no table {name}")
    return options


def prepare():
    if os.cpu_count() < 2:
        sys.exit("two cores are needed: one for the proxy, one for the load")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard if hard != resource.RLIM_INFINITY else 65536, hard))
    OUT.mkdir(parents=True, exist_ok=True)
    call([LOAD, "certificate", OUT / "tls"])


if __name__ == "__main__":
    main()
