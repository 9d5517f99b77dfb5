"""What a call would cost at an endpoint: the seconds until its first token, as far as can be known beforehand.

    (tokens to be read there before ours + our tokens that are not in its cache + what decoding slows) / rate
    + the wait for a slot, where the engine has a number of them

A prefix that everybody asks for raises the first term where it is cached, and so spills over by itself, to where most of
the rest is cached.

What is compared is not that wait alone. A prompt read anew where others are cached pushes those out, and whoever asks for
them next has to have them read again: what has to be read counts for the others, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gateway.pools.chain import BLOCK, Prefix
from gateway.pools.learned import Common
from gateway.pools.sharing import COUNTS

if TYPE_CHECKING:
    from gateway.pools.endpoint import Endpoint

DECODING = 16.0
"""Tokens that a prompt is longer, as it were, for each answer that is being written beside it."""

PUSHED_OUT = 1.0
"""Tokens that somebody will have to read again for each that is read now. Of 0, 0.5, 1 and 2 the best or as good as it in
all workloads of `bench.pools`; with 0 a busy moment makes copies, and those the next busy moment."""


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
    cost: float
    """Seconds: those, and what others will wait for what was pushed out."""
    stale: bool = False
    """The engine's own metrics are too old to be used, though it has some."""

    @property
    def fresh(self) -> float:
        """Tokens that it would have to read."""
        return self.prompt - self.matched


class Question(NamedTuple):
    """What is the same for all endpoints of one pick."""

    prefix: Prefix
    marks: tuple[int, ...]
    """Of the prompt, where other gateways may have told of it."""
    now: int
    prompt: float
    """Tokens."""
    block: float
    """Tokens of one block."""
    usual: float
    """Tokens of a usual call that are in no cache."""
    rate: float
    """Tokens a second, of those endpoints that have been measured."""


def question(prefix: Prefix, marks: tuple[int, ...], now: int, common: Common, rate: float) -> Question:
    return Question(prefix, marks, now, common.tokens(prefix.size), common.tokens(BLOCK), common.fresh, rate)


def estimate(endpoint: Endpoint, asked: Question) -> Estimate:
    """2 µs: it is made of every endpoint for every call."""
    prefix, marks, now, prompt, block, usual, rate = asked
    known = endpoint.known
    own = blocks = known.held.match(prefix.blocks)
    if marks:
        heard = known.heard.match(marks)
        if heard and COUNTS[heard - 1] > blocks:
            blocks = COUNTS[heard - 1]
    matched = blocks * block
    if matched > prompt:
        matched = prompt
    in_flight, unanswered, queued = endpoint.in_flight, endpoint.unanswered, endpoint.unread
    others = known.others.load(now) if known.others else None
    if others is not None:
        in_flight, unanswered, queued = (
            in_flight + others.in_flight,
            unanswered + others.unanswered,
            queued + others.unread,
        )
    busy, hold, stale = float(in_flight), 0.0, False
    reading = endpoint.reading
    if reading is not None:
        old = reading.stale(now)
        stale = old and reading.tells_load
        if not old:
            waiting, running = reading.waiting or 0.0, reading.running or 0.0
            queued += max(0.0, waiting - unanswered) * usual
            if reading.slots:
                hold = (
                    max(0.0, max(in_flight, waiting + running) + 1 - reading.slots) * known.speed.hold / reading.slots
                )
            if running > busy:
                busy = running
    decoding = busy - unanswered
    unread = queued + prompt - matched + (DECODING * decoding if decoding > 0 else 0.0)
    rate = known.speed.expected(now, rate)
    wait = unread / rate + hold
    cost = wait + PUSHED_OUT * (prompt - matched) / rate
    return Estimate(endpoint, blocks, own, prompt, matched, queued, in_flight, wait, cost, stale)
