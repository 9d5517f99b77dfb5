"""A whole answer, as one neutral record, and the two ways between it and events.

`fold` makes the record from events (a reply that is not streamed, a cache entry); `unfold` makes events from the
record (a cached or canned answer). Law: `fold(unfold(r)) == r`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from gateway.core.events import (
    Blocked,
    ChoiceFinished,
    Event,
    Extra,
    Failed,
    Finished,
    Reasoning,
    Relayed,
    Started,
    Text,
    ToolCall,
    Unknown,
    Usage,
)


class CallRecord(msgspec.Struct):
    """One finished tool call."""

    id: str
    name: str
    arguments: str
    extra: Extra | None = None


class ChoiceRecord(msgspec.Struct):
    """One finished choice. `unknown` keeps deltas no codec understood, in order."""

    text: str | None = None
    reasoning: str | None = None
    calls: dict[int, CallRecord] = {}
    finish: str | None = None
    extra: Extra | None = None
    finish_extra: Extra | None = None
    unknown: list[Extra] = []


class Response(msgspec.Struct):
    """A whole answer. `complete` is true only when the upstream's terminal mark was seen and nothing failed."""

    id: str = ""
    model: str = ""
    created: int = 0
    choices: dict[int, ChoiceRecord] = {}
    usage: Usage | None = None
    extra: Extra | None = None
    complete: bool = False
    relayed: bytes | None = None
    """The upstream's own body, for operations whose answers are relayed and never made from events."""


def merge_extra(old: Extra | None, new: Extra | None) -> Extra | None:
    """Joins the unknown fields of a series of pieces: lists are concatenated (log-probabilities come so), objects
    merged, anything else replaced by the later value."""
    if not old:
        return dict(new) if new else None
    if not new:
        return old
    out = dict(old)
    for name, value in new.items():
        before = out.get(name)
        if isinstance(before, list) and isinstance(value, list):
            out[name] = before + value
        elif isinstance(before, dict) and isinstance(value, dict):
            out[name] = merge_extra(before, value) or {}
        elif value is not None or name not in out:
            out[name] = value
    return out


class Folder:
    """Folds events into a `Response`, a piece at a time. Strings are joined once, at the end."""

    def __init__(self) -> None:
        self._response = Response()
        self._text: dict[int, list[str]] = {}
        self._reasoning: dict[int, list[str]] = {}
        self._arguments: dict[tuple[int, int], list[str]] = {}
        self.failure: Exception | None = None
        self.blocked: Blocked | None = None

    def add(self, event: Event) -> None:
        match event:
            case Text():
                pieces = self._text.get(event.choice)
                if pieces is not None and not event.extra:  # as nearly always
                    pieces.append(event.text)
                    return
                self._text.setdefault(event.choice, []).append(event.text)
                self._keep(event.choice, event.extra)
            case Reasoning():
                self._reasoning.setdefault(event.choice, []).append(event.text)
                self._keep(event.choice, event.extra)
            case ToolCall():
                self._call(event)
            case Started():
                head = self._response
                head.id, head.model, head.created = event.id, event.model, event.created
                head.extra = merge_extra(head.extra, event.extra)
            case ChoiceFinished():
                choice = self._choice(event.choice)
                choice.finish = event.reason
                choice.finish_extra = merge_extra(choice.finish_extra, event.extra)
            case Usage():
                self._response.usage = event
            case Finished():
                self._response.complete = True
            case Relayed():
                self._response.relayed = event.body
            case Unknown():
                self._choice(event.choice).unknown.append(event.fields)
            case Failed():
                self.failure = event.error
            case Blocked():
                self.blocked = event

    def close(self) -> Response:
        """The record of everything added so far."""
        response = self._response
        for index, pieces in self._text.items():
            self._choice(index).text = "".join(pieces)
        for index, pieces in self._reasoning.items():
            self._choice(index).reasoning = "".join(pieces)
        for (index, call), pieces in self._arguments.items():
            self._choice(index).calls[call].arguments = "".join(pieces)
        if self.failure is not None or self.blocked is not None:
            response.complete = False
        return response

    def _choice(self, index: int) -> ChoiceRecord:
        return self._response.choices.setdefault(index, ChoiceRecord())

    def _keep(self, index: int, extra: Extra | None) -> None:
        choice = self._choice(index)
        if extra:
            choice.extra = merge_extra(choice.extra, extra)

    def _call(self, event: ToolCall) -> None:
        calls = self._choice(event.choice).calls
        record = calls.get(event.call)
        if record is None:
            record = calls[event.call] = CallRecord(id=event.id or "", name=event.name or "", arguments="")
        else:
            record.id = record.id or event.id or ""
            record.name = record.name or event.name or ""
        record.extra = merge_extra(record.extra, event.extra)
        self._arguments.setdefault((event.choice, event.call), []).append(event.arguments)


def fold(events: Iterable[Event]) -> Response:
    folder = Folder()
    for event in events:
        folder.add(event)
    return folder.close()


def unfold(response: Response) -> Iterator[Event]:
    """The events a stream of this answer would have carried, one piece of text to a choice."""
    yield Started(response.id, response.model, response.created, response.extra)
    for index, choice in sorted(response.choices.items()):
        if choice.reasoning is not None:
            yield Reasoning(choice.reasoning, index, choice.extra if choice.text is None else None)
        if choice.text is not None:
            yield Text(choice.text, index, choice.extra)
        for call, record in sorted(choice.calls.items()):
            yield ToolCall(call, record.arguments, record.id, record.name, index, record.extra)
        for fields in choice.unknown:
            yield Unknown(fields, index)
        if choice.finish is not None:
            yield ChoiceFinished(choice.finish, index, choice.finish_extra)
    if response.usage is not None:
        yield response.usage
    if response.relayed is not None:
        yield Relayed(response.relayed)
    if response.complete:
        yield Finished()


def said(text: str, *, id: str, model: str, created: int, finish: str = "stop") -> Response:
    """A whole answer that says `text`: for canned replies, clarifying questions and hand-overs."""
    return Response(
        id=id,
        model=model,
        created=created,
        choices={0: ChoiceRecord(text=text, finish=finish)},
        usage=Usage(),
        complete=True,
    )
