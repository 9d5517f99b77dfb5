"""`tidegate eval injection` and `eval content`: each text's score against its label, by family."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from gateway.commands.scoring import DataError, Say, Told, field, in_parts, millis, percent

if TYPE_CHECKING:
    from guardrails.config import GuardrailConfig
    from guardrails.injection.check import Injection

Scores = Callable[[str], float]

_USE = {"injection": "injection", "content": "toxicity"}
_HARMLESS = ("", "0", "benign", "safe", "none", "clean", "false")


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--check", help="the configuration's check, if several would do")


def evaluate(rows: list[dict[str, Any]], options: argparse.Namespace, say: Say) -> Told:
    """Rows: `text` and `label` (1 or 0, or for content the name of a family; also `kind`). Raises `DataError`,
    `ConfigError`."""
    texts = [field(row, "text", at) for at, row in enumerate(rows, 1)]
    truth = [_positive(row, at) for at, row in enumerate(rows, 1)]
    score, threshold = _scorer(options)
    scores: list[float] = []
    micros: list[float] = []
    for part in in_parts(len(texts), say, "scored"):
        for at in part:
            began = time.perf_counter()
            scores.append(score(texts[at]))
            micros.append((time.perf_counter() - began) * 1e6)
    flagged = [value >= threshold for value in scores]
    report = {
        "rows": len(rows),
        "threshold": threshold,
        **_overall(scores, flagged, truth),
        "families": _families(rows, flagged, truth),
        "latency_micros": latency(micros),
    }
    made = [{"score": round(value, 6), "flagged": hit} for value, hit in zip(scores, flagged, strict=True)]
    return Told(report=report, lines=_lines(options.kind, report), rows=made)


def chosen(options: argparse.Namespace, use: str) -> GuardrailConfig | None:
    """The configured check that `use`s this; None without a configuration. Raises `DataError` where it is not clear."""
    wanted = options.check
    if options.config is None:
        if wanted:
            raise DataError("--check names a check of a configuration: give --config too")
        return None
    from gateway import config as configuration

    found = {name: check for name, check in configuration.load(options.config).guardrails.items() if check.use == use}
    if wanted is None and len(found) > 1:
        raise DataError(f"several checks use {use} ({', '.join(found)}): say which with --check")
    check = found.get(wanted) if wanted else next(iter(found.values()), None)
    if check is None:
        raise DataError(f"no such check uses {use}; there is: {', '.join(found) or 'none'}")
    return check


def latency(micros: Sequence[float]) -> dict[str, float]:
    import numpy as np

    return {f"p{p}": round(float(np.percentile(micros, p)), 1) for p in (50, 95, 99)}


def _scorer(options: argparse.Namespace) -> tuple[Scores, float]:
    """What gives a text its score, and where it is flagged."""
    from guardrails.kinds import injection as injection_kind
    from guardrails.kinds import toxicity as toxicity_kind
    from guardrails.kinds.injection import THRESHOLD
    from guardrails.subjects import toxicity

    check = chosen(options, _USE[options.kind])
    own = check.threshold if check is not None else None
    if options.kind == "content":
        if check is not None and check.model is not None:
            return toxicity_kind.classifying(check).word, own or toxicity.THRESHOLD
        return lambda text: toxicity.rate(text).score, own or toxicity.THRESHOLD
    injection = _injection()
    if check is not None and check.judge is not None:
        raise DataError("a judge is asked by a running gateway only: score the check without its `judge`")
    if check is not None and check.model is not None:
        tier = injection_kind.classifying(check)
        return lambda text: tier.word(text, injection.score(text).score), own or THRESHOLD
    return lambda text: injection.score(text).score, own or THRESHOLD


def _injection() -> Injection:
    """With the sentence encoder where its files are: the detector as a gateway beside them has it."""
    from gateway.embedding.files import ModelMissing, models_dir
    from gateway.embedding.minilm import MiniLM
    from guardrails.injection.check import Injection

    try:
        encoder = MiniLM(models_dir())
    except ModelMissing:
        return Injection()
    return Injection(encode=encoder.encode, encoder_id=encoder.id)


def _positive(row: dict[str, Any], number: int) -> bool:
    label = row.get("label")
    if label in (0, 1):
        return bool(label)
    if isinstance(label, str):
        return label.partition(":")[0].strip().lower() not in _HARMLESS
    raise DataError(f"row {number}: `label` is neither 1, 0 nor a name")


def _overall(scores: list[float], flagged: list[bool], truth: list[bool]) -> dict[str, Any]:
    from routing.evaluate import auroc, share

    hits = sum(f and t for f, t in zip(flagged, truth, strict=True))
    told = {
        "recall": share(hits, sum(truth)),
        "false_positives": share(sum(flagged) - hits, len(truth) - sum(truth)),
        "precision": share(hits, sum(flagged)),
    }
    area = auroc(
        [score for score, t in zip(scores, truth, strict=True) if t],
        [score for score, t in zip(scores, truth, strict=True) if not t],
    )
    return {**{name: msgspec.to_builtins(value) for name, value in told.items()}, "auc": area}


def _families(rows: list[dict[str, Any]], flagged: list[bool], truth: list[bool]) -> list[dict[str, Any]]:
    """Flagged of all, for each label and family: the row's `kind`, or the label's own name; and for each `src`."""
    from routing.evaluate import share

    counts: dict[tuple[bool, str, str], list[int]] = {}
    for row, hit, positive in zip(rows, flagged, truth, strict=True):
        family = row.get("kind") or (row["label"] if isinstance(row["label"], str) else "all")
        for by, name in (("family", str(family)), ("source", str(row.get("src") or "not said"))):
            count = counts.setdefault((positive, by, name), [0, 0])
            count[0] += hit
            count[1] += 1
    return [
        {"positive": positive, "by": by, "name": name, "flagged": msgspec.to_builtins(share(*count))}
        for (positive, by, name), count in sorted(
            counts.items(), key=lambda item: (item[0][1], not item[0][0], item[0])
        )
    ]


def _lines(kind: str, report: dict[str, Any]) -> list[str]:
    lines = [
        f"{report['rows']:,} rows, {kind}, flagged from {report['threshold']:g}",
        "95 % intervals after Wilson",
        "",
    ]
    for by in ("family", "source"):
        for positive, words in ((True, "positives, flagged"), (False, "negatives, flagged (false alarms)")):
            rows = [row for row in report["families"] if row["by"] == by and row["positive"] == positive]
            if rows:
                lines.append(f"by {by}: {words}")
                lines += [f"  {row['name'][:36]:36} {_told(row['flagged'])}" for row in rows]
    lines += ["", "all rows, whose mix is this file's and nobody's traffic:"]
    names = (("recall", "recall"), ("false_positives", "false positives"), ("precision", "precision"))
    lines += [f"  {words:36} {_told(report[name])}" for name, words in names]
    if report["auc"] is not None:
        area, low, high = report["auc"]
        lines.append(f"  {'AUC':36} {area:.4f} ({low:.4f} .. {high:.4f})")
    lines.append(f"  {'time, one text':36} {millis(report['latency_micros'])}")
    return lines


def _told(share: dict[str, Any]) -> str:
    return percent(share["hits"], share["of"], share["low"], share["high"])
