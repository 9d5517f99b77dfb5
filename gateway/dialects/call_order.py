"""Tool calls put one after the other, as Anthropic's blocks and the items of Responses are; fragments of several calls may
alternate in OpenAI's chat.

A call whose arguments are whole JSON is taken to be over when another begins, so servers that send one call after the
other, as nearly all do, are streamed piece by piece. Otherwise pieces of the others wait until the answer goes on.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.core.events import ToolCall
from gateway.dialects.json_codec import UNREADABLE, decode


class CallOrder:
    """What waits is bounded by what one answer may be. Each call's arguments are looked at once at most."""

    __slots__ = ("_current", "_said", "_waiting")

    def __init__(self) -> None:
        self._current: int | None = None
        self._said: list[str] = []
        self._waiting: dict[int, list[ToolCall]] = {}

    def take(self, piece: ToolCall) -> Sequence[ToolCall]:
        """The pieces that may be told now: this one, or none."""
        if self._current is not None and self._current != piece.call and (self._waiting or not self._whole()):
            self._waiting.setdefault(piece.call, []).append(piece)
            return ()
        self.told(piece)
        return (piece,)

    def told(self, piece: ToolCall) -> None:
        """Takes notice of a piece that went out."""
        if self._current != piece.call:
            self._current = piece.call
            self._said.clear()
        self._said.append(piece.arguments)

    def rest(self) -> list[ToolCall]:
        """What waited, call by call. The answer goes on with something else, or ends."""
        if not self._waiting:
            return []
        pieces = [piece for waiting in self._waiting.values() for piece in waiting]
        self._waiting.clear()
        self.told(pieces[-1])
        return pieces

    def _whole(self) -> bool:
        try:
            decode("".join(self._said).encode())
        except UNREADABLE:
            return False
        return True
