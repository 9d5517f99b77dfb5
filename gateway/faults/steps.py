"""What an upstream can be told to do: the vocabulary of faults and of scripted answers.

A play is a sequence of items. Wire items touch the socket and know nothing of chat; chat items become one SSE event each
(or, when the request did not ask for a stream, parts of one JSON body). Plain Python values stand for the common ones:
``str`` is ``Text``, ``dict`` is one event with that JSON, ``bytes`` is ``Data``, ``asyncio.Event`` is ``Gate``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Framing = Literal["chunked", "length", "close"]
Value = (
    str | Callable[[], str]
)  # a header's value; called when it must be made at the moment of sending, as a date must


# --- wire items --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Head:
    """Status line and headers. Without one, the first item that has something to send sends the usual head.

    ``length``: the body that follows is one ``Data``. ``declare``: the Content-Length to claim instead of the true one.
    """

    status: int = 200
    headers: tuple[tuple[str, Value], ...] = (("content-type", "text/event-stream; charset=utf-8"),)
    framing: Framing = "chunked"
    declare: int | None = None


@dataclass(frozen=True, slots=True)
class Data:
    """Body bytes, as one HTTP chunk where the framing is chunked."""

    content: bytes


@dataclass(frozen=True, slots=True)
class Raw:
    """Bytes put on the socket as they are, headers and framing included."""

    content: bytes


@dataclass(frozen=True, slots=True)
class Slow:
    """From here on, send ``size`` bytes at a time with a pause before each."""

    size: int


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait ``times`` the server's ``pause``."""

    times: float = 1


@dataclass(frozen=True, slots=True)
class Gate:
    """Wait until the test sets the event."""

    event: asyncio.Event


@dataclass(frozen=True, slots=True)
class Forever:
    """Send ``item`` again and again, with a pause between, until the client leaves or the server's limit is over."""

    item: Text | Data


@dataclass(frozen=True, slots=True)
class End:
    """End the body properly; the connection can be used again."""


@dataclass(frozen=True, slots=True)
class Close:
    """Close the connection (FIN) wherever the answer stands."""


@dataclass(frozen=True, slots=True)
class Reset:
    """Reset the connection (RST) wherever the answer stands."""


@dataclass(frozen=True, slots=True)
class Hang:
    """Send nothing more and keep the connection open until the client leaves or the server's limit is over."""


# --- chat items --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Text:
    """A delta of content."""

    text: str


@dataclass(frozen=True, slots=True)
class Reasoning:
    """A delta of ``reasoning_content``, as DeepSeek, vLLM and llama.cpp spell it."""

    text: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """A delta of ``refusal``."""

    text: str


@dataclass(frozen=True, slots=True)
class Tool:
    """A fragment of a tool call. The first of an ``index`` has ``id`` and ``name``; later ones only ``arguments``."""

    arguments: str = ""
    index: int = 0
    id: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Finish:
    """The finish reason; with ``usage``, in the same event, as some servers do."""

    reason: str = "stop"
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """The usage event. Streamed only if the request asked (``stream_options.include_usage``), unless ``unasked``."""

    prompt: int = 11
    completion: int = 7
    cached: int = 0
    unasked: bool = False


@dataclass(frozen=True, slots=True)
class Done:
    """``data: [DONE]``."""


Terminal = End | Close | Reset | Hang | Forever
Wire = Head | Data | Raw | Slow | Pause | Gate | Terminal
Chat = Text | Reasoning | Refusal | Tool | Finish | Usage | Done
Item: TypeAlias = Wire | Chat | str | bytes | asyncio.Event | Mapping[str, Any]

HEAD, END, CLOSE, RESET, HANG, DONE = Head(), End(), Close(), Reset(), Hang(), Done()
STOP, USAGE = Finish("stop"), Usage()


def headers(values: Mapping[str, Value]) -> tuple[tuple[str, Value], ...]:
    """A mapping as the pairs that ``Head`` takes."""
    return tuple(values.items())
