"""Faults of the connection, of HTTP and of the status: the same whether the request streams or not."""

from __future__ import annotations

import email.utils
import gzip
import time
from collections.abc import Mapping
from typing import Any

from gateway.faults import wire
from gateway.faults.fault import CUT, HANGS, Fault, Seen, row
from gateway.faults.play import JSON, Play, answer
from gateway.faults.steps import CLOSE, END, HANG, HEAD, RESET, Data, Head, Item, Pause, Raw, Value
from gateway.faults.table_events import HELLO, OVER
from gateway.faults.table_stream import GREETING, STOPPED

SECONDS = 2
HTML = "<html><head><title>502 Bad Gateway</title></head><body><center>nginx</center></body></html>"
FULL = b'{"id":"c","object":"chat.completion","created":1700000000,"model":"m","choices":' + STOPPED + b"}"
EVENTS = HELLO + OVER


def _date() -> str:
    return email.utils.formatdate(time.time() + SECONDS, usegmt=True)


def _wire_fault(name: str, says: str, seen: Seen, *items: Item) -> Fault:
    """The same wire items for both kinds of request."""
    return row(name, says, items, items, seen)


def _status(name: str, says: str, status: int, body: Mapping[str, Any] | str, **headers: Value) -> Fault:
    """One answer with a status for both kinds of request; an underscore in a header's name is a hyphen."""
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    return Fault(name, says, answer(status, body, named), Seen(status), Seen(status))


def _limited(name: str, says: str, **headers: Value) -> Fault:
    body = wire.error("Rate limit reached for requests", "requests", "rate_limit_exceeded")
    return _status(name, says, 429, body, **headers)


def _invalid(
    name: str, status: int, message: str, code: str | None = None, kind: str = "invalid_request_error"
) -> Fault:
    return _status(name, message, status, wire.error(message, kind, code))


PROMISE = Head(200, JSON, "length", len(FULL))
HINTS = Raw(b"HTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload\r\n\r\n")
FILLER = tuple((f"x-filler-{number}", "x" * 1000) for number in range(200))
ZIPPED = (("content-encoding", "gzip"),)
SSE = HEAD.headers
RESETS_NOW = Play((RESET,), (RESET,))
DIES = Play((CLOSE,), (CLOSE,))
CONNECTION = (
    _wire_fault("reset-before-headers", "RST as soon as the request is read", Seen(None, "reset"), RESET),
    _wire_fault("close-before-headers", "FIN as soon as the request is read", Seen(None, "cut"), CLOSE),
    _wire_fault("hang-before-headers", "reads the request and says nothing", Seen(None, "hangs"), HANG),
    row(
        "hang-after-headers",
        "the head and nothing more",
        (HEAD, HANG),
        (Head(200, JSON, "length", len(FULL)), HANG),
        HANGS,
    ),
    row("slow-headers", "an ordinary answer after 25 pauses", (Pause(25), *GREETING)),
    Fault("reused-dies", "closes when a connection is used a second time, before a byte", Play(GREETING, reused=DIES)),
    Fault(
        "reused-resets",
        "resets when a connection is used a second time",
        Play(GREETING, reused=RESETS_NOW),
    ),
)

PROTOCOL = (
    _wire_fault("not-http", "an SSH banner", Seen(None, "broken"), Raw(b"SSH-2.0-OpenSSH_9.6\r\n"), CLOSE),
    _wire_fault(
        "bad-status-line",
        "a status that is no number",
        Seen(None, "broken"),
        Raw(b"HTTP/1.1 two-hundred OK\r\ncontent-length: 0\r\n\r\n"),
        CLOSE,
    ),
    _wire_fault(
        "bad-chunk-size",
        "a chunk whose size is no number, after one good chunk",
        Seen(200, "broken"),
        Raw(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"),
        Raw(b"a\r\ndata: {}\n\n\r\nzz\r\n"),
        Pause(),
        CLOSE,
    ),
    _wire_fault(
        "short-body",
        "a Content-Length of 100 bytes more than come",
        CUT,
        Head(200, JSON, "length", len(FULL) + 100),
        Data(FULL),
        CLOSE,
    ),
    row(
        "huge-headers",
        "200 headers of 1,000 bytes before an ordinary answer",
        (Head(200, (*SSE, *FILLER)), *GREETING),
        (Head(200, (*JSON, *FILLER), "length"), Data(FULL), END),
    ),
    row(
        "early-hints",
        "a 103 before the ordinary answer",
        (HINTS, HEAD, *GREETING),
        (HINTS, Head(200, JSON, "length"), Data(FULL), END),
        Seen(103),
    ),
    row(
        "until-close",
        "an ordinary answer of no stated length, ended by closing",
        (Head(200, SSE, "close"), *GREETING),
        (Head(200, JSON, "close"), Data(FULL), END),
    ),
    row(
        "gzip",
        "an ordinary answer, gzip-encoded though nobody asked",
        (Head(200, (*SSE, *ZIPPED)), Data(gzip.compress(EVENTS, mtime=0)), END),
        (Head(200, (*JSON, *ZIPPED), "length"), Data(gzip.compress(FULL, mtime=0)), END),
    ),
    _status("redirect", "a 307 to another host", 307, "", location="http://127.0.0.1:9/v1/chat/completions"),
    _status("html-200", "an HTML page with status 200", 200, HTML, content_type="text/html"),
    _status("not-json", "status 200 and application/json, but the body is cut", 200, FULL.decode()[:-20]),
    _status("empty-body", "status 200, Content-Length 0", 200, ""),
    _status("error-200", "an error object with status 200", 200, wire.error("The engine is down", "server_error")),
)

STATUS = (
    _limited("429-seconds", "429, Retry-After: 2", retry_after=str(SECONDS)),
    _limited("429-date", "429, Retry-After an HTTP date two seconds from now", retry_after=_date),
    _limited("429-ms", "429, retry-after-ms: 150", retry_after_ms="150"),
    _limited("429-both", "429, retry-after-ms: 150 beside Retry-After: 30", retry_after_ms="150", retry_after="30"),
    _limited("429-none", "429 without any Retry-After"),
    _limited("429-day", "429, Retry-After: 86400", retry_after="86400"),
    _limited("429-garbage", "429, Retry-After: soon", retry_after="soon"),
    _limited("429-negative", "429, Retry-After: -5", retry_after="-5"),
    _limited("429-no-retry", "429, x-should-retry: false", retry_after="1", x_should_retry="false"),
    _invalid("429-quota", 429, "You exceeded your current quota", "insufficient_quota", "insufficient_quota"),
    _status("500", "500 with an error object", 500, wire.error("The server had an error", "server_error")),
    _status("500-empty", "500 with no body", 500, ""),
    _status("502-html", "502 with nginx's page", 502, HTML, content_type="text/html"),
    _status("503", "503, Retry-After: 1", 503, wire.error("Overloaded", "server_error"), retry_after="1"),
    _status("504", "504 with plain text", 504, "upstream timed out", content_type="text/plain"),
    _status("529", "Anthropic's overloaded status", 529, wire.error("Overloaded", "overloaded_error")),
    _status("599", "a status nobody has heard of", 599, ""),
    _invalid("400", 400, "Invalid value for 'temperature'"),
    _invalid("400-context", 400, "This model's maximum context length is 8192 tokens", "context_length_exceeded"),
    _invalid("400-filter", 400, "The prompt triggered the content management policy", "content_filter"),
    _invalid("401", 401, "Incorrect API key provided: sk-PLANTED-SECRET", "invalid_api_key", "authentication_error"),
    _invalid("403", 403, "You are not allowed to use this model", None, "permission_error"),
    _invalid("404", 404, "The model does not exist", "model_not_found"),
    _invalid("408", 408, "Request timeout"),
    _invalid("409", 409, "Conflict"),
    _invalid("413", 413, "Request too large"),
    _status("error-strings", "400 whose error is a string", 400, {"error": "model is required"}),
    _status("error-long", "500 with a megabyte of message", 500, wire.error("x" * (1 << 20), "server_error")),
)

HTTP_FAULTS: tuple[Fault, ...] = (*CONNECTION, *PROTOCOL, *STATUS)
