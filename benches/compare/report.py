"""Tables in Markdown."""

import json
import re
import statistics

from contenders import LABELS, OUT, ROOT

DOCS = ROOT / "docs" / "performance.md"


def spread(runs, name, digits=1):
    """`median (min–max)`."""
    values = [run[name] for run in runs]
    middle, low, high = (f"{value:,.{digits}f}" for value in (statistics.median(values), min(values), max(values)))
    return f"{middle} ({low}–{high})"


def ratio(runs, base, name="cpu_us"):
    """The median of the ratios within each round: neighbours in time had the same machine."""
    if not base:
        return "–"
    return f"{statistics.median(one[name] / other[name] for one, other in zip(runs, base)):.2f}"


def cost_table(results, base, names=LABELS):
    """The common columns, one row per contender."""
    head = ["", "CPU µs per request", f"× {plain(names[base])}", "requests/s", "p50 µs", "p99 µs", "p99.9 µs",
            "proxy's core busy", "load's core busy"]
    rows = []
    for name, runs in results.items():
        rows.append([
            names[name], spread(runs, "cpu_us"), ratio(runs, results[base]), spread(runs, "per_second", 0),
            spread(runs, "p50_us", 0), spread(runs, "p99_us", 0), spread(runs, "p999_us", 0),
            percent(runs, "busy"), percent(runs, "load_busy"),
        ])
    return table(head, rows)


def percent(runs, name):
    return f"{statistics.median(run[name] for run in runs):.0%}"


def plain(label):
    return label.replace("**", "").split(",")[0]


def table(head, rows):
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"


def write(name, title, text, data, about, write_docs):
    """Prints one result, keeps it in target/compare and, if asked, in the documentation."""
    command = f"benches/compare/run{' --quick' if about['quick'] else ''} {name}"
    warning = "\n**From a `--quick` run: shows that it works, not how fast.**\n" if about["quick"] else ""
    text = f"### {name}: {title}\n{warning}\n{text}\nRepeat with `{command}`. {about_line(about)}\n"
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / f"{name}.md").write_text(text)
    (OUT / f"{name}.json").write_text(json.dumps({"about": about, "results": data}, indent=1))
    print(text, flush=True)
    if write_docs:
        insert(name, text)


def about_line(about):
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    return f"{about['date']}; {versions}; {about['machine']}; steal {about['steal']:.1%}."


def insert(name, text):
    """Replaces what stands between the markers of a table."""
    start, end = f"<!-- table {name} -->", f"<!-- end {name} -->"
    pattern = re.compile(re.escape(start) + ".*?" + re.escape(end), re.DOTALL)
    document = DOCS.read_text()
    if not pattern.search(document):
        raise SystemExit(f"docs/performance.md has no {start}")
    DOCS.write_text(pattern.sub(lambda _: f"{start}\n{text}{end}", document))
