"""`tidegate eval router`: intents, refusals and times on labelled texts."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from gateway.commands.intent_routes import chosen_route, examples_of, head_of
from gateway.commands.scoring import DataError, Say, Told, encoder, field, in_parts, millis, percent, read_rows

if TYPE_CHECKING:
    from routing.evaluate import RouterReport, RowResult
    from routing.examples import Examples

_BELOW = 0.5
_SHOWN = 10
"""Confusions told."""


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--train", type=Path, help="fit from these rows, not from the configuration's examples")
    parser.add_argument("--route", help="the configuration's route, if several have intents")
    parser.add_argument("--answer-tokens", type=int, default=300, metavar="N", help="with --config: how long an answer is "
                        "taken to be where savings against the route's `baseline` are told (default 300)")  # fmt: skip
    parser.add_argument("--below", type=float, help="confidence under which a text is out of scope (default: the "
                        "configuration's; else 0.5, or 0 where the training rows have no `oos` row)")  # fmt: skip


def evaluate(rows: list[dict[str, Any]], options: argparse.Namespace, say: Say) -> Told:
    """Rows: `text` and `intent`. Raises `DataError`, `ConfigError`."""
    from routing.evaluate import predict, report

    texts = [field(row, "text", at) for at, row in enumerate(rows, 1)]
    truth = [field(row, "intent", at) for at, row in enumerate(rows, 1)]
    config = _config(options)
    examples, below = _examples(options, config)
    if options.below is not None:
        below = options.below
    encode = encoder(say, config)
    head = head_of(examples, encode, say)
    encode.ahead(texts)
    results: list[RowResult] = []
    for part in in_parts(len(texts), say, "routed"):
        results += predict(head, encode.encode, [texts[at] for at in part], below=below)
    told = report(head, results, truth)
    confused = _confusions(results, truth)
    saved, more = _saved(options, config, results, texts)
    return Told(
        report={**msgspec.to_builtins(told), "below": below, "confusions": confused, **saved},
        lines=[*_lines(told, below, confused), *more],
        rows=[{"intent": result.intent, "score": result.score, "best": result.best} for result in results],
    )


def _saved(
    options: argparse.Namespace, config: Any, results: list[RowResult], texts: list[str]
) -> tuple[dict[str, Any], list[str]]:
    """What the route would have saved, where there is one with something to do by intent."""
    from gateway.commands.eval_savings import lines, savings

    if config is None:
        return {}, []
    name, intents = chosen_route(config, options.route)
    if not intents.then:
        return {}, []
    try:
        told = savings(config, name, results, texts, options.answer_tokens)
    except DataError as error:
        return {}, ["", str(error)]
    return {"savings": told}, lines(told, len(results))


def _config(options: argparse.Namespace) -> Any:
    """None without one. Raises `ConfigError`."""
    if options.config is None:
        return None
    from gateway import config as configuration

    return configuration.load(options.config)


def _examples(options: argparse.Namespace, config: Any) -> tuple[Examples, float]:
    """What to fit, and the confidence under which a text is out of scope. Rows that show nothing outside give no ground
    to refuse anything: then the score is told and the best intent stands."""
    from routing.evaluate import training_rows
    from routing.examples import ExamplesError

    intents = None
    if config is not None:
        _, intents = chosen_route(config, options.route)
    if options.train is not None:
        try:
            examples = training_rows(read_rows(options.train))
        except ExamplesError as error:
            raise DataError(f"{options.train}: {error}") from None
        if intents is not None:
            return examples, intents.below
        return examples, _BELOW if examples.outside else 0.0
    if intents is None:
        raise DataError("nothing to fit: give --train with labelled rows, or --config with a route that has intents")
    return examples_of(intents, options.config.parent), intents.below


def _confusions(results: list[RowResult], truth: list[str]) -> list[dict[str, Any]]:
    wrong = Counter((t, r.intent) for r, t in zip(results, truth, strict=True) if r.intent != t)
    return [{"intent": t, "read_as": said, "rows": rows} for (t, said), rows in wrong.most_common(_SHOWN)]


def _lines(told: RouterReport, below: float, confused: list[dict[str, Any]]) -> list[str]:
    shares = (
        ("intent right, refused or not", told.accuracy),
        ("intent right and not refused", told.accuracy_refusing),
        ("out of scope, refused", told.oos_recall),
        ("in scope, refused", told.false_refusals),
    )
    lines = [
        f"{told.rows:,} rows, {told.intents} intents, {told.kind} head, encoder {told.encoder}",
        f"out of scope under confidence {below:g}{'' if below else ' (nothing is refused)'}; 95 % intervals after Wilson",
        "",
    ]
    lines += [f"  {name:30} {percent(s.hits, s.of, s.low, s.high)}" for name, s in shares]
    if told.auroc is not None:
        area, low, high = told.auroc
        lines.append(f"  {'AUROC, in against out of scope':30} {area:.4f} ({low:.4f} .. {high:.4f})")
    lines.append(f"  {'time, one text at a time':30} {millis(told.latency_micros)}")
    if confused:
        lines += ["", "most often read as another:"]
        lines += [f"  {c['rows']:5}  {c['intent']} as {c['read_as']}" for c in confused]
    return lines
