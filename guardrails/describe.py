"""What really runs, for `tidegate check`: each check of a route on each side and stream mode, how it acts, what it
misses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from guardrails.config import GuardrailConfig
from guardrails.kind import Delivery
from guardrails.kinds import KINDS
from guardrails.problems import does


class Line(msgspec.Struct, frozen=True):
    """One row of the report."""

    check: str
    use: str
    side: str
    """`input`, `retrieved` or `output`."""
    mode: str
    """How: `before` the model is called, or `beside` its call, whose answer waits;
    on output `window`, `full`, `retract`, `after`, or `none`."""
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
            _does(check, side, delivery),
            _misses(check, side, delivery),
        )
        for name in names
        for check in [config[name]]
        for side in check.on
    ]


def _mode(check: GuardrailConfig, side: str, delivery: str) -> str:
    if side != "output":
        return "before" if check.beside is None else "beside"
    if check.stream == "off" and delivery == "stream":
        return "none"
    if _only_looks(check):
        return "after"
    if delivery == "whole":
        return "full"
    mode = check.stream or KINDS[check.use].streams[0]
    return "window" if mode == "hold" else mode


def _only_looks(check: GuardrailConfig) -> bool:
    return check.stream == "audit" or does(check) <= {"flag", "allow"}


def _acts(check: GuardrailConfig, side: str, delivery: str) -> str:
    if side == "output" and _only_looks(check):
        return f"flag, where it would {_strongest(check)} (audit)" if check.stream == "audit" else "flag"
    if does(check) <= {"flag", "allow"}:
        return "flag"
    shown = ", left to internal targets" if check.internal == "original" and side != "output" else ""
    then = _then(check, delivery) if side == "output" else ""
    refused = "refuse" if check.on_error == "closed" else "let pass, marked degraded"
    if side == "output" and _mode(check, side, delivery) == "retract":
        return (
            f"{_actions(check)} by window{then}; for clients that send x-tidegate-stream: retract it holds no text, and "
            f"{'blocks where it would mask' if 'mask' in does(check) else 'blocks'} and has them take back what they "
            f"showed; on error {refused}"
        )
    return f"{_actions(check)}{shown}{then}; on error {refused}"


def _actions(check: GuardrailConfig) -> str:
    named = ", ".join(f"{action} {kind}" for kind, action in sorted((check.actions or {}).items()))
    return f"{check.action} ({named})" if named else check.action


def _strongest(check: GuardrailConfig) -> str:
    return next(action for action in ("block", "mask", "repair") if action in does(check))


def _does(check: GuardrailConfig, side: str, delivery: str) -> str:
    tiers = KINDS[check.use].tiers(check)
    return _acts(check, side, delivery) + (f"; looks with {tiers}" if tiers else "")


def _then(check: GuardrailConfig, delivery: str) -> str:
    """Of a whole answer nothing is out before its end; of a stream that is let go by and by, no step can follow the
    first words."""
    steps = [_step(step, check) for step in check.steps if step != "block"]
    if not steps:
        return ""
    early = delivery == "stream" and _mode(check, "output", delivery) != "full"
    return f", then {', '.join(steps)}" + (" (only until the first words are out; use stream: full)" if early else "")


def _step(step: str, check: GuardrailConfig) -> str:
    return f"{step} up to {check.attempts or 1} times" if step in ("retry", "hedge") else step


def _misses(check: GuardrailConfig, side: str, delivery: Delivery) -> str:
    if side == "output" and check.stream == "off" and delivery == "stream":
        return "everything: off on streams"
    known = KINDS[check.use].misses(check, side, delivery)
    if side != "output":
        return known
    if _mode(check, side, delivery) == "retract":
        known += "; with retract the client has seen what it takes back"
    if _only_looks(check):
        known += "; an answer that is cut short is not looked at"
    return known + "; images and audio"
