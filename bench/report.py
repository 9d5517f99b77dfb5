"""A run's results as Markdown between markers in ``bench/RESULTS.md``, and as SVG plots beside it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.measure import BURST, PLAIN, STREAM, Cost, Plan, Results
from bench.plot import bars, line
from bench.stats import median
from bench.targets import added, cpu, rows

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
_MAX_LAG = 5.0
_HEAD = "# Benchmark results\n\nWritten by `./dev bench`; how it measures is in [README.md](README.md).\n\n"


@dataclass(frozen=True, kw_only=True)
class About:
    """What a reader must know to judge the figures."""

    command: str
    date: str
    machine: str
    versions: tuple[tuple[str, str], ...]
    missing: tuple[tuple[str, str], ...]
    titles: tuple[tuple[str, str], ...]
    """(name, title with note) of every subject that was measured, the direct call first."""
    took: float


def table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    out = ["| " + " | ".join(head) + " |", "| " + " | ".join(["---"] * len(head)) + " |"]
    out += ["| " + " | ".join(cells) + " |" for cells in lines]
    return "\n".join(out)


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.3f}"


def _cost(cost: Cost | None) -> str:
    if cost is None:
        return "–"
    if cost.median is None:
        reason, count = cost.errors.most_common(1)[0] if cost.errors else ("nothing answered", 0)
        return f"failed: {reason} ({count}×)"
    if len(cost.cpu_ms) < 2:
        return _number(cost.median)
    return f"{_number(cost.median)} ({_number(min(cost.cpu_ms))} to {_number(max(cost.cpu_ms))})"


def _times(results: Results, kind: str, name: str) -> str:
    theirs, ours = cpu(results, "litellm", kind), cpu(results, name, kind)
    return f"{theirs / ours:.1f}" if theirs and ours else "–"


def _cpu_table(results: Results, about: About) -> str:
    lines = []
    for name, title in about.titles:
        if (name, PLAIN.name) not in results.costs:
            continue
        plain = results.costs[name, PLAIN.name]
        stream, burst = (results.costs.get((name, kind)) for kind in (STREAM.name, BURST.name))
        rate = _number(median(plain.rates)) if plain.rates else "–"
        cells = [title, _cost(plain), _times(results, PLAIN.name, name), rate]
        lines.append([*cells, _cost(stream), _times(results, STREAM.name, name), _cost(burst)])
    head = ["", "CPU ms/request", "× LiteLLM", "requests/s", "CPU ms/stream", "× LiteLLM", "CPU ms/stream in a burst"]
    return table(head, lines)


def _latency_table(results: Results, about: About) -> str:
    lines = []
    for name, title in about.titles:
        entry = results.latency.get(name)
        if entry is None or not entry.p50:
            continue
        difference = [added(results, name, "p50"), added(results, name, "p99")]
        extra = ["–", "–"] if name == "direct" else [_number(value) for value in difference]
        lines.append([title, _number(median(entry.p50)), _number(median(entry.p99)), *extra, _number(max(entry.lag))])
    return table(["", "p50 ms", "p99 ms", "added p50", "added p99", "generator's p99 lag"], lines)


def _memory_table(results: Results, about: About) -> str:
    lines = []
    for name, title in about.titles:
        memory = results.memory.get(name)
        if memory is None or memory.idle is None:
            continue
        slope = "–" if memory.slope is None else f"{memory.slope:+.2f}"
        lines.append([title, _number(memory.idle), _number(memory.after), slope])
    return table(["", "idle MB", "MB after all load", "MB per 10,000 requests"], lines)


def _problems(results: Results, about: About) -> list[str]:
    """Everything that makes a figure doubtful, said plainly."""
    out = [f"Not measured: {name}: {' '.join(reason.split())[:400]}" for name, reason in about.missing]
    for (name, kind), cost in results.costs.items():
        for reason, count in cost.errors.most_common(3):
            out.append(f"{name}, {kind}: {count}× {reason} (beside {cost.answered} right answers)")
        if cost.foreign and median(cost.foreign) > 0.05:
            out.append(f"{name}, {kind}: other processes took {median(cost.foreign):.0%} of the subject's core")
    for name, entry in results.latency.items():
        if entry.lag and median(entry.lag) > _MAX_LAG:
            out.append(
                f"{name}, steady: the load came {median(entry.lag):.1f} ms late (p99): its core was short of time"
            )
        out += [f"{name}, steady: {count}× {reason}" for reason, count in entry.errors.most_common(3)]
    for name, memory in results.memory.items():
        out += [f"{name}, memory run: {count}× {reason}" for reason, count in memory.errors.most_common(3)]
    for name, count in results.not_upstream.items():
        if count:
            out.append(f"{name}: {count} answers without an upstream call: its CPU figures are not comparable")
    for name, answered in results.answered.items():
        lost = answered - results.traces[name]
        if name.startswith("tidegate") and lost > answered * 0.001:
            out.append(
                f"{name}: {lost:,} of {answered:,} traces never reached the sink: tracing cost less than it would"
            )
    return out


def markdown(results: Results, plan: Plan, about: About) -> str:
    """The whole generated part, markers not included."""
    versions = ", ".join(f"{name} {version}" for name, version in about.versions)
    target_lines = [[row.target, row.limit, row.measured, row.verdict] for row in rows(results, plan.memory_requests)]
    problems = _problems(results, about) or ["none"]
    parts = [
        f"`{about.command}` on {about.date}, {about.took / 60:.1f} minutes. {about.machine}. {versions}.",
        "## Targets",
        table(["target", "limit", "measured", ""], target_lines),
        f"## CPU on one core\n\nMedian of {plan.rounds} interleaved rounds (least to most); {plan.plain_concurrency} "
        f"connections, bodies of about 1 KB; streams of 200 chunks, {plan.stream_concurrency} at a time, one chunk "
        f"each {STREAM.gap_ms} ms; in a burst, as fast as they are taken.",
        _cpu_table(results, about),
        "![CPU per request and per stream](plots/cpu.svg)",
        f"## Latency at a steady {plan.rate:g} requests/s",
        _latency_table(results, about),
        "## Memory\n\nResident, whole process tree, MB of 10⁶ bytes.",
        _memory_table(results, about),
        "![Resident memory](plots/memory.svg)" if _points(results) else "",
        "## What was not right\n\n" + "\n".join(f"- {problem}" for problem in problems),
    ]
    return "\n\n".join(part for part in parts if part)


def _points(results: Results) -> list[tuple[float, float]]:
    memory = results.memory.get("tidegate")
    return [(float(n), mb) for n, mb in memory.points] if memory else []


def plots(results: Results, titles: Sequence[tuple[str, str]]) -> dict[str, str]:
    """File name to SVG text."""
    panels = []
    for kind, text in ((PLAIN, "CPU ms per request"), (STREAM, "CPU ms per 200-chunk stream")):
        entries = []
        for name, title in titles:
            value = cpu(results, name, kind.name)
            if value is not None:
                entries.append((title.split(" (")[0], value, name.startswith("tidegate")))
        panels.append((f"{text}, one core (less is better)", entries))
    out = {"cpu.svg": bars(panels)}
    points = _points(results)
    if points:
        out["memory.svg"] = line("Resident memory under load", points, x_name="requests", y_name="MB")
    return out


def write(folder: Path, text: str, drawings: dict[str, str]) -> Path:
    """Put `text` between the markers of ``RESULTS.md`` in `folder`, keeping what others wrote around them."""
    path = folder / "RESULTS.md"
    old = path.read_text() if path.exists() else f"{_HEAD}{BEGIN}\n{END}\n"
    if BEGIN not in old or END not in old:
        raise ValueError(f"{path}: the markers {BEGIN} and {END} are gone; put them back where the results belong")
    before, rest = old.split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    path.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")
    for name, drawing in drawings.items():
        (folder / "plots").mkdir(exist_ok=True)
        (folder / "plots" / name).write_text(drawing)
    return path
