"""Faults inside single events; and answers that are unusual but right, which tell a parser from a string search."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.faults import wire
from gateway.faults.fault import Fault, row
from gateway.faults.record import Received
from gateway.faults.steps import END, HEAD, Data, Head, Item, Reasoning, Text, Tool
from gateway.faults.table_stream import GREETING, START, Row, body, choices

ENORMOUS = 8 << 20  # characters
LABELLED = (("content-type", "application/octet-stream"),)


def event(value: object, end: bytes = b"\n\n", start: bytes = b"data: ") -> bytes:
    return start + wire.encode(value) + end


def delta(value: object) -> bytes:
    """An event with one choice and this delta."""
    return event({"id": "c", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": value}]})


def said(content: bytes) -> bytes:
    """An event whose content is these bytes, as they are, between the quotes."""
    return delta({"content": "@"}).replace(b"@", content)


STOP_DELTA = {
    "id": "c",
    "object": "chat.completion.chunk",
    "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}],
}
OVER = event(STOP_DELTA) + b"data: [DONE]\n\n"
HELLO = said(b"Hello")


def stream(*parts: bytes) -> Row:
    """A whole stream of raw bytes, one HTTP chunk for each part."""
    return (HEAD, *(Data(part) for part in parts), END)


def whole(content: bytes) -> Row:
    """A body whose content is this JSON value."""
    return choices(b'[{"index":0,"message":{"role":"assistant","content":' + content + b'},"finish_reason":"stop"}]')


def both(name: str, says: str, content: bytes) -> Fault:
    """A fault of the content's bytes, in an event and in a body."""
    return row(name, says, stream(said(content), OVER), whole(b'"' + content + b'"'))


def _enormous(asked: Received) -> Sequence[Item]:
    content = b"x" * ENORMOUS  # made when asked for: nobody else should pay for it
    return stream(HELLO, said(content), OVER) if asked.stream else whole(b'"' + content + b'"')


def sliced(content: bytes, size: int) -> Row:
    return stream(*(content[at : at + size] for at in range(0, len(content), size)))


DEEP = b"[" * 20_000 + b"]" * 20_000
OOPS: Row = (*START, b"data: {oops\n\n", *GREETING[2:])
NULL_MESSAGE = b'[{"index":0,"message":null}]'
BAD = (
    row(
        "bad-json",
        "an event that is no JSON; a body that is none",
        (*START, b"data: {oops\n\n", *GREETING[2:]),
        body(b"{oops"),
    ),
    both("bad-utf8", "bytes in the text that are no UTF-8", b"a\xff\xfeb"),
    both("lone-surrogate", "half of a surrogate pair, escaped", b"a\\ud83db"),
    both("nul", "an escaped NUL in the text", b"a\\u0000b"),
    row(
        "not-an-object",
        "events that are an array, a number and null",
        stream(b"data: [1]\n\n", event(7), event(None), OVER),
        body(b"[1]"),
    ),
    row("deep-json", "an event 20,000 arrays deep", stream(b"data: " + DEEP + b"\n\n", OVER), body(DEEP)),
    row("enormous-line", "one event of 8 MiB after an ordinary one", _enormous, _enormous),
    row("null-content", "content that is null", stream(delta({"content": None}), OVER), whole(b"null")),
    row("number-content", "content that is a number", stream(delta({"content": 7}), OVER), whole(b"7")),
    row(
        "null-delta",
        "a choice whose delta, or message, is null",
        stream(delta(None), OVER),
        choices(b'[{"index":0,"message":null}]'),
    ),
    row(
        "choices-object", "choices that are an object", stream(event({"choices": {"0": 1}}), OVER), choices(b'{"0":1}')
    ),
    row(
        "no-choices-key",
        "an event without the key choices",
        stream(event({"object": "x"}), OVER),
        body(b'{"object":"x"}'),
    ),
    row("wrong-content-type", "an ordinary answer called octet-stream", (Head(200, LABELLED), *GREETING)),
    row("no-content-type", "an ordinary answer without a Content-Type", (Head(200, ()), *GREETING)),
    row(
        "json-for-stream",
        "a body when a stream was asked for, and the reverse",
        whole(b'"Hello."'),
        stream(HELLO, OVER),
    ),
)

PLAIN = whole(b'"Hello"')
SMILE = said("Zoë 🙂 日本".encode())
SPREAD = event({**STOP_DELTA, "x": 1}).replace(b',"', b',\ndata: "')  # one event, its data on several lines
NOISE = b": comment\n\nevent: chunk\nretry: 10\nunknown: x\n"
WITH_ID = b"id: 7\n" + HELLO + b": comment\n\n" + OVER
CALLS: Row = (
    Tool(index=0, id="call_1", name="lookup"),
    Tool(index=1, id="call_2", name="weather"),
    Tool('{"name":', 0),
    Tool('{"city":"Bri', 1),
    Tool('"Jane"}', 0),
    Tool('stol"}', 1),
)
RIGHT = (
    row("sse-crlf", "right: lines end in CRLF", stream((HELLO + OVER).replace(b"\n", b"\r\n")), PLAIN),
    row("sse-cr", "right: lines end in CR", stream((HELLO + OVER).replace(b"\n", b"\r")), PLAIN),
    row("sse-no-space", "right: no space after the colon", stream((HELLO + OVER).replace(b"data: ", b"data:")), PLAIN),
    row("sse-bom", "right: a byte order mark first", stream(b"\xef\xbb\xbf" + HELLO, OVER), PLAIN),
    row("sse-noise", "right: comments and other fields around the data", stream(NOISE + HELLO, NOISE + OVER), PLAIN),
    row("sse-id", "right by the standard, though OpenAI's SDK stumbles: an id, then a comment", stream(WITH_ID), PLAIN),
    row("sse-multiline", "right: an event's data on several lines", stream(HELLO, SPREAD + b"data: [DONE]\n\n"), PLAIN),
    row("sse-sliced", "right: one byte in each HTTP chunk, characters split too", sliced(SMILE + OVER, 1), PLAIN),
    row("sse-joined", "right: all events in one HTTP chunk", stream(HELLO + HELLO + OVER), PLAIN),
    row("tool-calls", "right: two calls whose fragments alternate", CALLS),
    row(
        "reasoning", "right: reasoning before the text", (Reasoning("Let me"), Reasoning(" think."), Text("Hello"), "!")
    ),
)

EVENT_FAULTS: tuple[Fault, ...] = (*BAD, *RIGHT)
