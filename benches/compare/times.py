"""P6 and P8: latency at half load, and large bodies."""

from contenders import LABELS, Setup
from measure import interleave, median
from report import percent, spread, table


def p6(bench):
    keys = bench.mint("p6", count=1000, forged=1)
    kinds = ["scopegate", "hyper", "nginx", "haproxy", "haproxy-jwt", "envoy", "envoy-jwt-cache"]
    with bench.contenders(kinds, Setup(keys)) as running:
        full = bench.run(running["scopegate"], tokens=keys / "tokens.txt", seconds=1)["per_second"]
        options = {"tokens": keys / "tokens.txt", "rate": round(full / 2, -2)}
        cases = {"direct": lambda _: bench.run(None, address=bench.backend, **options)}
        cases |= {kind: lambda _, one=one: bench.run(one, **options) for kind, one in running.items()}
        results = interleave(bench.rounds, cases)
    for runs in results.values():
        for run, direct in zip(runs, results["direct"]):
            for name in ["p50_us", "p99_us", "p999_us"]:
                run["added_" + name] = run[name] - direct[name]
    rows = [[LABELS[kind], *(spread(runs, name, 0) for name in NAMES), percent(runs, "busy")]
            for kind, runs in results.items()]
    text = (f"{options['rate']:,.0f} requests/s for everyone, which is half of what Scopegate took at once, at random times (Poisson) "
            "over 32 HTTP/1.1 connections without TLS. A request's time runs from when it was due; added is what is above a direct "
            "connection to the backend in the same round.\n\n"
            + table(["", "p50 µs", "p99 µs", "p99.9 µs", "added p99 µs", "added p99.9 µs", "core busy"], rows))
    return "added latency at half load", text, results


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
