"""What a client of the gateway is told for every named fault of the upstream, whole and streamed.

The one place where this is decided. It is the same in every client dialect, and the same with another target at hand, save that a `Told` whose fault lets another target try is answered by that one instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Says:
    """A whole answer: its text, and why it ended, in OpenAI's words."""

    text: str
    finish: str = "stop"


@dataclass(frozen=True)
class Told:
    """An error and nothing else, with its status: nothing of an answer had been sent."""

    fault: str


@dataclass(frozen=True)
class Breaks:
    """Status 200, some text, then the error in the stream, and nothing that looks like an end. `more`: of the text, only
    the beginning is certain."""

    text: str
    fault: str
    more: bool = False


Ending = Says | Told | Breaks
Delivery = Literal["whole", "streamed"]


@dataclass(frozen=True)
class Outcome:
    whole: Ending
    streamed: Ending


def both(ending: Ending) -> Outcome:
    return Outcome(ending, ending)


GREETING = Says("Hello from the upstream.")
FAILED, LATE, CUT = Told("upstream_failed"), Told("upstream_timeout"), Told("stream_cut")
LIMITED, REFUSED_US = Told("upstream_limited"), Told("upstream_refused_us")
REJECTED = Told("upstream_rejected")
GREETS, FAILS = both(GREETING), both(FAILED)
MIDWAY = "Hello from"
BREAKS_OFF = Outcome(FAILED, Breaks(MIDWAY, "stream_cut"))
ERRS_MIDWAY = Outcome(FAILED, Breaks(MIDWAY, "upstream_failed"))
HELLO = Says("Hello")
SHORT_BODY = Outcome(HELLO, GREETING)

CONNECTION = {
    "reset-before-headers": FAILS,
    "close-before-headers": FAILS,
    "hang-before-headers": both(LATE),
    "hang-after-headers": both(LATE),
    "slow-headers": GREETS,
    "reused-dies": GREETS,  # tried once more on a fresh connection; the client sees nothing of it
    "reused-resets": GREETS,
}

PROTOCOL = {
    "not-http": FAILS,
    "bad-status-line": FAILS,
    "bad-chunk-size": FAILS,
    "short-body": Outcome(FAILED, CUT),
    "huge-headers": FAILS,  # beyond what the HTTP client reads of a head
    "early-hints": SHORT_BODY,
    "until-close": SHORT_BODY,
    "gzip": both(HELLO),
    "redirect": FAILS,
    "html-200": FAILS,
    "not-json": FAILS,
    "empty-body": Outcome(FAILED, CUT),
    "error-200": FAILS,
}

STATUS = {
    **dict.fromkeys(
        (
            "429-seconds", "429-date", "429-ms", "429-both", "429-none", "429-day", "429-garbage", "429-negative",
            "429-no-retry", "429-quota", "408",
        ),
        both(LIMITED),
    ),
    **dict.fromkeys(("500", "500-empty", "502-html", "503", "504", "529", "599", "409", "error-long"), FAILS),
    **dict.fromkeys(("400", "404", "413", "error-strings"), both(REJECTED)),
    "400-filter": both(Told("content_refused")),
    "400-context": both(Told("context_overflow")),
    "401": both(REFUSED_US),
    "403": both(REFUSED_US),
}  # fmt: skip

BROKEN = {
    "close-midway": BREAKS_OFF,
    "reset-midway": BREAKS_OFF,
    "hang-midway": Outcome(LATE, Breaks(MIDWAY, "upstream_timeout")),
    "half-event": BREAKS_OFF,
    "half-event-clean": BREAKS_OFF,
    "no-terminal-event": Outcome(Says(MIDWAY), Breaks(MIDWAY, "stream_cut")),  # a whole body needs no terminal event
    "no-done": GREETS,  # the finish reason says as much
    "no-finish": GREETS,
    "only-done": Outcome(FAILED, CUT),
    "empty-stream": Outcome(FAILED, CUT),
    "tool-cut": both(Says("", "length")),
}

SLOW = {
    "trickle": GREETS,
    "slow-first-event": GREETS,
    "slow-middle": GREETS,
    "slow-end": GREETS,
    "endless": Outcome(LATE, Breaks("on and on ", "upstream_timeout", more=True)),
    "only-comments": both(LATE),  # bytes keep coming and no content does
}

USAGES = {
    "duplicate-usage": GREETS,
    "usage-unasked": GREETS,
    "usage-in-finish": GREETS,
    "usage-absent": SHORT_BODY,
    "usage-odd": SHORT_BODY,
}

ORDER = {
    "empty-choices": Outcome(FAILED, GREETING),
    "finish-twice": Outcome(Says(GREETING.text, "length"), GREETING),  # the first to be told is the one that counts
    "text-after-finish": both(Says("Hello from the upstream. And more.")),
    "text-after-done": Outcome(Says("Hello from the upstream. And more."), GREETING),
    "error-first": FAILS,
    "error-midway": ERRS_MIDWAY,
    "error-then-done": ERRS_MIDWAY,
    "refuse-stream-midway": both(Says(MIDWAY, "content_filter")),
    "refusal": both(Says("I cannot help with that.")),
    "length": both(Says(MIDWAY, "length")),
}

EVENTS = {
    "bad-json": ERRS_MIDWAY,
    "bad-utf8": FAILS,
    "lone-surrogate": both(Says("a\ufffdb")),
    "nul": both(Says("a\x00b")),
    "not-an-object": FAILS,
    "deep-json": FAILS,
    "enormous-line": Outcome(Says("x" * (8 << 20)), Breaks("Hello", "upstream_failed")),
    "null-content": both(Says("")),
    "number-content": FAILS,
    "null-delta": Outcome(FAILED, Says("")),
    "choices-object": FAILS,
    "no-choices-key": Outcome(FAILED, Says("")),
    "wrong-content-type": FAILS,
    "no-content-type": GREETS,
    "json-for-stream": Outcome(FAILED, Says("Hello.")),
}

RIGHT = {
    **dict.fromkeys(
        ("sse-crlf", "sse-cr", "sse-no-space", "sse-bom", "sse-noise", "sse-id", "sse-multiline"), both(HELLO)
    ),
    "sse-sliced": Outcome(HELLO, Says("Zoë 🙂 日本")),
    "sse-joined": Outcome(HELLO, Says("HelloHello")),
    "tool-calls": both(Says("", "tool_calls")),
    "reasoning": both(Says("Hello!")),
}

OUTCOMES: dict[str, Outcome] = {
    **CONNECTION, **PROTOCOL, **STATUS, **BROKEN, **SLOW, **USAGES, **ORDER, **EVENTS, **RIGHT
}  # fmt: skip
