"""A very fast mock of an OpenAI server, so that what is measured is the gateway in front of it.

One asyncio protocol with a hand-written HTTP/1.1 parser; every byte that can be made beforehand is. It understands
just what gateways send: keep-alive, Content-Length or chunked bodies, pipelining not at all. It is also the bench's
OTLP sink (``POST /v1/traces``), and ``GET /stats`` says what arrived, by which the bench proves that no answer came
from a cache and that tracing was really on.

    python -m bench.upstream --port 9000
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import signal
from functools import lru_cache
from typing import Any, cast

from bench.otlp import SERVER, spans
from bench.script import MARKER, MODEL, answer_text, piece

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,9})", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection:[ \t]*close", re.IGNORECASE)
_STREAM = re.compile(rb'"stream"\s*:\s*true')
_USAGE = re.compile(rb'"include_usage"\s*:\s*true')
_MAX_BODY = 16 * 1024 * 1024
_BASE = {"id": "chatcmpl-bench", "created": 1700000000, "model": MODEL}
_DONE = b"data: [DONE]\n\n"


def _reply(body: bytes, kind: str = "application/json", status: str = "200 OK") -> bytes:
    head = f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
    b"cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n"
)
_MODELS = _reply(
    json.dumps({"object": "list", "data": [{"id": MODEL, "object": "model", "owned_by": "bench"}]}).encode()
)
_HEALTH = _reply(b'{"status":"ok"}')
_OTLP = _reply(b"", "application/x-protobuf")
_BAD = _reply(
    b'{"error":{"message":"no marker in the prompt","type":"invalid_request_error"}}', status="400 Bad Request"
)
_NOT_FOUND = _reply(b'{"error":{"message":"no such path","type":"invalid_request_error"}}', status="404 Not Found")


@lru_cache(maxsize=64)
def _whole(chunks: int) -> tuple[bytes, bytes]:
    """Head and body of a non-streamed answer around the nonce; nonces are all of one length within a run."""
    usage = {"prompt_tokens": 250, "completion_tokens": chunks, "total_tokens": 250 + chunks}
    message = {"role": "assistant", "content": answer_text("@@", chunks)}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    body = {**_BASE, "object": "chat.completion", "choices": [choice], "usage": usage}
    before, after = json.dumps(body, separators=(",", ":")).encode().split(b"@@")
    return before, after


def _http_chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def _frame(delta: dict[str, str], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    body = {**_BASE, "object": "chat.completion.chunk", "choices": [choice]}
    return b"data: " + json.dumps(body, separators=(",", ":")).encode() + b"\n\n"


@lru_cache(maxsize=64)
def _frames(chunks: int, usage: bool) -> tuple[bytes, ...]:
    """All HTTP chunks of a stream but the first two (role, nonce), ready to send."""
    frames = [_http_chunk(_frame({"content": piece(i)})) for i in range(1, chunks)]
    frames.append(_http_chunk(_frame({}, "stop")))
    if usage:
        counts = {"prompt_tokens": 250, "completion_tokens": chunks, "total_tokens": 250 + chunks}
        body = {**_BASE, "object": "chat.completion.chunk", "choices": [], "usage": counts}
        frames.append(_http_chunk(b"data: " + json.dumps(body, separators=(",", ":")).encode() + b"\n\n"))
    frames.append(_http_chunk(_DONE) + b"0\r\n\r\n")
    return tuple(frames)


class Seen:
    """What has arrived so far. Each subject exports its traces to a base URL of its own (``/NAME``) to tell them apart.

    Exports are only kept as they come, and read when `totals` is asked for: reading them takes milliseconds, which would
    otherwise show in the latency of the very subject that sends traces.
    """

    def __init__(self) -> None:
        self.counts = dict.fromkeys(("requests", "streams", "streams_cut", "bad"), 0)
        self.exports: list[tuple[str, bytes]] = []

    def totals(self) -> dict[str, int]:
        """Counts by kind of call, and `traces NAME` for each sender: its spans of kind SERVER."""
        for sender, export in self.exports:
            served = sum(span.kind == SERVER for span in spans(export))
            self.counts[f"traces {sender}"] = self.counts.get(f"traces {sender}", 0) + served
        self.exports.clear()
        return self.counts


class Upstream(asyncio.Protocol):
    """One connection; `seen` is shared by all of them."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen
        self._counts = seen.counts
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast, not an assert: uvloop's transports are not registered as asyncio.Transport.
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while self._transport is not None:
            head_end = self._buffer.find(b"\r\n\r\n")
            if head_end < 0:
                break
            head = bytes(self._buffer[: head_end + 2])
            body, end = self._body(head, head_end + 4)
            if body is None:
                break
            del self._buffer[:end]
            self._answer(head, body)
        if len(self._buffer) > _MAX_BODY and self._transport is not None:
            self._transport.abort()

    def _body(self, head: bytes, start: int) -> tuple[bytes | None, int]:
        """The request's body and where it ends, or ``(None, 0)`` while some of it is missing."""
        if _CHUNKED.search(head):
            return _dechunk(self._buffer, start)
        found = _LENGTH.search(head)
        end = start + (int(found[1]) if found else 0)
        return (bytes(self._buffer[start:end]), end) if len(self._buffer) >= end else (None, 0)

    def _answer(self, head: bytes, body: bytes) -> None:
        assert self._transport is not None
        method, path = head.split(b" ", 2)[:2]
        if method == b"POST" and path.endswith(b"/chat/completions"):
            self._chat(body)
        elif method == b"POST" and path.endswith(b"/v1/traces"):
            sender = path.removesuffix(b"/v1/traces").decode("latin-1").strip("/")
            self._seen.exports.append((sender, body))
            self._transport.write(_OTLP)
        elif path.endswith(b"/models"):
            self._transport.write(_MODELS)
        elif path == b"/stats":
            self._transport.write(_reply(json.dumps(self._seen.totals()).encode()))
        else:
            self._transport.write(_HEALTH if path == b"/health" else _NOT_FOUND)
        if _CLOSE.search(head) and not _STREAM.search(body):
            self._transport.close()

    def _chat(self, body: bytes) -> None:
        assert self._transport is not None
        marker = MARKER.search(body)
        if marker is None:
            self._counts["bad"] += 1
            self._transport.write(_BAD)
            return
        nonce, chunks, gap = marker[1], int(marker[2]), int(marker[3])
        if not _STREAM.search(body):
            self._counts["requests"] += 1
            before, after = _whole(chunks)
            self._transport.write(_reply(before + nonce + after))
            return
        self._counts["streams"] += 1
        first = _http_chunk(_frame({"role": "assistant", "content": ""}))
        self._transport.write(_STREAM_HEAD + first + _http_chunk(_frame({"content": nonce.decode()})))
        self._next(_frames(chunks, _USAGE.search(body) is not None), 0, gap / 1000)

    def _next(self, frames: tuple[bytes, ...], index: int, gap: float) -> None:
        """Write one frame in each turn of the loop, or each `gap` seconds: tokens come one by one, as models send them."""
        if self._transport is None or self._transport.is_closing():
            self._counts["streams_cut"] += 1
            return
        if index:
            self._transport.write(frames[index - 1])
        if index == len(frames):
            return
        loop = asyncio.get_running_loop()
        if gap:
            loop.call_later(gap, self._next, frames, index + 1, gap)
        else:
            loop.call_soon(self._next, frames, index + 1, gap)


def _dechunk(buffer: bytearray, at: int) -> tuple[bytes | None, int]:
    body = bytearray()
    while True:
        line_end = buffer.find(b"\r\n", at)
        if line_end < 0:
            return None, 0
        size = int(buffer[at:line_end].split(b";")[0], 16)
        at = line_end + 2
        if len(buffer) < at + size + 2:
            return None, 0
        if size == 0:
            return bytes(body), at + 2
        body += buffer[at : at + size]
        at += size + 2


async def serve(port: int) -> None:
    """Serve on 127.0.0.1:`port` until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    seen = Seen()
    server = await loop.create_server(lambda: Upstream(seen), "127.0.0.1", port, backlog=1024)
    await stop.wait()
    server.close()


def run(coroutine: Any) -> Any:
    """``asyncio.run`` on uvloop where it is installed: the bench's own cost shares a core with nothing measured."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(coroutine)
    return uvloop.run(coroutine)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    run(serve(parser.parse_args().port))
