"""P1, P2, P3, P7, P9: what a request costs in different circumstances."""

from contenders import LABELS, Setup
from machine import verifies_per_second
from measure import interleave
from report import cost_table, ratio, spread, table

ENFORCING = ["scopegate", "haproxy-jwt", "envoy-jwt-cache"]


def compare(bench, kinds, setup, **options):
    """Every contender under the same load, in turns."""
    with bench.contenders(kinds, setup) as running:
        cases = {kind: lambda _, one=one: bench.run(one, **options) for kind, one in running.items()}
        return interleave(bench.rounds, cases)


def p1(bench):
    keys = bench.mint("p1", count=1000, forged=10)
    kinds = [kind for kind in LABELS if kind != "direct"]
    off = compare(bench, kinds, Setup(keys), tokens=keys / "tokens.txt")
    kinds = ["scopegate", "nginx", "haproxy", "haproxy-jwt", "envoy", "envoy-jwt-cache"]
    on = compare(bench, kinds, Setup(keys, log=True), tokens=keys / "tokens.txt")
    text = (f"32 HTTP/1.1 connections without TLS, 1 000 RS256 tokens of {token_size(keys)} bytes, access log off:\n\n"
            f"{cost_table(off, 'nginx')}\nThe same with an access log in a file:\n\n{cost_table(on, 'nginx')}")
    return "full enforcement beside plain forwarding", text, {"off": off, "on": on}


def token_size(keys):
    with (keys / "tokens.txt").open() as file:
        return len(file.readline()) - 1


def p2(bench):
    parts, data = [], {}
    for alg, speed in [("RS256", "rsa2048"), ("ES256", "ecdsap256")]:
        results = unseen(bench, alg)
        verify = verifies_per_second(speed)
        for runs in results.values():
            for run in runs:
                run["verifies"] = run["cpu_us"] * verify / 1e6
        parts.append(f"{alg}; `openssl speed {speed}` verifies {verify:,.0f}/s on this core, {1e6 / verify:.1f} µs each:\n\n"
                     + cost_table(results, "scopegate"))
        data[alg] = {"openssl_verifies_per_second": verify, "contenders": results}
    text = "32 HTTP/1.1 connections without TLS; no token is ever sent twice to the same proxy.\n\n" + "\n".join(parts)
    return "a token never seen before on every request", text, data


def unseen(bench, alg):
    rounds, each = bench.size(3, 1), bench.size(50_000, 25_000)
    keys = bench.mint(f"p2-{alg}", alg=alg, count=rounds * each + each, forged=1)
    with bench.contenders(["scopegate", "haproxy-jwt", "envoy-jwt"], Setup(keys, alg=alg)) as running:
        # The last tokens are for warming up, and for `check`.
        cases = {kind: lambda number, one=one: bench.run(
            one, tokens=keys / "tokens.txt", skip=(number + 1) * each, once=True, warm=0.2,
            seconds=bench.size(1.5, 0.8)) for kind, one in running.items()}
        return interleave(rounds, cases)


def p3(bench):
    keys = bench.mint("p3", count=1000)
    kinds = ["scopegate", "nginx", "haproxy", "haproxy-jwt", "envoy", "envoy-jwt-cache"]
    setup = Setup(keys, tls=True)
    http1 = compare(bench, kinds, setup, tokens=keys / "tokens.txt")
    http2 = compare(bench, kinds, setup, tokens=keys / "tokens.txt", connections=4, streams=8)
    text = (f"32 HTTP/1.1 connections:\n\n{cost_table(http1, 'nginx')}\n"
            f"HTTP/2, 4 connections with 8 streams each:\n\n{cost_table(http2, 'nginx')}")
    return "TLS 1.3 towards clients", text, {"http1": http1, "http2": http2}


def p7(bench):
    keys = bench.mint("p7", count=1000, forged=bench.size(100_000, 10_000))
    kinds = {
        "accepted": {"tokens": keys / "tokens.txt"},
        "no token": {"expect": 401},
        "forged": {"tokens": keys / "forged.txt", "expect": 401},
        "good alone": {"tokens": keys / "tokens.txt", "rate": 1000, "connections": 8},
        "good beside a flood": {"tokens": keys / "tokens.txt", "rate": 1000, "connections": 8,
                                "flood": keys / "forged.txt"},
    }
    with bench.contenders(ENFORCING, Setup(keys)) as running:
        cases = {(who, what): lambda _, one=one, options=options: bench.run(one, **options)
                 for who, one in running.items() for what, options in kinds.items()}
        results = interleave(bench.size(3, 1), cases)
    text = (f"CPU per request, and what it is beside accepting a token that was seen before. Forged tokens are many different "
            f"ones with good claims and a random RS256 signature:\n\n{refusals(results)}\n"
            f"Good clients send 1 000 requests/s at random times, alone and while 32 connections send forged tokens as fast as they are "
            f"refused. The proxy has no more than its one core:\n\n{flood(results)}")
    return "refusing", text, {f"{who}, {what}": runs for (who, what), runs in results.items()}


def refusals(results):
    rows = []
    for who in ENFORCING:
        accepted, none, forged = (results[who, what] for what in ["accepted", "no token", "forged"])
        rows.append([LABELS[who], spread(accepted, "cpu_us"), spread(none, "cpu_us"), ratio(none, accepted),
                     spread(forged, "cpu_us"), ratio(forged, accepted)])
    return table(["", "accepted, µs", "no token, µs", "× accepted", "forged, µs", "× accepted"], rows)


def flood(results):
    rows = []
    for who in ENFORCING:
        alone, beside = results[who, "good alone"], results[who, "good beside a flood"]
        for run in beside:
            run["refused_per_second"] = run["flood"]["requests"] / run["seconds"]
        rows.append([LABELS[who], spread(alone, "p99_us", 0), spread(beside, "p99_us", 0),
                     spread(beside, "p999_us", 0), spread(beside, "refused_per_second", 0)])
    return table(["", "p99 alone, µs", "p99 beside, µs", "p99.9 beside, µs", "refused/s"], rows)


def p9(bench):
    keys = bench.mint("p9", count=1000, forged=1)
    kinds, results = ["scopegate", "nginx", "haproxy", "envoy"], {}
    with bench.contenders(kinds, Setup(keys, cores="0,1")) as one:
        two = Setup(keys, cores="0,1", workers=2)
        with bench.contenders(kinds, two) as more:
            running = {(kind, 1): one[kind] for kind in kinds} | {(kind, 2): more[kind] for kind in kinds}
            results = interleave(bench.rounds, {case: lambda _, one=one: bench.run(
                one, tokens=keys / "tokens.txt", cores="0,1") for case, one in running.items()})
    rows = [[LABELS[kind], spread(results[kind, 1], "per_second", 0), spread(results[kind, 2], "per_second", 0),
             ratio(results[kind, 2], results[kind, 1], "per_second"), spread(results[kind, 1], "cpu_us"),
             spread(results[kind, 2], "cpu_us")] for kind in kinds]
    text = ("Both cores are for everyone here: the load tool, the backend and the proxy. A second worker gets what these leave, so that "
            "no proxy can come near twice the throughput; compare them with each other.\n\n"
            + table(["", "requests/s, 1 worker", "2 workers", "×", "CPU µs, 1 worker", "2 workers"], rows))
    return "from one worker to two", text, {f"{kind}, {count}": runs for (kind, count), runs in results.items()}
