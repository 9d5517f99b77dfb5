"""Deltas no codec understands: held until their choice ends, then looked at by the text they carry."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gateway.core.events import Event, Unknown
from guardrails.answered.tracks import MAX_HELD, Overheld
from guardrails.finding.scanner import Scanner
from guardrails.finding.spans import Span

_DEPTH = 32


class UnknownTrack:
    """The unknown deltas of one choice."""

    def __init__(self, since: int = 0) -> None:
        """`since`: when the first of them came."""
        self.since = since
        self.events: list[Event] = []
        self._texts: dict[str, list[str]] = {}
        self._size = 0

    def push(self, event: Unknown) -> None:
        for path, text in strings(event.fields):
            self._size += len(text)
            if self._size > MAX_HELD:
                raise Overheld
            self._texts.setdefault(path, []).append(text)
        self.events.append(event)

    def spans(self, scanner: Scanner) -> list[Span]:
        """What is in them. Strings at the same place are read as one text, since deltas come in pieces; which piece holds
        what cannot be known."""
        return [span for pieces in self._texts.values() for span in scanner.find("".join(pieces))]


def strings(value: Any, path: str = "", depth: int = 0) -> Iterator[tuple[str, str]]:
    """(place, text) for every string in a JSON value, keys included. Bounded in depth: deeper is an error, not a
    gap."""
    if depth > _DEPTH:
        raise Overheld
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from strings(item, f"{path}.{key}", depth + 1)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item, f"{path}[]", depth + 1)
