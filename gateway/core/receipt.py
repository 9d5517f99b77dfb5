"""The one frozen record of an exchange, made after the last byte, whatever happened. Holds no user text."""

from __future__ import annotations

from typing import Literal

import msgspec

from gateway.core.events import Usage
from gateway.core.verdict import Verdict

Outcome = Literal["ok", "refused", "client_error", "gateway_error", "upstream_error", "cut", "client_gone"]
JUDGE = "judge"
"""The route of questions that checks put to models. No client sent them, and no route of an operator's has this name."""
SHADOW = "shadow"
"""The route of copies that go to another model after the answer. Likewise."""
OWN_ROUTES = frozenset({JUDGE, SHADOW})
CacheResult = Literal["hit", "semantic", "miss", "bypass"]


class Stage(msgspec.Struct, frozen=True, gc=False):
    """One entry of the timeline. Times are monotonic nanoseconds since the exchange opened."""

    name: str
    start: int
    end: int
    outcome: str = "ok"
    """`ok`, `answered`, or the fault's name."""


class Attempt(msgspec.Struct, frozen=True, gc=False):
    """One call of an upstream, also if it failed or was cancelled."""

    provider: str
    model: str
    endpoint: str
    """`host:port` of the real backend, never a URL with a credential."""
    start: int
    end: int
    outcome: str
    """`ok`, `cancelled`, `blocked`, or the fault's name."""
    status: int | None = None
    ttft: int | None = None
    """Nanoseconds from `start` to the first content event."""
    why: str = "first"
    """`first`, `retry`, `hedge`, `fallback`, `overflow`, `content_policy`, `guardrail`, `shadow`, `stale_connection`."""
    span_id: str = ""
    usage: Usage | None = None
    """What was told before it ended: of a cancelled attempt often nothing."""
    upstream_id: str = ""
    """The provider's own id of the call, from its reply's headers."""
    finish_reasons: tuple[str, ...] = ()
    response_model: str = ""
    response_id: str = ""
    """The answer's id, from its body."""
    cost_usd: float | None = None
    """Of `usage`; None when that or the price is not known. A cancelled attempt may have cost more."""
    revealed: bool = False
    """It was sent originals of what is masked everywhere else; only a target with `trust: internal` may be."""
    estimated: Usage | None = None
    """A guess at what it used beyond `usage`, where it was given up before it told all. Never counted as measured."""
    estimated_usd: float | None = None
    """What that would cost; no part of `cost_usd`."""
    cause: str = ""
    """What made it: how the call before ended and where, or how long it had said nothing. Fixed words and names only."""
    picked: str = ""
    """Why this endpoint, where there were several: the rule, and the numbers that it went by."""


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that telemetry, accounting, the console and the caches may know of an exchange."""

    id: str
    opened: int
    """Unix nanoseconds."""
    duration: int
    """Nanoseconds, from opened to the last byte handed to the server."""
    outcome: Outcome
    status: int
    """HTTP status sent, or that would have been sent."""
    error: str = ""
    """The fault's name, or empty."""
    dialect: str
    operation: str
    stream: bool = False
    route: str = ""
    model: str = ""
    """The alias asked for; empty when the request was never understood. Bounded: only configured aliases."""
    served_model: str = ""
    """The alias that answered: differs from `model` after a route or fallback."""
    answer: str = ""
    """The answer's kind, or empty if there was none."""
    intent: str = ""
    intent_score: float | None = None
    action: str = ""
    """What the application was told to do next."""
    tier: str = ""
    """`small` or `large`, where the route chooses by how hard a request looks."""
    tier_score: float | None = None
    left_out: tuple[str, ...] = ()
    """Models that were not asked, and why: `tiny: context_window`, `fast: vision`."""
    cache: CacheResult = "bypass"
    cache_id: str = ""
    """Of the entry that answered, as the client was told it."""
    cache_reason: str = ""
    cache_similarity: float | None = None
    cache_age: float | None = None
    verdicts: tuple[Verdict, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    timeline: tuple[Stage, ...] = ()
    usage: Usage | None = None
    charges: tuple[str, ...] = ()
    """Token counters that this exchange is charged to."""
    cost_usd: float | None = None
    shadow: str = ""
    """The id of the exchange in which another model got a copy of the request, after the answer."""
    estimated_usd: float | None = None
    """A guess at what the calls cost that were given up before they told; no part of `cost_usd`."""
    saved_usd: float | None = None
    """What a cached answer would have cost."""
    baseline_usd: float | None = None
    """What the route's baseline model would have cost for the same tokens; None without a baseline, or where nothing
    tells how many there would have been."""
    bytes_in: int = 0
    bytes_out: int = 0
    """Of bodies that were relayed and not understood."""
    ttft: int | None = None
    """Nanoseconds from opened to the first byte of content handed to the server."""
    overhead: int | None = None
    """Nanoseconds spent here and not waiting for an upstream, up to the first content byte."""
    priority: str = "normal"
    queued: int = 0
    """Nanoseconds spent waiting for a place at a model. What for is in the timeline."""
    beats: int = 0
    """Signs of life sent to a streaming client while it waited. The first committed it to status 200."""
    held_chars: int = 0
    """Most characters that the hold-back kept back at one time."""
    held: int = 0
    """Longest that the hold-back kept back a piece of the answer. Nanoseconds."""
    handoff: str = ""
    """Who is to take over, if a person is."""
    handoff_reason: str = ""
    tenant: str = ""
    key_id: str = ""
    user: str = ""
    """End user as the key allows it to be named; a keyed hash in telemetry."""
    session: str = ""
    tags: tuple[str, ...] = ()
    trace_id: str = ""
    span_id: str = ""
    parent_span_id: str = ""
    sampled: bool = True
    degraded: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
