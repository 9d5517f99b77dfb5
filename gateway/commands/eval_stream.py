"""`tidegate eval semantic-cache --cached F`: questions with known answers, asked one by one of a full cache."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

import msgspec

from gateway.commands.scoring import DataError, Say, TellingEncoder, Told, encoder, field, in_parts, percent, read_rows

if TYPE_CHECKING:
    import numpy as np

    from cache.config import CacheConfig
    from cache.verifier import Verifier

_CANDIDATES = 3
_GRID = (0.80, 0.85, 0.88, 0.90, 0.91, 0.92, 0.93, 0.94, 0.95, 0.96, 0.97, 0.98)


class Hit(msgspec.Struct, frozen=True):
    """The surest candidate that no rule stops; none: score 0."""

    served: bool = False
    score: float = 0.0
    right: bool = False


def evaluate_stream(
    rows: list[dict[str, Any]], options: argparse.Namespace, whole: Any, config: CacheConfig, say: Say
) -> Told:
    """Rows and `--cached`: `text` and `intent`; `whole`: the whole configuration, if there is one. Raises `DataError`."""
    from gateway.commands.eval_semantic import keep_evidence

    assert config.semantic is not None
    kept = _read(read_rows(options.cached))
    asked = _read(rows)
    encode = encoder(say, whole)
    hits = _asked(kept, asked, encode, config, say)
    keep_evidence(options, encode.id, [(hit.score, hit.right) for hit in hits])
    threshold = config.semantic.threshold
    report = {
        "rows": len(asked),
        "cached": len(kept),
        "encoder": encode.id,
        "threshold": threshold,
        **_shares(hits, threshold),
        "by_threshold": [{"threshold": at, **_shares(hits, at)} for at in _GRID],
    }
    return Told(
        report=report,
        lines=_lines(report),
        rows=[{"served": hit.served, "score": round(hit.score, 6), "right": hit.right} for hit in hits],
    )


def _read(rows: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(field(row, "text", at), field(row, "intent", at)) for at, row in enumerate(rows, 1)]


def _asked(
    kept: list[tuple[str, str]], asked: list[tuple[str, str]], encode: TellingEncoder, config: CacheConfig, say: Say
) -> list[Hit]:
    from cache.eligible import unfit
    from cache.text import normalise
    from cache.verifier import verifier_for

    assert config.semantic is not None
    fit = [(text, intent) for text, intent in kept if not unfit(text, config.partition)]
    if not fit:
        raise DataError("the rules keep every question of --cached out of the semantic cache")
    matrix = encode.encode([normalise(text) for text, _ in fit])
    vectors = encode.encode([normalise(text) for text, _ in asked])
    verifier = verifier_for(encode.id)
    hits = []
    for part in in_parts(len(asked), say, "asked"):
        for at in part:
            if unfit(asked[at][0], config.partition):
                hits.append(Hit())
            else:
                hits.append(_best(fit, matrix @ vectors[at], *asked[at], config.semantic.threshold, verifier))
    return hits


def _best(
    kept: list[tuple[str, str]],
    cosines: np.ndarray[Any, Any],
    text: str,
    intent: str,
    threshold: float,
    verifier: Verifier | None,
) -> Hit:
    from cache.verify import judge

    best = Hit()
    for at in (-cosines).argsort(kind="stable")[:_CANDIDATES]:
        cached, answer = kept[at]
        judged = judge(cached, text, float(cosines[at]), threshold, verifier)
        if judged.score > best.score:
            best = Hit(judged.served, judged.score, answer == intent)
    return best


def _shares(hits: list[Hit], threshold: float) -> dict[str, Any]:
    from routing.evaluate import share

    served = [hit for hit in hits if hit.score >= threshold]
    return {
        "hit_rate": msgspec.to_builtins(share(len(served), len(hits))),
        "wrong_among_served": msgspec.to_builtins(share(sum(not hit.right for hit in served), len(served))),
    }


def _lines(report: dict[str, Any]) -> list[str]:
    lines = [
        f"{report['rows']:,} questions asked of {report['cached']:,} cached ones, threshold {report['threshold']:g}, "
        f"encoder {report['encoder']}",
        "95 % intervals after Wilson; a question the rules keep out of the semantic cache is not served",
        "",
        f"  {'served':20} {_told(report['hit_rate'])}",
        f"  {'wrong among served':20} {_told(report['wrong_among_served'])}",
        "",
        "at other thresholds: served, wrong among served",
    ]
    return lines + [
        f"  {row['threshold']:.2f}  {_told(row['hit_rate'])}   {_told(row['wrong_among_served'])}"
        for row in report["by_threshold"]
    ]


def _told(share: dict[str, Any]) -> str:
    return percent(share["hits"], share["of"], share["low"], share["high"])
