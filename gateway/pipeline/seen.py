"""What one reply has told of itself so far: for its entry in the receipt, whether it is delivered, dropped or cut."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gateway.core.events import (
    ChoiceFinished,
    Event,
    Finished,
    Piece,
    Reasoning,
    Started,
    Text,
    ToolCall,
    Unknown,
    Usage,
)

CONTENT = frozenset({Text, Reasoning, ToolCall, Unknown, Piece, ChoiceFinished, Finished})
"""Events that are part of the answer itself."""


class Seen:
    """`first_content`: monotonic nanoseconds at which the first content arrived, released or not."""

    __slots__ = ("_now", "finish_reasons", "first_content", "response_id", "response_model", "usage")

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self.first_content: int | None = None
        self.usage: Usage | None = None
        self.finish_reasons: dict[int, str] = {}
        self.response_model = ""
        self.response_id = ""

    def note(self, events: Sequence[Event]) -> None:
        """May be told the same events twice."""
        for event in events:
            kind = type(event)
            if kind is Usage:
                self.usage = event  # type: ignore[assignment]
            elif kind is ChoiceFinished:
                self.finish_reasons[event.choice] = event.reason  # type: ignore[attr-defined]
            elif kind is Started:
                self.response_model = event.model  # type: ignore[attr-defined]
                self.response_id = event.id  # type: ignore[attr-defined]
            elif self.first_content is None and kind in CONTENT:
                self.first_content = self._now()
