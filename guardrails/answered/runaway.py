"""Runaway repetition: a model that says the same thing over and over, until its tokens are spent.

A growing text is looked at every `STEP` characters, at places that depend on the text alone and not on how it came in
pieces. Looking means: where did the last few characters stand before, at most `PERIOD` back? Each such place is a
period that the end of the text may have, and one comparison of two slices tells. So the work for a step has a fixed
bound, and that for a text is linear, whatever it says."""

from __future__ import annotations

STEP = 64
PERIOD = 200
"""Longest piece that is recognised as what is repeated."""
PROBE = 24
"""Characters whose earlier places are the periods tried."""


class Runaway:
    """One text. Exact repetition only."""

    __slots__ = ("_chars", "_most", "_repeats", "_tail", "_to_next")

    def __init__(self, repeats: int, chars: int) -> None:
        """A runaway is at least `repeats` times the same, and at least `chars` characters of it."""
        self._repeats = repeats
        self._chars = chars
        self._most = max(chars, repeats * PERIOD)
        self._tail = ""
        self._to_next = STEP

    def push(self, text: str) -> int | None:
        """How much of `text` may go: up to the place at which the repetition is established. None: all of it."""
        at = 0
        while len(text) - at >= self._to_next:
            upto = at + self._to_next
            self._tail = (self._tail + text[at:upto])[-self._most :]
            at = upto
            self._to_next = STEP
            if self._repeating():
                return at
        self._tail += text[at:]
        self._to_next -= len(text) - at
        return None

    def _repeating(self) -> bool:
        tail = self._tail
        size = len(tail)
        if size < self._chars:
            return False
        probe = tail[-PROBE:]
        lowest = size - PROBE - PERIOD
        at = tail.rfind(probe, max(0, lowest), size - 1)
        while at >= 0:
            period = size - PROBE - at
            span = max(self._chars, self._repeats * period)
            if span <= size and tail[size - span + period :] == tail[size - span : size - period]:
                return True
            at = tail.rfind(probe, max(0, lowest), at + PROBE - 1)
        return False
