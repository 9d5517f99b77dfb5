"""The one ordered list: what happens to a request and to its answer, in this order, on every route.

Reading this file is reading the pipeline. A component whose consumed notes nobody before it produces is refused
here, at start.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from gateway.core.facts import Key
from gateway.core.ports import Decider, Transform


class Common(msgspec.Struct, frozen=True, kw_only=True):
    """The stages before the route is known; the same for all."""

    admit: Decider
    receive: Decider
    select: Decider
    permit: Decider


class RouteParts(msgspec.Struct, frozen=True, kw_only=True):
    """What one route is made of. None where it uses no such stage."""

    relay: Decider | None = None
    mask: Decider | None = None
    inspect: Decider | None = None
    route: Decider
    pin: Decider | None = None
    exact_cache: Decider | None = None
    semantic_cache: Decider | None = None
    coalesce: Decider | None = None
    canary: Decider | None = None
    verdict: Transform | None = None
    checks: Sequence[Transform] = ()
    tap: Transform | None = None
    restore: Transform | None = None


Step = Decider | tuple[Decider, Decider]
"""One stage, or two side by side: what the first decides wins, and the second may begin while it waits."""


class Lane(msgspec.Struct, frozen=True):
    """One route's stages, in order."""

    deciders: tuple[Step, ...]
    transforms: tuple[Transform, ...]


class Pipeline(msgspec.Struct, frozen=True):
    """`head` runs first and sets `exchange.route`; then that route's lane."""

    head: tuple[Decider, ...]
    lanes: Mapping[str, Lane]


def build(common: Common, routes: Mapping[str, RouteParts]) -> Pipeline:
    """Puts the parts in order. Raises ValueError if a note would be missing."""
    head = (
        common.admit,  # who asks, and may they: from the headers alone, before a byte of body is read
        common.receive,  # decode once
        common.select,  # which route's rules hold
        common.permit,  # may this key use this model; tokens, concurrency
    )
    lanes = {name: _lane(name, head, parts) for name, parts in routes.items()}
    return Pipeline(head, lanes)


def unrouted(admit: Decider, receive: Decider, answer: Decider, names: Iterable[str] = ("",)) -> Pipeline:
    """For what belongs to no route of the configuration and calls no model; `names` stand for routes in receipts. Raises
    ValueError if a note would be missing."""
    head = (admit, receive)
    _check_notes("", [*head, answer])
    return Pipeline(head, {name: Lane((answer,), ()) for name in names})


def _lane(name: str, head: Sequence[Decider], parts: RouteParts) -> Lane:
    deciders = (
        parts.relay,  # what no check can read passes only where that is allowed
        parts.mask,  # first: everything after this sees masked text only
        # Both are local and neither needs the other, so together they take as long as the slower one; a refusal wins
        # over whatever is chosen meanwhile. Route: intent -> canned, clarify, hand over, or a plan.
        parts.route if parts.inspect is None else (parts.inspect, parts.route),
        parts.pin,  # what only one provider can read goes back to it
        parts.exact_cache,  # after screening: a blocked request reads no cache
        parts.semantic_cache,
        parts.coalesce,  # only what would call a model waits for an identical call under way
        parts.canary,  # last: what it has put into the system prompt is for the model alone
    )
    transforms = (
        parts.verdict,  # holds the answer until the checks that run beside the call have spoken
        *parts.checks,  # on masked text, so the user's own data does not trip them
        parts.tap,  # stores what passed the checks, still masked
        parts.restore,  # last: placeholders become the user's own values again
    )
    lane = Lane(
        tuple(step for step in deciders if step is not None),
        tuple(stage for stage in transforms if stage is not None),
    )
    _check_notes(name, [*head, *flat(lane.deciders), *lane.transforms])
    return lane


def flat(steps: Sequence[Step]) -> list[Decider]:
    """The stages one by one."""
    return [stage for step in steps for stage in (step if isinstance(step, tuple) else (step,))]


def _check_notes(route: str, stages: Sequence[Decider | Transform]) -> None:
    known: set[Key[object]] = set()
    for stage in stages:
        missing = [key.name for key in stage.consumes if key not in known]
        if missing:
            raise ValueError(
                f"route {route!r}: stage {stage.name!r} needs {missing}, which no stage before it produces"
            )
        known.update(stage.produces)
