"""P6 and P8: latency at half load, and large bodies."""

from contenders import LABELS, Setup
from measure import interleave, median
from report import percent, spread, table


def p6(bench):
    keys = bench.mint("p6", count=1000, forged=1)
    kinds = ["scopegate", "hyper", "nginx", "haproxy", "haproxy-jwt", "envoy", "envoy-jwt-cache"]
    with bench.contenders(kinds, Setup(keys)) as running:
        most = {kind: bench.run(one, tokens=keys / "tokens.txt", seconds=1)["per_second"] for kind, one in running.items()}
        same = at_rates(bench, running, dict.fromkeys(kinds, most["scopegate"] / 2))
        own = at_rates(bench, running, {kind: most[kind] / 2 for kind in kinds})
    text = ("Requests at random times (Poisson) over 32 HTTP/1.1 connections without TLS. A request's time runs from when it was due; "
            "added is what is above a direct connection to the backend in the same round. Everyone at half of the requests/s that Scopegate "
            f"takes at once:\n\n{latencies(same)}\nEach at half of what it takes itself:\n\n{latencies(own)}")
    return "added latency at half load", text, {"same": same, "own": own}


def at_rates(bench, running, rates):
    """Everyone at a rate, and the backend itself at Scopegate's."""
    tokens = running["scopegate"].setup.keys / "tokens.txt"
    run = lambda one, rate, **more: bench.run(one, tokens=tokens, rate=round(rate, -2), **more)
    cases = {"direct": lambda _: run(None, rates["scopegate"], address=bench.backend)}
    cases |= {kind: lambda _, one=one, rate=rates[kind]: run(one, rate) for kind, one in running.items()}
    results = interleave(bench.rounds, cases)
    for runs in results.values():
        for one, direct in zip(runs, results["direct"]):
            for name in ["p50_us", "p99_us", "p999_us"]:
                one["added_" + name] = one[name] - direct[name]
    return results


def latencies(results):
    rows = []
    for kind, runs in results.items():
        busy = median(runs, "busy")
        cells = ["cannot keep up"] * len(NAMES) if busy > 0.95 else [spread(runs, name, 0) for name in NAMES]
        rows.append([LABELS[kind], spread(runs, "per_second", 0), *cells, percent(runs, "busy")])
    return table(["", "requests/s", "p50 µs", "p99 µs", "p99.9 µs", "added p99 µs", "added p99.9 µs", "core busy"], rows)


NAMES = ["p50_us", "p99_us", "p999_us", "added_p99_us", "added_p999_us"]


def p8(bench):
    keys = bench.mint("p8", count=1, forged=1)
    size = bench.size(1 << 30, 1 << 26)
    with bench.contenders(["scopegate", "hyper", "nginx", "haproxy", "envoy"], Setup(keys)) as running:
        cases = {(way, kind): lambda _, one=one, upload=way == "up": bench.stream(
            one, bytes=size, upload=upload, tokens=keys / "tokens.txt")
            for way in ["down", "up"] for kind, one in running.items()}
        results = interleave(bench.size(3, 2), cases)
    text = f"One body of {size >> 20:,} MiB over one HTTP/1.1 connection without TLS.\n"
    for way, title in [("down", "to the client"), ("up", "to the backend")]:
        rows = [[LABELS[kind], spread(runs, "mib_per_second", 0), spread(runs, "cpu_s_per_gib", 2),
                 f"{median(runs, 'peak_rss_kib') / 1024:.1f}"] for (found, kind), runs in results.items() if found == way]
        text += f"\n{table([title, 'MiB/s', 'CPU s per GiB', 'peak RSS MiB'], rows)}"
    return "streaming", text, {f"{way}, {kind}": runs for (way, kind), runs in results.items()}
