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
from gateway.core.tokens import LATIN_PER_TOKEN, text_tokens

CONTENT = frozenset({Text, Reasoning, ToolCall, Unknown, Piece, ChoiceFinished, Finished})
"""Events that are part of the answer itself."""


class Seen:
    """`first_content`: monotonic nanoseconds at which the first content arrived, released or not. `said`: tokens of what
    came, by an estimate."""

    __slots__ = ("_letters", "_now", "finish_reasons", "first_content", "response_id", "response_model", "usage")

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self._letters = 0.0
        self.first_content: int | None = None
        self.usage: Usage | None = None
        self.finish_reasons: dict[int, str] = {}
        self.response_model = ""
        self.response_id = ""

    @property
    def said(self) -> float:
        return self._letters / LATIN_PER_TOKEN

    def again(self) -> None:
        """What was told so far is told again from here on."""
        self._letters = 0.0

    def note(self, events: Sequence[Event]) -> None:
        """May be told the same events twice, with `again` in between."""
        for event in events:
            kind = type(event)
            if kind is Text or kind is Reasoning:
                text: str = event.text  # type: ignore[attr-defined]
                self._letters += len(text) if text.isascii() else text_tokens(text) * LATIN_PER_TOKEN
                if self.first_content is None:
                    self.first_content = self._now()
            elif kind is Usage:
                self.usage = event  # type: ignore[assignment]
            elif kind is ChoiceFinished:
                self.finish_reasons[event.choice] = event.reason  # type: ignore[attr-defined]
            elif kind is Started:
                self.response_model = event.model  # type: ignore[attr-defined]
                self.response_id = event.id  # type: ignore[attr-defined]
            elif kind in CONTENT:
                if kind is ToolCall:
                    self._letters += len(event.arguments)  # type: ignore[attr-defined]
                if self.first_content is None:
                    self.first_content = self._now()
