"""`use: repetition`: answers that say the same over and over."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.core.ports import Transform
from guardrails.answered.answers import answer_rules
from guardrails.answered.repetition import CATEGORY, CHARS, REPEATS, Repetition
from guardrails.answered.runaway import PERIOD
from guardrails.config import GuardrailConfig
from guardrails.kind import OUTPUT, Delivery, Kind, Tools, words


def _transform(name: str, check: GuardrailConfig, tools: Tools) -> Transform:
    return Repetition(answer_rules(name, check, CATEGORY, "window"), check.repeats or REPEATS, check.min_chars or CHARS)


def _problems(check: GuardrailConfig) -> Iterator[tuple[str, str]]:
    if check.repeats is not None and not 3 <= check.repeats <= 100:
        yield ".repeats", "must be between 3 and 100"
    if check.min_chars is not None and not 100 <= check.min_chars <= 20_000:
        yield ".min_chars", "must be between 100 and 20000"
    if check.action == "block" and check.steps and check.stream != "full" and "output" in check.on:
        yield ".then", "the repetition is out before it is noticed, so nothing can follow it: needs `stream: full`"


def _misses(check: GuardrailConfig, side: str, delivery: Delivery) -> str:
    known = (
        f"loops that change something each time round (a counter, a synonym), or that are longer than {PERIOD} characters; "
        "asked for on purpose, a long row of the same is a hit too"
    )
    if delivery == "stream" and check.stream != "full" and check.action == "block":
        known += (
            f"; the first {check.min_chars or CHARS} characters of it, or {check.repeats or REPEATS} times, are sent"
        )
    return known


KIND = Kind(
    use="repetition",
    category=CATEGORY,
    sides=OUTPUT,
    actions=words("block flag"),
    keys=words("repeats min_chars then attempts reply handoff stream"),
    streams=("window", "full"),
    misses=_misses,
    transform=_transform,
    problems=_problems,
)
