"""The table of faults: each does on a raw socket what its row says."""

from __future__ import annotations

import asyncio
import email.utils
import gzip
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import openai
import pytest

import gateway.faults
from gateway.faults import FAULTS, FaultServer, listing
from gateway.faults.fault import Ends


@dataclass
class Look:
    """What a raw socket saw of one answer."""

    status: int | None = None
    ends: Ends = "hangs"
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    chunks: list[bytes] = field(default_factory=list)


class NotHttp(Exception):
    pass


def parsed(raw: bytes, look: Look) -> bool:
    """Read as much of an answer as there is into ``look``; whether it is complete. Raises NotHttp."""
    head, blank, rest = raw.partition(b"\r\n\r\n")
    first = head.split(b"\r\n")[0].split(b" ")
    if raw and not raw.startswith(b"HTTP/1.1 "):
        raise NotHttp
    if not blank:
        return False
    if not first[1].isdigit():
        raise NotHttp
    look.status = look.status or int(first[1])
    if first[1].startswith(b"1"):
        return parsed(rest, look)
    pairs = (line.decode().partition(": ") for line in head.split(b"\r\n")[1:])
    look.headers = {name.lower(): value for name, _, value in pairs}
    if "content-length" in look.headers:
        look.body = rest
        return len(rest) == int(look.headers["content-length"])
    if look.headers.get("transfer-encoding") != "chunked":
        look.body = rest
        return False
    look.chunks = []
    while rest:
        size, line, rest = rest.partition(b"\r\n")
        try:
            length = int(size, 16)
        except ValueError:
            raise NotHttp from None
        if not line or len(rest) < length + 2:
            break
        if length == 0:
            look.body = b"".join(look.chunks)
            return True
        look.chunks.append(rest[:length])
        rest = rest[length + 2 :]
    look.body = b"".join(look.chunks)
    return False


def request(model: str, stream: bool, **more: object) -> bytes:
    fields = {"model": model, "messages": [{"role": "user", "content": "Hi"}], "stream": stream, **more}
    body = json.dumps(fields).encode()
    head = "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer sk-test\r\n"
    return f"{head}content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


async def watch(reader: asyncio.StreamReader, patience: float) -> Look:
    """Read one answer until it ends, or ``patience`` seconds are over."""
    look, raw = Look(), b""
    try:
        async with asyncio.timeout(patience):
            while True:
                piece = await reader.read(1 << 20)
                raw += piece
                if parsed(raw, look):
                    look.ends = "clean"
                    return look
                if not piece:
                    whole = look.status and not {"content-length", "transfer-encoding"} & look.headers.keys()
                    look.ends = "clean" if whole else "cut"
                    return look
    except TimeoutError:
        look.ends = "hangs"
    except ConnectionResetError:
        look.ends = "reset"
    except NotHttp:
        look.ends = "broken"
    return look


async def see(server: FaultServer, model: str, stream: bool, patience: float = 10, **more: object) -> Look:
    reader, writer = await asyncio.open_connection(server.host, server.port, limit=1 << 24)
    writer.write(request(model, stream, **more))
    look = await watch(reader, patience)
    writer.close()
    return look


def events(look: Look) -> list[str]:
    return [line[6:] for line in look.body.decode().split("\n") if line.startswith("data: ")]


@pytest.fixture
async def server() -> AsyncIterator[FaultServer]:
    async with FaultServer(pause=0.002) as server:
        yield server


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "plain"])
@pytest.mark.parametrize("name", FAULTS)
async def test_a_fault_is_seen_as_its_row_says(name: str, stream: bool, server: FaultServer) -> None:
    """On a raw socket each fault has the status and the end that the table states, and the server's record agrees."""
    fault = FAULTS[name]
    stated = fault.seen if stream else fault.plain_seen
    look = await see(server, f"fault:{name}", stream, patience=0.3 if stated.ends == "hangs" else 10)
    assert (look.status, look.ends) == (stated.status, stated.ends)
    expected = {"clean": {"finished"}, "hangs": {"left"}, "broken": {"cut", "left"}}.get(stated.ends, {"cut"})
    assert await server.requests[0].ended() in expected
    await server.idle()


@pytest.mark.parametrize("name", FAULTS)
async def test_a_row_says_something_of_its_own(name: str) -> None:
    """Every row has words, and no two rows have the same."""
    fault = FAULTS[name]
    assert fault.says
    assert [other.name for other in FAULTS.values() if other.says == fault.says] == [name]


def test_the_docstring_holds_the_table() -> None:
    """The package's documentation lists every fault, so there is one table and not two."""
    assert gateway.faults.__doc__ is not None
    assert listing() in gateway.faults.__doc__
    assert all(f"\n{name} " in gateway.faults.__doc__ for name in FAULTS)


@pytest.mark.parametrize("kind", ["dies", "resets"])
@pytest.mark.parametrize("stream", [True, False])
async def test_a_reused_connection_dies(kind: str, stream: bool, server: FaultServer) -> None:
    """The first request of a connection is answered; the second gets not one byte."""
    reader, writer = await asyncio.open_connection(server.host, server.port)
    writer.write(request(f"fault:reused-{kind}", stream))
    assert (await watch(reader, 5)).ends == "clean"
    writer.write(request(f"fault:reused-{kind}", stream))
    look = await watch(reader, 5)
    assert (look.status, look.ends) == (None, {"dies": "cut", "resets": "reset"}[kind])
    writer.close()
    assert [(r.connection, r.nth, r.sent > 0) for r in server.requests] == [(1, 1, True), (1, 2, False)]


@pytest.mark.parametrize(
    ("name", "header", "value"),
    [
        ("429-seconds", "retry-after", "2"),
        ("429-ms", "retry-after-ms", "150"),
        ("429-day", "retry-after", "86400"),
        ("429-no-retry", "x-should-retry", "false"),
        ("503", "retry-after", "1"),
        ("502-html", "content-type", "text/html"),
        ("redirect", "location", "http://127.0.0.1:9/v1/chat/completions"),
    ],
)
async def test_the_headers_that_matter(name: str, header: str, value: str, server: FaultServer) -> None:
    """The header a fault is about has exactly the value its row gives."""
    assert (await see(server, f"fault:{name}", True)).headers[header] == value


async def test_a_retry_date_is_near(server: FaultServer) -> None:
    """The HTTP date of a 429 is two seconds from when it was sent, not from when the server started."""
    look = await see(server, "fault:429-date", False)
    due = email.utils.parsedate_to_datetime(look.headers["retry-after"]).timestamp()
    assert 0 < due - time.time() <= 2.5


async def test_what_streams_hold(server: FaultServer) -> None:
    """The faults of a stream's course hold what they say, event by event."""

    async def stream(name: str, **more: object) -> list[str]:
        return events(await see(server, f"fault:{name}", True, **more))

    assert (await stream("no-done"))[-1] != "[DONE]"
    assert '"finish_reason":"stop"' in (await stream("no-done"))[-1]
    assert '"finish_reason":"stop"' not in "".join(await stream("no-terminal-event"))
    assert await stream("only-done") == ["[DONE]"]
    assert await stream("empty-stream") == []
    assert json.loads((await stream("error-first"))[0])["error"]["type"] == "server_error"
    assert (await stream("text-after-done"))[-2] == "[DONE]"
    usages = [json.loads(frame)["usage"] for frame in await stream("duplicate-usage") if '"usage"' in frame]
    assert [usage["total_tokens"] for usage in usages] == [590, 18]
    assert not any('"usage"' in frame for frame in await stream("ok"))
    assert any('"choices":[]' in frame for frame in (await stream("empty-choices"))[:1])
    with pytest.raises(ValueError, match="Expecting"):
        [json.loads(frame) for frame in await stream("bad-json")]


async def test_bytes_that_are_no_text_and_lines_that_do_not_end(server: FaultServer) -> None:
    """Broken UTF-8 is broken, the enormous line is 8 MiB in one line, and the gzip body unpacks."""
    bad = await see(server, "fault:bad-utf8", True)
    with pytest.raises(UnicodeDecodeError):
        bad.body.decode()
    huge = await see(server, "fault:enormous-line", True)
    assert max(len(line) for line in huge.body.split(b"\n")) > 8 << 20
    zipped = await see(server, "fault:gzip", True)
    assert gzip.decompress(zipped.body).endswith(b"data: [DONE]\n\n")
    half = await see(server, "fault:half-event", True)
    assert not half.body.endswith(b"\n")


async def test_a_trickle_takes_its_time(server: FaultServer) -> None:
    """A trickled answer comes in many small pieces and is in the end the ordinary one."""
    began = time.perf_counter()
    slow = await see(server, "fault:trickle", True)
    took = time.perf_counter() - began
    assert took > 20 * 0.002
    texts = [json.loads(frame)["choices"][0]["delta"].get("content", "") for frame in events(slow)[:-1]]
    assert "".join(texts) == "Hello from the upstream."


async def test_the_right_ones_are_understood_by_the_official_sdk(server: FaultServer) -> None:
    """What the table calls right is read by the OpenAI SDK: unusual, and still no fault."""
    async with openai.AsyncOpenAI(base_url=server.base_url, api_key="sk-test", max_retries=0) as client:
        for name, fault in FAULTS.items():
            if not fault.says.startswith("right: "):
                continue
            stream = await client.chat.completions.create(
                model=f"fault:{name}", messages=[{"role": "user", "content": "Hi"}], stream=True
            )
            reasons = [chunk.choices[0].finish_reason async for chunk in stream if chunk.choices]
            assert reasons[-1] in ("stop", "tool_calls"), name
