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
from gateway.pools.sharing import COUNTS

if TYPE_CHECKING:
    from gateway.pools.endpoint import Endpoint

DECODING = 16.0
"""Tokens that a prompt is longer, as it were, for each answer that is being written beside it."""


class Estimate(NamedTuple):
    """Of one endpoint for one call. Tokens are guessed from bytes."""

    endpoint: Endpoint
    blocks: int
    """Of the prompt that it is thought to have."""
    own: int
    """Of those, what we sent there ourselves."""
    prompt: float
    matched: float
    """Of `prompt`: tokens that are thought to be in its cache."""
    queued: float
    """Tokens that it has to read before ours."""
    in_flight: int
    """Calls under way there, from all gateways that we hear of."""
    wait: float
    """Seconds until the first token."""
    stale: bool = False
    """The engine's own metrics are too old to be used, though it has some."""

    @property
    def fresh(self) -> float:
        """Tokens that it would have to read."""
        return self.prompt - self.matched


def estimate(
    endpoint: Endpoint, prefix: Prefix, marks: tuple[int, ...], now: int, scale: Scale, rate: float
) -> Estimate:
    """`marks`: of the prompt, where other gateways may have told of it. `rate`: for an endpoint that has not been measured
    yet."""
    known = endpoint.known
    own = blocks = known.held.match(prefix.blocks)
    heard = known.heard.match(marks) if marks else 0
    if heard:
        blocks = max(blocks, COUNTS[heard - 1])
    others = known.others.load(now)
    prompt = scale.tokens(prefix.size)
    matched = min(prompt, scale.tokens(blocks * BLOCK))
    reading = endpoint.reading
    waiting, running, slots = 0.0, 0.0, 0
    stale = reading is not None and reading.stale(now)
    if reading is not None and not stale:
        waiting, running, slots = reading.waiting or 0.0, reading.running or 0.0, reading.slots or 0
    in_flight, unanswered = endpoint.in_flight + others.in_flight, endpoint.unanswered + others.unanswered
    queued = endpoint.unread + others.unread + max(0.0, waiting - unanswered) * scale.fresh
    decoding = max(0.0, max(float(in_flight), running) - unanswered)
    wait = (queued + prompt - matched + DECODING * decoding) / (known.speed.rate or rate)
    if slots:
        over = max(float(in_flight), waiting + running) + 1 - slots
        if over > 0:
            wait += over * known.speed.hold / slots
    return Estimate(endpoint, blocks, own, prompt, matched, queued, in_flight, wait, stale)
