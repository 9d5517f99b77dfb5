"""What really runs, for `tidegate check`: each check of a route on each side and stream mode, how it acts, what it
misses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from guardrails.config import GuardrailConfig
from guardrails.kind import Delivery
from guardrails.kinds import KINDS


class Line(msgspec.Struct, frozen=True):
    """One row of the report."""

    check: str
    use: str
    side: str
    """`input`, `retrieved` or `output`."""
    mode: str
    """How: `before` the model is called; on output `hold`, `window`, `full`, `after`, or `none`."""
    acts: str
    """What it does with a hit, and what happens when it cannot run."""
    misses: str
    """What it cannot see there. Empty where nothing is known."""


def describe(config: Mapping[str, GuardrailConfig], names: Sequence[str], delivery: Delivery) -> list[Line]:
    """The rows for one route, for streamed or for whole answers. The same in every dialect: checks see canonical
    events."""
    return [
        Line(
            name,
            check.use,
            side,
            _mode(check, side, delivery),
            _does(check),
            _misses(check, side, delivery),
        )
        for name in names
        for check in [config[name]]
        for side in check.on
    ]


def _mode(check: GuardrailConfig, side: str, delivery: str) -> str:
    if side != "output":
        return "before"
    if check.stream == "off" and delivery == "stream":
        return "none"
    if check.action == "flag":
        return "after"
    return check.stream or KINDS[check.use].streams[0]


def _acts(check: GuardrailConfig) -> str:
    if check.action == "flag":
        return "flag"
    steps = [step for step in check.steps if step != "block"]
    then = f", then {', '.join(_step(step, check) for step in steps)}" if steps else ""
    return f"{check.action}{then}; on error {'refuse' if check.on_error == 'closed' else 'let pass, marked degraded'}"


def _does(check: GuardrailConfig) -> str:
    tiers = KINDS[check.use].tiers(check)
    return _acts(check) + (f"; looks with {tiers}" if tiers else "")


def _step(step: str, check: GuardrailConfig) -> str:
    return f"{step} up to {check.attempts or 1} times" if step in ("retry", "hedge") else step


def _misses(check: GuardrailConfig, side: str, delivery: Delivery) -> str:
    if side == "output" and check.stream == "off" and delivery == "stream":
        return "everything: off on streams"
    known = KINDS[check.use].misses(check, side, delivery)
    if side != "output":
        return known
    if check.action == "flag":
        known += "; an answer that is cut short is not looked at"
    return known + "; images and audio"
