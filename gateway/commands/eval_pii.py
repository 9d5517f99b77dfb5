"""`tidegate eval pii`: spans found against spans labelled, by entity."""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from gateway.commands.eval_guardrails import chosen, latency
from gateway.commands.eval_guardrails import options as options
from gateway.commands.scoring import DataError, Say, Told, field, in_parts, millis, percent

if TYPE_CHECKING:
    from guardrails.finding.scanner import Scanner

Labelled = tuple[str, int, int]
"""Type, start, end; in characters."""


def evaluate(rows: list[dict[str, Any]], options: argparse.Namespace, say: Say) -> Told:
    """Rows: `text` and `spans`, each `[type, start, end]`. A span is found if one of its type overlaps it by more than
    half of the two together. Raises `DataError`, `ConfigError`."""
    texts = [field(row, "text", at) for at, row in enumerate(rows, 1)]
    truth = [_labelled(row, at) for at, row in enumerate(rows, 1)]
    scanner = _scanner(options)
    found: list[list[Labelled]] = []
    micros: list[float] = []
    for part in in_parts(len(texts), say, "looked at"):
        for at in part:
            began = time.perf_counter()
            spans = scanner.find(texts[at])
            micros.append((time.perf_counter() - began) * 1e6)
            found.append([(span.kind, span.start, span.end) for span in spans])
    report = {
        "rows": len(rows),
        "entities": _entities(found, truth),
        "clean_rows": _clean(found, truth),
        "latency_micros": latency(micros),
    }
    return Told(report=report, lines=_lines(report), rows=[{"spans": [list(span) for span in row]} for row in found])


def _scanner(options: argparse.Namespace) -> Scanner:
    """The configured check's scanner, or every entity that needs no model; and that for secrets."""
    from guardrails.build import scanner_of
    from guardrails.finding.scanner import Several
    from guardrails.private import pii, secret_tokens

    check = chosen(options, "pii")
    return Several([scanner_of(check) if check is not None else pii.scanner(pii.ENTITIES), secret_tokens.scanner()])


def _labelled(row: dict[str, Any], number: int) -> list[Labelled]:
    try:
        return msgspec.convert(row["spans"], list[tuple[str, int, int]])
    except (KeyError, msgspec.ValidationError):
        raise DataError(f"row {number}: `spans` is not a list of [type, start, end]") from None


def matches(found: Sequence[Labelled], truth: Sequence[Labelled]) -> list[str]:
    """The types of the labelled spans that were found, each found span used once."""
    left = list(found)
    hits: list[str] = []
    for span in truth:
        hit = next((other for other in left if other[0] == span[0] and _overlap(span, other) > 0.5), None)
        if hit is not None:
            left.remove(hit)
            hits.append(span[0])
    return hits


def _overlap(one: Labelled, other: Labelled) -> float:
    both = min(one[2], other[2]) - max(one[1], other[1])
    return both / max(1, max(one[2], other[2]) - min(one[1], other[1])) if both > 0 else 0.0


def _entities(found: list[list[Labelled]], truth: list[list[Labelled]]) -> dict[str, Any]:
    from routing.evaluate import share

    said = Counter(span[0] for row in found for span in row)
    labelled = Counter(span[0] for row in truth for span in row)
    hits = Counter(kind for ours, theirs in zip(found, truth, strict=True) for kind in matches(ours, theirs))
    return {
        name: {
            "precision": msgspec.to_builtins(share(hits[name], said[name])),
            "recall": msgspec.to_builtins(share(hits[name], labelled[name])),
            "f1": round(2 * hits[name] / (said[name] + labelled[name]), 4),
        }
        for name in sorted({*said, *labelled})
    }


def _clean(found: list[list[Labelled]], truth: list[list[Labelled]]) -> Any:
    """Rows in which nothing is labelled and something was found."""
    from routing.evaluate import share

    clean = [bool(ours) for ours, theirs in zip(found, truth, strict=True) if not theirs]
    return msgspec.to_builtins(share(sum(clean), len(clean)))


def _lines(report: dict[str, Any]) -> list[str]:
    lines = [
        f"{report['rows']:,} rows; a span counts as found if type and more than half of its extent agree",
        "95 % intervals after Wilson",
        "",
    ]
    for name, told in report["entities"].items():
        lines.append(f"  {name:16} F1 {told['f1']:.4f}")
        lines += [f"    {what:14} {_told(told[what])}" for what in ("precision", "recall")]
    lines += [
        "",
        f"  {'clean rows with a find':24} {_told(report['clean_rows'])}",
        f"  {'time, one text':24} {millis(report['latency_micros'])}",
    ]
    return lines


def _told(share: dict[str, Any]) -> str:
    return percent(share["hits"], share["of"], share["low"], share["high"])
