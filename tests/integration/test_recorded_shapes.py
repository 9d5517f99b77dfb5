"""Every kind of provider over a real socket, in the shapes its vendor documents: what it is sent, and what its replies mean.

The shapes are data: `tests/fixtures/recorded`.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gateway.configuring.convert import convert
from gateway.core.errors import NAMES, GatewayFault
from gateway.core.events import Event, Failed, Finished
from gateway.core.plan import Target, Timeouts
from gateway.core.request import Request
from gateway.core.response import Response, fold
from gateway.dialects.registry import dialects, upstream_dialects
from gateway.providers import catalog
from gateway.providers.build import build
from gateway.providers.config import ProviderConfig, profile_of, urls_of
from gateway.providers.http_client import HttpClient
from gateway.providers.upstream import HttpUpstream
from tests.fixtures import eventstream
from tests.fixtures.upstream_server import END, Peer, RawServer, chunk, whole

FOLDER = Path(__file__).resolve().parents[1] / "fixtures/recorded"
KINDS = sorted(path.stem for path in FOLDER.glob("*.yaml"))
SHAPES: dict[str, dict[str, Any]] = {kind: yaml.safe_load((FOLDER / f"{kind}.yaml").read_text()) for kind in KINDS}
PEM = generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
QUESTION = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello"}]
WAIT = Timeouts(connect=2, ttft=5, idle=5, total=5)


class Vendor:
    """Stands in for a vendor: answers with `reply`, and keeps what it was sent. Hands out tokens, too."""

    def __init__(self) -> None:
        self.reply = b""
        self.seen: Peer | None = None
        self.line = ""
        self.headers: dict[str, str] = {}
        self.body: dict[str, Any] = {}

    async def __call__(self, peer: Peer) -> None:
        if peer.line.startswith("POST /token "):
            await peer.send(whole(b'{"access_token":"granted","expires_in":3600,"token_type":"Bearer"}'))
            return
        self.line, self.headers, self.body = peer.line, peer.headers, peer.json
        await peer.send(self.reply)


def config_of(kind: str, server: str = "") -> ProviderConfig:
    """The fixture's provider, at `server` instead of the vendor's host: the path of its base URL stays."""
    shape = SHAPES[kind]
    given = json.loads(json.dumps(shape["config"]))
    if "google" in given:
        account = {
            "type": "service_account", "client_email": "g@x", "private_key": PEM, "project_id": "other",
            "token_uri": f"{server or 'https://oauth2.example'}/token",
        }  # fmt: skip
        given["google"]["credentials"] = json.dumps(account)
    problems: list[Any] = []
    config = convert({"type": kind, **given}, ProviderConfig, "", problems)
    assert not problems, problems
    if not server:
        return config
    if "base" in shape:
        path = shape["base"]
    else:
        (url,) = urls_of(config, profile_of(config))
        path = urlsplit(url).path
    return convert({"type": kind, **given, "base_url": server + path}, ProviderConfig, "", problems)


class World:
    def __init__(self, vendor: Vendor, upstream: HttpUpstream, model: str) -> None:
        self.vendor, self.upstream, self.target = vendor, upstream, Target(provider="up", model=model)

    async def ask(self, request: Request) -> list[Event]:
        reply = await self.upstream.open(request, self.target, WAIT, traceparent="", headers={})
        try:
            return [event async for batch in reply.frames() for frame in batch for event in frame.events]
        finally:
            await reply.close()


Make = Callable[[str], Any]


@pytest.fixture
async def world() -> AsyncIterator[Make]:
    async with AsyncExitStack() as stack:

        async def make(kind: str) -> World:
            vendor = Vendor()
            server = await stack.enter_async_context(RawServer(vendor))
            http = await stack.enter_async_context(client())
            config = config_of(kind, server.url)
            upstream = build({"up": config}, upstream_dialects(), http)["up"]
            return World(vendor, upstream, SHAPES[kind]["model"])

        yield make


@asynccontextmanager
async def client() -> AsyncIterator[HttpClient]:
    http = HttpClient()
    try:
        yield http
    finally:
        await http.aclose()


def asked(kind: str, *, stream: bool = False) -> Request:
    fields = SHAPES[kind].get("client", {})
    return dialects()["openai"].read("chat", {"model": "alias", "messages": QUESTION, "stream": stream, **fields})


def extra(headers: dict[str, str]) -> str:
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items())


def streamed(shape: dict[str, Any]) -> bytes:
    if "messages" in shape:
        kind = "application/vnd.amazon.eventstream"
        data = b"".join(eventstream.event(name, body) for name, body in shape["messages"])
    else:
        kind, data = "text/event-stream", shape["events"].encode()
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n".encode()
    half = len(data) // 2
    return head + chunk(data[:half]) + chunk(data[half:]) + END


def told(response: Response) -> dict[str, Any]:
    """An answer in the words of the fixtures; what is not there is left out."""
    assert response.complete
    (choice,) = response.choices.values()
    usage = response.usage
    counts = {
        "input": usage.input_tokens, "output": usage.output_tokens, "cached": usage.cached_tokens,
        "written": usage.cache_write_tokens, "reasoning": usage.reasoning_tokens,
    } if usage else {}  # fmt: skip
    found = {
        "text": choice.text,
        "reasoning": choice.reasoning,
        "calls": [[call.id, call.name, call.arguments] for call in choice.calls.values()],
        "finish": choice.finish,
        "usage": {name: count for name, count in counts.items() if count},
    }
    return {name: value for name, value in found.items() if value}


def agrees(found: dict[str, Any], answer: dict[str, Any]) -> None:
    """`*` is any id: some vendors give calls none, and we make one."""
    wanted = json.loads(json.dumps(answer))
    for mine, theirs in zip(found.get("calls", []), wanted.get("calls", []), strict=False):
        if theirs[0] == "*":
            theirs[0] = mine[0]
    assert found == wanted


def part_of(wanted: Any, given: Any) -> bool:
    if isinstance(wanted, dict) and isinstance(given, dict):
        return all(name in given and part_of(value, given[name]) for name, value in wanted.items())
    return bool(wanted == given)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_request_is_what_the_vendor_takes(kind: str, world: Make) -> None:
    """Path, credential, renamed and dropped fields, streamed and not."""
    shape = SHAPES[kind]
    w: World = await world(kind)
    for stream in (False, True):
        w.vendor.reply = streamed(shape["stream"]) if stream else whole(json.dumps(shape["whole"]["reply"]).encode())
        await w.ask(asked(kind, stream=stream))
        path = shape.get("streamed_path", shape["path"]) if stream else shape["path"]
        assert w.vendor.line == f"POST {path} HTTP/1.1"
        for name, value in shape.get("headers", {}).items():
            seen = w.vendor.headers[name]
            assert re.fullmatch(value[1:], seen) if value.startswith("~") else seen == value
        assert part_of(shape.get("sent", {}), w.vendor.body), w.vendor.body
        assert not set(shape.get("absent", ())) & set(w.vendor.body)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_whole_reply_means_what_it_says(kind: str, world: Make) -> None:
    """Text, reasoning, calls, the ending in the canonical word, and every class of tokens."""
    shape = SHAPES[kind]["whole"]
    w: World = await world(kind)
    w.vendor.reply = whole(shape.get("before", "").encode() + json.dumps(shape["reply"]).encode())
    agrees(told(fold(await w.ask(asked(kind)))), shape["answer"])


@pytest.mark.parametrize("kind", KINDS)
async def test_a_stream_means_what_it_says(kind: str, world: Make) -> None:
    """As for a whole reply; comments, empty chunks and repeated fields change nothing."""
    shape = SHAPES[kind]["stream"]
    w: World = await world(kind)
    w.vendor.reply = streamed(shape)
    agrees(told(fold(await w.ask(asked(kind, stream=True)))), shape["answer"])
    if "broken" in shape:
        w.vendor.reply = streamed(shape["broken"])
        events = await w.ask(asked(kind, stream=True))
        assert isinstance(events[-1], Failed)
        assert isinstance(events[-1].error, GatewayFault)
        assert events[-1].error.name == shape["broken"]["fault"]
        assert "secret" not in events[-1].error.message
        assert not any(isinstance(event, Finished) for event in events)


CASES = [(kind, at) for kind in KINDS for at in range(len(SHAPES[kind]["errors"]))]


@pytest.mark.parametrize(("kind", "at"), CASES)
async def test_an_error_is_the_right_fault(kind: str, at: int, world: Make) -> None:
    """Each with its Retry-After, and with nothing of the operator's account in its words."""
    shape = SHAPES[kind]["errors"][at]
    w: World = await world(kind)
    body = shape["text"].encode() if "text" in shape else json.dumps(shape["reply"]).encode()
    kind_ = "text/html" if "text" in shape else "application/json"
    w.vendor.reply = whole(body, f"{shape['status']} Status", kind_, extra(shape.get("headers", {})))
    with pytest.raises(GatewayFault) as caught:
        await w.ask(asked(kind))
    fault = caught.value
    assert NAMES[type(fault)] == shape["fault"], fault.message
    assert fault.retry_after == shape.get("retry_after", fault.retry_after)
    assert "secret" not in fault.message
    assert fault.upstream_status == shape["status"]


OTHERS = [(kind, at) for kind in KINDS for at in range(len(SHAPES[kind].get("others", ())))]


@pytest.mark.parametrize(("kind", "at"), OTHERS)
async def test_other_operations_are_relayed(kind: str, at: int, world: Make) -> None:
    """To their own path, with the reply as it came."""
    shape = SHAPES[kind]["others"][at]
    w: World = await world(kind)
    raw = json.dumps(shape["reply"]).encode()
    w.vendor.reply = whole(raw)
    request = dialects()["openai"].read(shape["operation"], {"model": "alias", **shape["client"]})
    response = fold(await w.ask(request))
    assert w.vendor.line == f"POST {shape['path']} HTTP/1.1"
    assert part_of(shape["client"], w.vendor.body)
    assert response.relayed == raw


SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
OTHER_CLIENTS: dict[str, dict[str, Any]] = {
    "anthropic": {
        "max_tokens": 64, "system": "Be kind.", "messages": [{"role": "user", "content": "Hello"}],
        "tools": [{"name": "weather", "input_schema": SCHEMA}],
    },
    "responses": {
        "max_output_tokens": 64, "instructions": "Be kind.", "input": "Hello",
        "tools": [{"type": "function", "name": "weather", "parameters": SCHEMA}],
    },
    "gemini": {
        "generationConfig": {"maxOutputTokens": 64}, "systemInstruction": {"parts": [{"text": "Be kind."}]},
        "contents": [{"role": "user", "parts": [{"text": "Hello"}]}],
        "tools": [{"functionDeclarations": [{"name": "weather", "parameters": SCHEMA}]}],
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "client"),
    [(kind, client) for kind in KINDS for client in OTHER_CLIENTS if client not in catalog.profile(kind).native],
)
async def test_clients_of_other_dialects_are_served(kind: str, client: str, world: Make) -> None:
    """A question with a tool goes to every kind, and the same answer comes back."""
    shape = SHAPES[kind]["whole"]
    w: World = await world(kind)
    w.vendor.reply = whole(json.dumps(shape["reply"]).encode())
    request = dialects()[client].read("chat", {"model": "alias", **OTHER_CLIENTS[client]})
    agrees(told(fold(await w.ask(request))), shape["answer"])
    sent = json.dumps(w.vendor.body)
    assert all(word in sent for word in ("weather", "Be kind.", "Hello", "64"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_fixture_says_where_it_is_from(kind: str) -> None:
    """Its source, the host that the catalog calls, and at least a limit and a context overflow among its errors."""
    shape = SHAPES[kind]
    assert shape["source"]
    assert {"upstream_limited", "context_overflow"} <= {error["fault"] for error in shape["errors"]}
    if "host" in shape:
        config = config_of(kind)
        (url,) = urls_of(config, profile_of(config))
        assert urlsplit(url).netloc == shape["host"]
    else:
        assert catalog.profile(kind).base_url is None
