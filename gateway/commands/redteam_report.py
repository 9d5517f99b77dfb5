"""What `tidegate redteam` found, counted: violations and false refusals beside each other, errors apart from both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from gateway.commands.scoring import percent
from guardrails.redteam.corpus import Probe
from guardrails.redteam.judging import Outcome, Seen, judge
from routing.evaluate import share

BENIGN = {"violated": "answered", "held": "answered", "blocked": "refused", "errored": "errored"}
"""How the outcomes are called where there was no attack."""


class Row(msgspec.Struct, frozen=True):
    """One request: what was sent, what came back (without its text, which is judged and dropped), what that is called."""

    probe: Probe
    seen: Seen
    outcome: str

    @property
    def told(self) -> dict[str, Any]:
        """For `--rows`. With the text sent, which is ours, and nothing of the answer, which is not."""
        probe, seen = self.probe, self.seen
        return {
            "side": probe.side,
            "family": probe.family,
            "mutation": probe.mutation,
            "number": probe.number,
            "outcome": self.outcome,
            "status": seen.status,
            "error": seen.error,
            "checks": seen.checks,
            "degraded": list(seen.degraded),
            "ms": round(seen.seconds * 1000, 1),
            "text": probe.text,
        }


def judged(probe: Probe, seen: Seen) -> Row:
    outcome: Outcome = judge(probe.condition, probe.value, probe.system, probe.canary, seen)
    called = BENIGN[outcome] if probe.side == "benign" else outcome
    return Row(probe, msgspec.structs.replace(seen, text=""), called)


def report_of(rows: Sequence[Row]) -> dict[str, Any]:
    """Everything that is told, as JSON has it. Rates are of what could be measured: errors are in no denominator."""
    sides = {side: [row for row in rows if row.probe.side == side] for side in ("attacks", "benign")}
    return {
        **{side: _counts(side, own) for side, own in sides.items()},
        "families": [
            {"side": side, "family": name, **_counts(side, group)}
            for side, own in sides.items()
            for name, group in _groups(own, lambda row: row.probe.family)
        ],
        "mutations": [
            {"mutation": name, **{side: _counts(side, _on(group, side)) for side in sides}}
            for name, group in _groups(rows, lambda row: row.probe.mutation)
        ],
        "cells": [
            {"side": side, "family": family, "mutation": mutation, **_counts(side, group)}
            for side, own in sides.items()
            for (family, mutation), group in _groups(own, lambda row: (row.probe.family, row.probe.mutation))
        ],
        "errors": dict(Counter(row.seen.error for row in rows if row.outcome == "errored").most_common()),
        "not_scanned": dict(Counter(name for row in rows for name in row.seen.not_scanned)),
        "degraded": dict(Counter(name for row in rows for name in row.seen.degraded)),
        "latency_ms": {
            name: _latency([row.seen.seconds for row in rows if row.outcome in outcomes])
            for name, outcomes in (("answered", ("violated", "held", "answered")), ("stopped", ("blocked", "refused")))
        },
    }  # fmt: skip


def _counts(side: str, rows: Sequence[Row]) -> dict[str, Any]:
    found = Counter(row.outcome for row in rows)
    measured = len(rows) - found["errored"]
    if side == "benign":
        rates = {"false_refusal_rate": share(found["refused"], measured)}
        counts = {name: found[name] for name in ("refused", "answered", "errored")}
    else:
        rates = {"violation_rate": share(found["violated"], measured), "block_rate": share(found["blocked"], measured)}
        counts = {name: found[name] for name in ("blocked", "violated", "held", "errored")}
    return {"sent": len(rows), **counts, **{name: msgspec.to_builtins(value) for name, value in rates.items()}}


def _groups(rows: Iterable[Row], key: Callable[[Row], Any]) -> list[tuple[Any, list[Row]]]:
    groups: dict[Any, list[Row]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return sorted(groups.items())


def _on(rows: Sequence[Row], side: str) -> list[Row]:
    return [row for row in rows if row.probe.side == side]


def _latency(seconds: Sequence[float]) -> dict[str, float]:
    """Percentiles, nearest rank; empty when there are none."""
    ordered = sorted(seconds)
    ranks = {f"p{p}": max(0, -(-p * len(ordered) // 100) - 1) for p in (50, 95, 99)}
    return {name: round(ordered[rank] * 1000, 1) for name, rank in ranks.items()} if ordered else {}


# --- for people


def lines_of(report: Mapping[str, Any]) -> list[str]:
    """The tables. The two rates are told together, wherever they are told of a whole."""
    lines = ["attacks, by family"]
    lines.append(f"  {'':16}{'sent':>6}{'blocked':>9}{'violated':>10}{'held':>6}{'error':>7}   violation rate (95 %)")
    for row in (row for row in report["families"] if row["side"] == "attacks"):
        counts = f"{row['sent']:6}{row['blocked']:9}{row['violated']:10}{row['held']:6}{row['errored']:7}"
        lines.append(f"  {row['family']:16}{counts}   {_rate(row['violation_rate'])}")
    lines += ["", "harmless texts, by family"]
    lines.append(f"  {'':16}{'sent':>6}{'refused':>9}{'answered':>10}{'error':>13}   false refusal rate (95 %)")
    for row in (row for row in report["families"] if row["side"] == "benign"):
        counts = f"{row['sent']:6}{row['refused']:9}{row['answered']:10}{row['errored']:13}"
        lines.append(f"  {row['family']:16}{counts}   {_rate(row['false_refusal_rate'])}")
    lines += ["", "by mutation", f"  {'':16}{'violations':39}false refusals"]
    for row in report["mutations"]:
        violations = _rate(row["attacks"]["violation_rate"])
        lines.append(f"  {row['mutation']:16}{violations:39}{_rate(row['benign']['false_refusal_rate'])}")
    return [*lines, "", *_summary(report)]


def _summary(report: Mapping[str, Any]) -> list[str]:
    attacks, benign = report["attacks"], report["benign"]
    lines = [
        "all together, of a mix that is this corpus's and nobody's traffic",
        f"  violations      {_rate(attacks['violation_rate'])}",
        f"  false refusals  {_rate(benign['false_refusal_rate'])}",
        f"  errors          {attacks['errored'] + benign['errored']:,} of {attacks['sent'] + benign['sent']:,}"
        + "".join(f", {name}: {count}" for name, count in report["errors"].items()),
        f"  not scanned     {_named(report['not_scanned'])}",
        f"  degraded        {_named(report['degraded'])}",
    ]
    for name, values in report["latency_ms"].items():
        times = ", ".join(f"{p} {value:g} ms" for p, value in values.items())
        lines.append(f"  {name:16}{times or 'none'}")
    return lines


def _named(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "0"


def _rate(rate: Mapping[str, Any]) -> str:
    return percent(rate["hits"], rate["of"], rate["low"], rate["high"])
