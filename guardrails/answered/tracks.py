"""One text of an answer on its way through a hold-back: the visible text of a choice, its reasoning, or one tool call.

Keeps the upstream's own events where nothing changed (so that their bytes, and fields we do not know, survive), cuts
them where only a part may go, and replaces what a span covers. Fields that came with replaced text
(log-probabilities spell it out token by token) are dropped with it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from gateway.core.events import Extra, Reasoning, Text, ToolCall
from guardrails.finding.scanner import Scanner
from guardrails.finding.spans import Span
from guardrails.finding.window import Piece, Window
from guardrails.hiding.vault import blanked

TextEvent = Text | Reasoning
Out = list["Text | Reasoning | ToolCall"]

MAX_HELD = 1 << 20
"""Characters that one text may be held at, at most. Beyond it the check has failed: memory is not for an upstream to
fill."""


class Overheld(Exception):
    """More is held than may be; handled like any other crash of the check."""


class Verdicts(Protocol):
    """What a track does with a span."""

    def passes(self, span: Span) -> bool:
        """Whether the span may go on as it is."""
        ...

    def replacement(self, span: Span, original: str, as_json: bool) -> str | None:
        """The text to send instead; None to stop here."""
        ...


class TextTrack:
    """The text or the reasoning of one choice."""

    def __init__(
        self,
        scanner: Scanner,
        verdicts: Verdicts,
        make: Callable[[str, Extra | None], TextEvent],
        free: Callable[[str], int] | None = None,
    ) -> None:
        """`free` as for `Window`."""
        self._window = Window(scanner, free)
        self._verdicts = verdicts
        self._make = make
        self._pending: deque[tuple[TextEvent, int]] = deque()
        self._offset = 0
        self._spoilt = False
        self.stopped: Span | None = None
        """The span at which the check stopped the text, if it did."""

    @property
    def held(self) -> int:
        return self._window.held

    @property
    def since(self) -> int | None:
        """When the oldest of what is held came."""
        return self._pending[0][1] if self._pending else None

    def push(self, event: TextEvent, now: int = 0) -> Out:
        """`now`: when it came, in any unit."""
        if self._window.held + len(event.text) > MAX_HELD:
            raise Overheld
        self._pending.append((event, now))
        return self._emit(self._window.push(event.text))

    def finish(self) -> Out:
        return self._emit(self._window.finish())

    def release(self) -> Out:
        """What is held, unlooked at: for a check that has failed and may let pass."""
        out: Out = []
        self._let(sum(len(event.text) for event, _ in self._pending) - self._offset, out)
        return [*out, *(event for event, _ in self._pending)]

    def _emit(self, pieces: Sequence[Piece]) -> Out:
        out: Out = []
        for piece in pieces:
            if piece.span is None or self._verdicts.passes(piece.span):
                self._let(piece.length, out)
                continue
            original = self._take(piece.length)
            instead = self._verdicts.replacement(piece.span, original, False)
            if instead is None:
                self.stopped = piece.span
                return out
            self._say(out, instead)
        while self._pending and not self._pending[0][0].text:
            out.append(self._pending.popleft()[0])
        return out

    def _let(self, length: int, out: Out) -> None:
        """The next `length` characters as they came: whole events as the same objects, parts as new ones."""
        said = ""
        while length:
            event = self._pending[0][0]
            text, offset = event.text, self._offset
            left = len(text) - offset
            if left > length:
                said += text[offset : offset + length]
                self._offset += length
                break
            self._pending.popleft()
            extra = None if self._spoilt else event.extra
            length -= left
            if offset and extra is None:
                said += text[offset:]
            else:
                if said:
                    self._say(out, said)
                    said = ""
                if offset:
                    self._say(out, text[offset:], extra)
                else:
                    out.append(event)
            self._offset, self._spoilt = 0, False
        if said:
            self._say(out, said)

    def _take(self, length: int) -> str:
        """The next `length` characters, out of their events. What is left of such an event loses its extra fields."""
        taken: list[str] = []
        while length:
            event = self._pending[0][0]
            part = event.text[self._offset : self._offset + length]
            taken.append(part)
            length -= len(part)
            self._offset += len(part)
            if self._offset == len(event.text):
                self._pending.popleft()
                self._offset, self._spoilt = 0, False
            else:
                self._spoilt = True
        return "".join(taken)

    def _say(self, out: Out, text: str, extra: Extra | None = None) -> None:
        """Adds text of ours, to the event before it if that is ours too, so that one push makes few frames."""
        if not text and not extra:
            return
        last = out[-1] if out else None
        if last is not None and not isinstance(last, ToolCall) and last.extra is None and extra is None:
            out[-1] = self._make(last.text + text, None)
        else:
            out.append(self._make(text, extra))


class ShownTrack:
    """A text that goes out as it comes, while it is looked at. What was sent cannot be unsaid; that it must be taken back
    can be told."""

    held = 0
    since = None

    def __init__(self, scanner: Scanner, verdicts: Verdicts) -> None:
        self._window = Window(scanner)
        self._verdicts = verdicts
        self.stopped: Span | None = None

    def push(self, event: TextEvent, now: int = 0) -> Out:
        if self._window.held + len(event.text) > MAX_HELD:
            raise Overheld
        return [event] if self._look(self._window.push(event.text)) else []

    def finish(self) -> Out:
        self._look(self._window.finish())
        return []

    def release(self) -> Out:
        return []

    def _look(self, pieces: Sequence[Piece]) -> bool:
        for piece in pieces:
            span = piece.span
            if span is not None and not self._verdicts.passes(span):
                self._verdicts.replacement(span, "", False)
                self.stopped = span
                return False
        return True


class CallTrack:
    """One tool call: its arguments, which are raw JSON, and its name. Held until they are whole, because what runs must be
    what was checked."""

    def __init__(self, scanner: Scanner, verdicts: Verdicts) -> None:
        self._scanner = scanner
        self._verdicts = verdicts
        self._events: list[ToolCall] = []
        self.held = 0
        self.since: int | None = None
        self.stopped: Span | None = None

    def push(self, event: ToolCall, now: int = 0) -> Out:
        self.held += len(event.arguments)
        if self.held > MAX_HELD:
            raise Overheld
        if self.since is None:
            self.since = now
        self._events.append(event)
        return []

    def release(self) -> Out:
        return list(self._events)

    def finish(self) -> Out:
        events, self._events, self.held = self._events, [], 0
        if not events:
            return []
        raw = "".join(event.arguments for event in events)
        named = "".join(event.name or "" for event in events)
        arguments = self._checked(raw, blanked(raw), True)
        name = self._checked(named, named, False) if arguments is not None and named else named
        if arguments is None or name is None:
            return []
        if arguments == raw and name == named:
            return list(events)
        first = events[0]
        return [ToolCall(first.call, arguments, first.id, name or first.name, first.choice)]

    def _checked(self, text: str, seen: str, as_json: bool) -> str | None:
        """`text` with what the spans of `seen` cover replaced; None where the check stops it."""
        out: list[str] = []
        at = 0
        for span in self._scanner.find(seen):
            if self._verdicts.passes(span):
                continue
            instead = self._verdicts.replacement(span, text[span.start : span.end], as_json)
            if instead is None:
                self.stopped = span
                return None
            out += [text[at : span.start], instead]
            at = span.end
        return "".join([*out, text[at:]]) if out else text
