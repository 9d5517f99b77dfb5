"""Faults of the course of an answer: what breaks off, is late, is missing, comes twice or in the wrong place."""

from __future__ import annotations

from gateway.faults import wire
from gateway.faults.fault import CUT, HANGS, RESETS, Fault, row
from gateway.faults.play import JSON, Play
from gateway.faults.steps import (
    CLOSE,
    DONE,
    END,
    HANG,
    HEAD,
    RESET,
    STOP,
    Data,
    Finish,
    Forever,
    Head,
    Item,
    Pause,
    Refusal,
    Slow,
    Text,
    Tool,
    Usage,
)

Row = tuple[Item, ...]

GREETING: Row = ("Hello", " from", " the", " upstream", ".")
OK = Play(GREETING)
START: Row = ("Hello", " from")
READ = Pause(3)  # before a break, so that a reader has read what came and the break is what it meets next
HALF = b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"choices":[{"index":0,"del'
TOOL_CUT: Row = (Tool(id="call_1", name="lookup"), Tool('{"name": "Ja'), Finish("length"))
ERROR = wire.error("The server had an error while processing your request", "server_error")
FIRST_USAGE, OTHER_USAGE = Usage(prompt=500, completion=90, unasked=True), Usage(unasked=True)
ODD_COUNTS = {"prompt_tokens": None, "completion_tokens": -4, "total_tokens": "many"}
ODD_USAGE: Item = {"choices": [], "usage": ODD_COUNTS}
NO_CHOICES: Item = {"id": "c", "object": "chat.completion.chunk", "choices": []}
HOLES: Row = (NO_CHOICES, *START, NO_CHOICES, *GREETING[2:])
STOPPED = b'[{"index":0,"message":{"role":"assistant","content":"Hello"},"finish_reason":"stop"}]'


def body(content: bytes) -> Row:
    """The wire items of a 200 with this JSON, or not quite JSON, as its body."""
    return (Head(200, JSON, "length"), Data(content), END)


def choices(content: bytes) -> Row:
    """The same, with a completion whose ``choices`` are these bytes."""
    return body(b'{"id":"c","object":"chat.completion","created":1,"model":"m","choices":' + content + b"}")


ERROR_BODY = body(wire.encode(ERROR))
ODD_BODY = body(b'{"choices":' + STOPPED + b',"usage":' + wire.encode(ODD_COUNTS) + b"}")

BROKEN = (
    row("close-midway", "FIN after two events; halfway through the body", (*START, READ, CLOSE), seen=CUT),
    row("reset-midway", "RST after two events; halfway through the body", (*START, READ, RESET), seen=RESETS),
    row("hang-midway", "silence after two events; halfway through the body", (*START, HANG), seen=HANGS),
    row("half-event", "FIN in the middle of an event", (*START, HALF, READ, CLOSE), (HEAD, HALF, CLOSE), CUT),
    row("half-event-clean", "a proper end in the middle of an event", (*START, HALF, END), body(HALF[6:])),
    row("no-terminal-event", "a proper end after text: no finish reason, no [DONE]", (*START, END)),
    row("no-done", "a finish reason and a proper end, but no [DONE]", (*GREETING, STOP, END)),
    row("no-finish", "[DONE] without a finish reason", (*GREETING, DONE, END)),
    row("only-done", "nothing but [DONE]; no choices in the body", (DONE, END), choices(b"[]")),
    row("empty-stream", "status 200 and not one event; an empty body", (HEAD, END), body(b"")),
    row("tool-cut", "tool arguments that stop in the middle, reason length", TOOL_CUT),
)

SLOW = (
    row("trickle", "an ordinary answer, 32 bytes at a time, a pause before each", (HEAD, Slow(32), *GREETING)),
    row("slow-first-event", "the head at once, the first event after 25 pauses", (HEAD, Pause(25), *GREETING)),
    row("slow-middle", "25 pauses between two events", (*START, Pause(25), *GREETING[2:])),
    row("slow-end", "25 pauses before the finish reason", (*GREETING, Pause(25))),
    row("endless", "text for ever, a pause apart; half a body", (Forever(Text("on and on ")),), seen=HANGS),
    row("only-comments", "comments for ever; half a body", (Forever(Data(b": ping\n\n")),), seen=HANGS),
)

USAGES = (
    row(
        "duplicate-usage", "two usage events that differ, asked for or not", (*GREETING, STOP, FIRST_USAGE, OTHER_USAGE)
    ),
    row("usage-unasked", "a usage event that was not asked for", (*GREETING, STOP, Usage(unasked=True))),
    row("usage-in-finish", "usage inside the finish event", (*GREETING, Finish(usage=Usage()), DONE, END)),
    row("usage-absent", "no usage, asked for or not", (*GREETING, STOP, DONE, END), choices(STOPPED)),
    row(
        "usage-odd",
        "usage of null, a negative and a string",
        (*GREETING, STOP, ODD_USAGE, DONE, END),
        ODD_BODY,
    ),
)

ORDER = (
    row(
        "empty-choices",
        "events without choices among the others",
        (NO_CHOICES, *START, NO_CHOICES, *GREETING[2:]),
        choices(b"[]"),
    ),
    row("finish-twice", "two finish reasons that differ", (*GREETING, STOP, Finish("length"))),
    row("text-after-finish", "more text after the finish reason", (*GREETING, STOP, " And more.", DONE, END)),
    row("text-after-done", "more text after [DONE]", (*GREETING, STOP, DONE, " And more.", END)),
    row("error-first", "an error object as the only event of a 200", (ERROR, END), ERROR_BODY),
    row("error-midway", "an error object after two events, then a proper end", (*START, ERROR, END), ERROR_BODY),
    row("error-then-done", "an error object after two events, then [DONE]", (*START, ERROR, DONE, END), ERROR_BODY),
    row("refuse-stream-midway", "text, then the reason content_filter", (*START, Finish("content_filter"))),
    row("refusal", "the model refuses, in the refusal field", (Refusal("I cannot"), Refusal(" help with that."))),
    row("length", "text that ends with the reason length", (*START, Finish("length"))),
)

STREAM_FAULTS: tuple[Fault, ...] = (*BROKEN, *SLOW, *USAGES, *ORDER)
