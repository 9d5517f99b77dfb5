"""`tidegate eval semantic-cache`: which cached answers would be served to which questions, and how often wrongly.

Two kinds of data. Pairs: rows of `a` (cached), `b` (asked) and `label`. A stream: rows of `text` and `intent`, asked one by
one of the questions in `--cached`; a hit is right when both have the same intent. What is served depends on the configured
threshold alone, never on the labels that are scored.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from gateway.commands.scoring import DataError, Say, Told, encoder, field, in_parts, millis, percent

if TYPE_CHECKING:
    from cache.config import CacheConfig
    from cache.key import Scope
    from gateway.commands.scoring import TellingEncoder
    from routing.evaluate import Share

_GRID = (0.80, 0.85, 0.88, 0.90, 0.92, 0.93, 0.94, 0.95, 0.96, 0.98)


class Pair(msgspec.Struct, frozen=True):
    """One pair, decided. `reason`: why not served (`similarity`, `veto:<rule>`, `bypass:<rule>`); `similarity`: cosine.
    `score`: how sure the verifier is, 0 where a rule already decided. `micros`: what the asked question cost."""

    served: bool
    reason: str
    similarity: float
    score: float
    micros: float


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--route", help="the configuration's route, if several have a semantic cache")
    parser.add_argument(
        "--cached", type=Path, help="questions that are cached (text, intent): --data is then a stream of such"
    )
    parser.add_argument(
        "--write-evidence", type=Path, metavar="F", help="write what was found, for a route's `evidence: F`"
    )


def evaluate(rows: list[dict[str, Any]], options: argparse.Namespace, say: Say) -> Told:
    """Rows: `a` (cached), `b` (asked), `label` 1 if a's answer may be served. Raises `DataError`, `ConfigError`."""
    if options.cached is not None:
        from gateway.commands.eval_stream import evaluate_stream

        return evaluate_stream(rows, options, *_configs(options), say)
    from cache.text import normalise

    pairs = [(field(row, "a", at), field(row, "b", at)) for at, row in enumerate(rows, 1)]
    truth = [_label(row, at) for at, row in enumerate(rows, 1)]
    whole, config = _configs(options)
    assert config.semantic is not None
    threshold = config.semantic.threshold
    encode = encoder(say, whole)
    encode.ahead([normalise(text) for pair in pairs for text in pair])
    results: list[Pair] = []
    for part in in_parts(len(pairs), say, "compared"):
        results += [decide(*pairs[at], encode, threshold, config.partition) for at in part]
    report = _report(results, truth, threshold, encode.id)
    report["by_kind"] = _by_kind(results, rows)
    keep_evidence(options, encode.id, [(pair.score, right) for pair, right in zip(results, truth, strict=True)])
    return Told(
        report=report,
        lines=_lines(report),
        rows=[{"served": pair.served, "score": round(pair.score, 6)} for pair in results],
    )


def decide(cached: str, asked: str, encode: TellingEncoder, threshold: float, scope: Scope) -> Pair:
    """The semantic cache's whole decision on two questions that agree in everything else."""
    from cache.eligible import unfit
    from cache.text import normalise
    from cache.verifier import verifier_for
    from cache.verify import judge

    verifier = verifier_for(encode.id)
    kept = encode.encode([normalise(cached)])[0]
    was_unfit = unfit(cached, scope)
    started = time.perf_counter()
    similarity = float(kept @ encode.encode([normalise(asked)])[0])
    bypass = unfit(asked, scope) or was_unfit
    judged = judge(cached, asked, similarity, threshold, verifier)
    micros = (time.perf_counter() - started) * 1e6
    if bypass:
        return Pair(False, f"bypass:{bypass}", similarity, 0.0, micros)
    reason = judged.reason if judged.reason in ("", "similarity") else f"veto:{judged.reason}"
    return Pair(judged.served, reason, similarity, judged.score, micros)


def keep_evidence(options: argparse.Namespace, encoder_id: str, found: list[tuple[float, bool]]) -> None:
    """Writes the would-be hits, of any score, as `--write-evidence` asks. Raises `DataError`."""
    if options.write_evidence is None:
        return
    from cache.evidence import Outcome
    from cache.evidence_file import write_evidence

    outcomes = [Outcome(score, "right" if right else "wrong") for score, right in found if score > 0]
    try:
        write_evidence(options.write_evidence, encoder_id, outcomes)
    except OSError as error:
        raise DataError(f"cannot write {options.write_evidence}: {error.strerror}") from None


def _label(row: dict[str, Any], number: int) -> bool:
    value = row.get("label")
    if value not in (0, 1):
        raise DataError(f"row {number}: `label` is neither 1 nor 0")
    return bool(value)


def _configs(options: argparse.Namespace) -> tuple[Any, CacheConfig]:
    """The whole configuration, None without one, and the caches of the route that is meant."""
    from cache.config import CacheConfig, SemanticConfig

    if options.config is None:
        return None, CacheConfig(semantic=SemanticConfig())
    from gateway import config as configuration

    whole = configuration.load(options.config)
    routes = whole.all_routes()
    found = {name: route.cache for name, route in routes.items() if route.cache and route.cache.semantic}
    if options.route is None and len(found) > 1:
        raise DataError(f"several routes have a semantic cache ({', '.join(found)}): say which with --route")
    config = found.get(options.route) if options.route else next(iter(found.values()), None)
    if config is None:
        raise DataError(f"no such route has a semantic cache; there is: {', '.join(found) or 'none'}")
    return whole, config


def _report(results: list[Pair], truth: list[bool], threshold: float, encoder_id: str) -> dict[str, Any]:
    import numpy as np

    from routing.evaluate import share

    micros = [pair.micros for pair in results]
    return {
        "rows": len(results),
        "encoder": encoder_id,
        "threshold": threshold,
        **_shares([pair.served for pair in results], truth),
        "hit_rate": msgspec.to_builtins(share(sum(pair.served for pair in results), len(results))),
        "not_served": dict(Counter(pair.reason for pair in results if pair.reason).most_common()),
        "by_threshold": [
            {"threshold": at, **_shares([pair.score >= at for pair in results], truth)} for at in _GRID
        ],
        "latency_micros": {f"p{p}": round(float(np.percentile(micros, p)), 1) for p in (50, 95, 99)},
    }  # fmt: skip


def _shares(served: list[bool], truth: list[bool]) -> dict[str, Any]:
    from routing.evaluate import share

    right = sum(s and t for s, t in zip(served, truth, strict=True))
    wrong = sum(served) - right
    told: dict[str, Share] = {
        "same_served": share(right, sum(truth)),
        "different_served": share(wrong, len(truth) - sum(truth)),
        "wrong_among_served": share(wrong, right + wrong),
    }
    return {name: msgspec.to_builtins(value) for name, value in told.items()}


def _by_kind(results: list[Pair], rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Served and all, for rows that say what `kind` they are, with the share's 95 % interval."""
    from routing.evaluate import share

    kinds: dict[str, dict[str, Any]] = {}
    for pair, row in zip(results, rows, strict=True):
        kind = row.get("kind")
        if isinstance(kind, str) and (kind in kinds or len(kinds) < 100):
            counts = kinds.setdefault(kind, {"label": row["label"], "served": 0, "rows": 0})
            counts["served"] += pair.served
            counts["rows"] += 1
    for counts in kinds.values():
        found = share(counts["served"], counts["rows"])
        counts["low"], counts["high"] = found.low, found.high
    return kinds


def _lines(report: dict[str, Any]) -> list[str]:
    lines = [
        f"{report['rows']:,} pairs, threshold {report['threshold']:g}, encoder {report['encoder']}",
        "95 % intervals after Wilson; a question the rules keep out of the semantic cache is not served",
        "",
    ]
    names = (
        ("same_served", "harmless variant, served"),
        ("different_served", "near-miss, served"),
        ("wrong_among_served", "wrong among served"),
        ("hit_rate", "served, of all"),
    )
    lines += [f"  {words:27} {_told(report[name])}" for name, words in names]
    lines += [f"  {'time, one question':27} {millis(report['latency_micros'])}", "", "not served because of:"]
    lines += [f"  {rows:6}  {reason}" for reason, rows in report["not_served"].items()]
    lines += ["", "at other thresholds: harmless served, near-misses served, wrong among served"]
    for row in report["by_threshold"]:
        shares = (row["same_served"], row["different_served"], row["wrong_among_served"])
        told = "  ".join("     -  " if s["value"] is None else f"{100 * s['value']:6.2f} %" for s in shares)
        lines.append(f"  {row['threshold']:.2f}  {told}")
    if report["by_kind"]:
        lines += ["", "by kind: served of all"]
        lines += [
            f"  {kind:24} label {c['label']}: {percent(c['served'], c['rows'], c['low'], c['high'])}"
            for kind, c in report["by_kind"].items()
        ]
    return lines


def _told(share: dict[str, Any]) -> str:
    return percent(share["hits"], share["of"], share["low"], share["high"])
