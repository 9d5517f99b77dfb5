"""What a call would cost at an endpoint: the seconds until its first token, as far as can be known beforehand.

    (tokens to be read there before ours + our tokens that are not in its cache + what decoding slows) / rate
    + the wait for a slot, where the engine has a number of them

A prefix that everybody asks for raises the first term where it is cached, and so spills over by itself, to where most of
the rest is cached.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gateway.pools.chain import BLOCK, Prefix
from gateway.pools.learned import Scale

if TYPE_CHECKING:
    from gateway.pools.endpoint import Endpoint

DECODING = 16.0
"""Tokens that a prompt is longer, as it were, for each answer that is being written beside it."""


class Estimate(NamedTuple):
    """Of one endpoint for one call. Tokens are guessed from bytes."""

    endpoint: Endpoint
    blocks: int
    """Of the prompt that it is thought to have."""
    prompt: float
    matched: float
    """Of `prompt`: tokens that are thought to be in its cache."""
    queued: float
    """Tokens that it has to read before ours."""
    wait: float
    """Seconds until the first token."""
    stale: bool = False
    """The engine's own metrics are too old to be used, though it has some."""

    @property
    def fresh(self) -> float:
        """Tokens that it would have to read."""
        return self.prompt - self.matched


def estimate(endpoint: Endpoint, prefix: Prefix, now: int, scale: Scale, rate: float) -> Estimate:
    """`rate`: for an endpoint that has not been measured yet."""
    known = endpoint.known
    blocks = known.held.match(prefix.blocks)
    prompt = scale.tokens(prefix.size)
    matched = min(prompt, scale.tokens(blocks * BLOCK))
    reading = endpoint.reading
    waiting, running, slots = 0.0, 0.0, 0
    stale = reading is not None and reading.stale(now)
    if reading is not None and not stale:
        waiting, running, slots = reading.waiting or 0.0, reading.running or 0.0, reading.slots or 0
    queued = endpoint.unread + max(0.0, waiting - endpoint.unanswered) * scale.fresh
    decoding = max(float(endpoint.in_flight - endpoint.unanswered), running - endpoint.unanswered)
    wait = (queued + prompt - matched + DECODING * decoding) / (known.speed.rate or rate)
    if slots:
        over = max(float(endpoint.in_flight), waiting + running) + 1 - slots
        if over > 0:
            wait += over * known.speed.hold / slots
    return Estimate(endpoint, blocks, prompt, matched, queued, wait, stale)
