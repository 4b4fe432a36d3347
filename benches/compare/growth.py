"""P4 and P5: what grows with the number of routes, clients, tokens and connections."""

import time
from contextlib import ExitStack

from contenders import LABELS, Contender, Setup
from measure import interleave, median
from report import spread, table


def p4(bench):
    data = {"routes": routes(bench), "clients": clients(bench), "tokens": tokens(bench)}
    text = "Scopegate alone; CPU per request and resident memory.\n"
    for what, curve in data.items():
        rows = [[f"{number:,}", spread(runs, "cpu_us"), f"{median(runs, 'rss_kib') / 1024:,.1f}"]
                for number, runs in curve.items()]
        each = bytes_each(curve)
        text += f"\n{table([what, 'CPU µs per request', 'RSS MiB'], rows)}\n{TEXTS[what]} Memory: {each:,.0f} bytes for each.\n"
    return "growth", text, data


TEXTS = {
    "routes": "Requests go to all routes in turn.",
    "clients": "Every client has one token (Ed25519, small) and uses it in turn: both the limiter and the remembered verdicts grow.",
    "tokens": "All tokens (Ed25519, small) belong to 10 clients and are used in turn, after each was seen once.",
}


def bytes_each(curve):
    (low, first), *_, (high, last) = curve.items()
    return (median(last, "rss_kib") - median(first, "rss_kib")) * 1024 / (high - low)


def routes(bench):
    keys = bench.mint("p4-routes", count=1000)
    sizes = [10, 100, 1000, 10_000]
    return grow(bench, sizes, "routes", lambda size: Setup(keys, routes=size),
                lambda size: {"tokens": keys / "tokens.txt", "path": "/r{}/42", "paths": size})


def clients(bench):
    return seen(bench, "clients", None)


def tokens(bench):
    return seen(bench, "tokens", 10)


def seen(bench, what, clients):
    sizes = bench.size([10, 100, 1000, 10_000, 100_000, 1_000_000], [10, 1000, 10_000])
    keys = bench.mint(f"p4-{what}", alg="EdDSA", small=True, count=sizes[-1], clients=clients or sizes[-1])
    return grow(bench, sizes, what, lambda _: Setup(keys, many=True),
                lambda size: {"tokens": keys / "tokens.txt", "first": size}, see_all)


def see_all(bench, contender, options):
    """Sends every token once, so that what is measured finds its verdict."""
    bench.run(contender, **options, once=True, warm=0, seconds=300)


def grow(bench, sizes, what, setup, options, prepare=None):
    """One gateway for each size, all at once, measured in turns."""
    with ExitStack() as stack:
        cases = {}
        for size in sizes:
            one = Contender("scopegate", setup(size), bench.backend, f"scopegate-{what}-{size}")
            stack.enter_context(one)
            if prepare:
                prepare(bench, one, options(size))
            cases[size] = lambda _, one=one, options=options(size): bench.run(one, **options)
        return interleave(bench.rounds, cases)


def p5(bench):
    keys = bench.mint("p5", count=1)
    sizes = bench.size([1, 500, 1000, 2000], [1, 100, 200])
    kinds = ["scopegate", "nginx", "haproxy", "envoy"]
    data = {kind: {size: [] for size in sizes} for kind in kinds}
    for _ in range(bench.size(3, 1)):
        # New processes each time: none gives memory back that connections once needed.
        with bench.contenders(kinds, Setup(keys, tls=True)) as running:
            for kind, one in running.items():
                for size in sizes:
                    with bench.held(one, size, keys / "tokens.txt"):
                        time.sleep(0.2)
                        data[kind][size].append({"rss_kib": one.rss_kib(), "rss_mib": one.rss_kib() / 1024})
    last = sizes[-1]
    head = ["", *(f"{size:,}: RSS MiB" for size in sizes), "KiB per connection"]
    rows = []
    for kind in kinds:
        curve = data[kind]
        each = [{"kib": (high["rss_kib"] - low["rss_kib"]) / (last - 1)} for low, high in zip(curve[1], curve[last])]
        rows.append([LABELS[kind], *(f"{median(curve[size], 'rss_mib'):,.1f}" for size in sizes), spread(each, "kib")])
    text = "TLS 1.3 connections that carried one request each and then stay open.\n\n" + table(head, rows)
    return "memory of idle connections", text, data
