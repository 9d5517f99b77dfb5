"""What a pool learns from its own calls: how long a text is in tokens, how quickly an endpoint reads, how well we guess.

All are means in which the newest counts most. None is ever needed: before the first call a plain guess stands in.
"""

from __future__ import annotations

import math

FIRST_BYTES = 4.0
FIRST_RATE = 2000.0
"""Tokens of prompt a second. Where no endpoint is known yet all are taken to be alike, so it only weighs reading against
waiting for a slot."""
FEWEST_TOKENS = 64
"""Below this, the time to the first token says more of the network than of reading."""
QUIET, BUSY = 0.2, 0.05
"""What a measured rate counts for: with little else queued there it is the endpoint's own, else mixed with what others
did."""
MANY_TOKENS = 512
"""What fewer were read in counts for less: a call whose prompt is cached but for its end waits for everything else, and
would make those that have most of what they are asked look like the slowest."""
LEAP = 3.0
"""How much more or less than the mean one measurement may say: a pause of the machine is no change of GPUs."""
RATE_HALF_LIFE = 30.0
"""Seconds in which what is known of a rate comes to count half, and what the others do as much: one that was slow once is
asked again, which is the only way to learn that it is not slow any more."""
NOT_OURS, WAS_THERE = 0.2, 0.5
"""Shares of a prompt of a KiB or more: if we knew less of it than the first, and more than the second was cached, somebody
else had sent it (or we had, and forgot)."""
STRANGERS = 0.04
"""Of the prompts that were new to us: with more than that, others call here. One of the last nine is enough."""
_SHARE = 0.1


class Mean:
    """A mean that forgets. `value` is None until something was taken."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: float | None = None

    def take(self, new: float, share: float = _SHARE) -> None:
        self.value = new if self.value is None else self.value + share * (new - self.value)


class Common:
    """Of one provider: text, model and callers are the same at all its endpoints, so all calls teach it together."""

    __slots__ = ("_bytes", "_found", "_fresh", "_reuse")

    def __init__(self) -> None:
        self._bytes = Mean()
        self._fresh = Mean()
        self._reuse = Mean()
        self._found = Mean()

    def tokens(self, size: int) -> float:
        """Of so many bytes."""
        return size / (self._bytes.value or FIRST_BYTES)

    def size(self, tokens: float) -> float:
        """Bytes of so many tokens."""
        return tokens * (self._bytes.value or FIRST_BYTES)

    def counted(self, size: int, tokens: int) -> None:
        """The engine counted so many tokens in a prompt of `size` bytes."""
        if tokens >= FEWEST_TOKENS and size:
            self._bytes.take(min(16.0, max(0.5, size / tokens)))

    @property
    def fresh(self) -> float:
        """Tokens of a prompt that were in no cache, for a usual call: what one of somebody else's in a queue is taken as."""
        return self._fresh.value or 0.0

    @property
    def reuse(self) -> float:
        """Share of its prompt that a usual call finds in a cache, by our estimates: what it is worth to be read where
        there is room, and not only where it is read soonest."""
        return self._reuse.value or 0.0

    def asked(self, fresh: float, prompt: float) -> None:
        self._fresh.take(fresh)
        if prompt > 0:
            self._reuse.take(1.0 - fresh / prompt)

    @property
    def alone(self) -> bool:
        """Engines tell what they had cached, and of late it was never what only another gateway can have sent."""
        return self._found.value is not None and self._found.value < STRANGERS

    def found(self, predicted: float, cached: float) -> None:
        """Shares of one prompt that we thought cached, and that were, by an engine that tells such things."""
        if predicted < NOT_OURS:
            self._found.take(1.0 if cached >= WAS_THERE else 0.0)


class Speed:
    """Of one endpoint."""

    __slots__ = ("_hold", "_measured", "_seconds", "_tokens")

    def __init__(self) -> None:
        self._tokens = Mean()
        self._seconds = Mean()
        """Both of one measurement; a mean of their quotients would count a short prompt as much as a long one."""
        self._hold = Mean()
        self._measured = 0

    @property
    def rate(self) -> float | None:
        """Tokens of prompt that it reads in a second; None until that was measured."""
        tokens, seconds = self._tokens.value, self._seconds.value
        return tokens / seconds if tokens and seconds else None

    def expected(self, now: int, usual: float) -> float:
        """The rate to be reckoned with, where `usual` is that of the others."""
        rate = self.rate
        if rate is None:
            return usual
        fresh = math.exp2((self._measured - now) / (RATE_HALF_LIFE * 1e9))
        return usual * math.pow(rate / usual, fresh)

    @property
    def hold(self) -> float:
        """Seconds from the first token of an answer to its last: how long a slot is held by a usual call."""
        return self._hold.value or 0.0

    def read(self, tokens: float, seconds: float, now: int, *, quiet: bool) -> None:
        """It had read `tokens` (of this call, and of those before it in the queue) when `seconds` were over."""
        if tokens >= FEWEST_TOKENS and seconds > 0:
            rate = self.rate
            if rate is not None:
                usual = tokens / rate
                seconds = min(usual * LEAP, max(usual / LEAP, seconds))
            share = (QUIET if quiet else BUSY) * tokens / (tokens + MANY_TOKENS)
            self._tokens.take(tokens, share)
            self._seconds.take(seconds, share)
            self._measured = now

    def held(self, seconds: float) -> None:
        self._hold.take(seconds)


ENOUGH_CALLS = 8
ENOUGH_TOKENS = 2048
"""Predicted as cached, before a prediction is judged."""
LEAST_OF_IT = 0.5
"""If less than this much of what was predicted was cached, we believe that the endpoint keeps more than it does."""
WELL = 0.8


class Hits:
    """Of one endpoint: tokens that we thought were in its cache, and tokens that were. An engine that never told of any
    teaches nothing: most have to be asked to tell, by a flag."""

    __slots__ = ("_calls", "cached", "predicted", "tells")

    def __init__(self) -> None:
        self._calls = 0
        self.predicted = 0.0
        self.cached = 0.0
        self.tells = False

    def told(self, predicted: float, cached: int) -> float | None:
        """The share of what was predicted that was cached, of the calls since the last time; None until those are enough."""
        self.tells = self.tells or cached > 0
        if not self.tells:
            return None
        self._calls += 1
        self.predicted += predicted
        self.cached += cached
        if self._calls < ENOUGH_CALLS or self.predicted < ENOUGH_TOKENS:
            return None
        share = self.cached / self.predicted
        self._calls, self.predicted, self.cached = 0, 0.0, 0.0
        return share
