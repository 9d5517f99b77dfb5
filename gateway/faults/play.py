"""Plays: what to answer, as items; and their lowering to wire steps for one request.

A play is written once and answers both kinds of request. Streamed, each chat item is one SSE event in one HTTP chunk, in
the order written, after an event with the role. Not streamed, the chat items are folded into one JSON body.

What a script leaves out is completed: after the last item come the finish reason, the usage if it was asked for,
``[DONE]`` and a proper end. A script that ends in End, Close, Reset, Hang or Forever, or that holds no chat item at all
(another protocol's raw bytes, say), is left as it is, save for a proper end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gateway.faults import wire
from gateway.faults.record import Received
from gateway.faults.steps import (
    DONE,
    END,
    HANG,
    USAGE,
    Chat,
    Close,
    Data,
    Done,
    End,
    Finish,
    Forever,
    Gate,
    Hang,
    Head,
    Item,
    Pause,
    Raw,
    Reasoning,
    Refusal,
    Reset,
    Slow,
    Terminal,
    Text,
    Tool,
    Usage,
    Value,
    Wire,
    headers,
)

Items = Sequence[Item] | Callable[[Received], Sequence[Item]]
#: What each closing item comes before.
CLOSING: dict[type, tuple[type, ...]] = {Finish: (Usage, Done), Usage: (Done,), Done: ()}
JSON = (("content-type", "application/json"),)


@dataclass(frozen=True, slots=True)
class Play:
    """``items`` for a streamed request; ``plain`` for one that is not (None: ``items`` folded into a JSON body);
    ``reused`` for any request on a connection that has carried one before (None: no difference).
    """

    items: Items
    plain: Items | None = None
    reused: Play | None = None


def answer(status: int, content: bytes | str | Mapping[str, Any], values: Mapping[str, Value] | None = None) -> Play:
    """A play that gives this one body to streamed and other requests alike. A mapping is sent as JSON."""
    body = (
        wire.encode(content)
        if isinstance(content, Mapping)
        else content.encode()
        if isinstance(content, str)
        else content
    )
    named = dict(values or {})
    if "content-type" not in named:
        named["content-type"] = "application/json"
    items = (Head(status, headers(named), "length"), Data(body), END)
    return Play(items, items)


def steps(play: Play, asked: Received) -> list[Wire]:
    """The wire steps with which ``play`` answers ``asked``."""
    if play.reused is not None and asked.nth > 1:
        return steps(play.reused, asked)
    given = play.items if asked.stream or play.plain is None else play.plain
    items = [_item(item) for item in (given(asked) if callable(given) else given)]
    if not asked.stream and play.plain is None:
        items = _folded(items, asked)
    return _measured(list(_wired(_completed(items), asked)))


def _item(item: Item) -> Wire | Chat:
    if isinstance(item, str):
        return Text(item)
    if isinstance(item, bytes):
        return Data(item)
    if isinstance(item, asyncio.Event):
        return Gate(item)
    if isinstance(item, Mapping):
        return Data(wire.event(item))
    return item


def _completed(items: list[Wire | Chat]) -> list[Wire | Chat]:
    if items and isinstance(items[-1], Terminal):
        return items
    kinds = {type(item) for item in items if isinstance(item, Chat)}
    if not kinds:
        return [*items, END]
    items = list(items)
    for kind, missing in ((Finish, Finish("tool_calls" if Tool in kinds else "stop")), (Usage, USAGE), (Done, DONE)):
        if kind not in kinds:
            after = CLOSING[kind]  # a finish reason goes before a usage that the script ends in, and so on
            at = next((at for at, item in enumerate(items) if isinstance(item, after)), len(items))
            items.insert(at, missing)
    return [*items, END]


def _wired(items: Iterable[Wire | Chat], asked: Received) -> Iterator[Wire]:
    """Chat items become data; the head and the role are put in where they are first needed."""
    headed = spoken = False
    for item in items:
        if isinstance(item, Head | Raw):
            headed = True
        elif not headed and isinstance(item, Chat | Data | End | Forever):
            headed = True
            yield Head()
        chat = item.item if isinstance(item, Forever) else item
        if not spoken and isinstance(chat, Text | Reasoning | Refusal | Tool):
            spoken = True
            if role := wire.role(asked):
                yield Data(role)
        if isinstance(item, Forever):
            yield Forever(Data(wire.chunk(asked, item.item))) if isinstance(item.item, Text) else item
        elif isinstance(item, Chat):
            if content := wire.chunk(asked, item):
                yield Data(content)
        else:
            yield item


def _folded(items: list[Wire | Chat], asked: Received) -> list[Wire | Chat]:
    """The same answer as one JSON body. All waiting comes before it; a break comes halfway through it."""
    chat = [item for item in items if isinstance(item, Chat)]
    if any(isinstance(item, Data | Raw) for item in items):
        told = wire.error(
            "this script has raw bytes or events: give it plain=... for requests without stream", "script"
        )
        return [Head(500, JSON, "length"), Data(wire.encode(told)), END]
    if chat and not any(isinstance(item, Finish) for item in chat) and any(isinstance(item, Tool) for item in chat):
        chat.append(Finish("tool_calls"))
    head = next((item for item in items if isinstance(item, Head)), Head())
    waits = [item for item in items if isinstance(item, Gate | Pause)]
    body = wire.body(asked, chat)
    last = items[-1] if items else END
    broken = isinstance(last, Close | Reset | Hang | Forever)
    head = replace(head, headers=JSON if head == Head() else head.headers, framing="length", declare=len(body))
    pace = [item for item in items if isinstance(item, Slow)]
    end: Wire = HANG if isinstance(last, Forever) else last if isinstance(last, Close | Reset | Hang) else END
    return [*waits, head, *pace, Data(body[: len(body) // 2] if broken else body), end]


def _measured(items: list[Wire]) -> list[Wire]:
    """Heads with a Content-Length get it from the data that follows."""
    total = sum(len(item.content) for item in items if isinstance(item, Data))
    return [
        replace(item, declare=total)
        if isinstance(item, Head) and item.framing == "length" and item.declare is None
        else item
        for item in items
    ]
