"""Whatever a client sends, it gets one clear answer in its dialect, is counted once, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import quote

import pytest
import pytest_asyncio

from tests.fixtures.gateway import Converse, Talk, conversation
from tests.fixtures.raw_client import CHAT, MESSAGES, Answer, Counted, Left, RawClient, asking, chunked, post

pytestmark = pytest.mark.asyncio(loop_scope="module")

MIB = 1024 * 1024
GENERATE = "/v1beta/models/m:generateContent"
DIALECTS = {"openai": CHAT, "anthropic": MESSAGES, "gemini": GENERATE}
WORDS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    413: "INVALID_ARGUMENT",
    408: "DEADLINE_EXCEEDED",
}
"""Google's words for these statuses."""
FORBIDDEN = (b"Traceback", b'File "', b".py", b"msgspec", b"uvicorn", b"litestar", b"0x")
"""What an error body never holds: a stack trace, or the name of what we are built from."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def t(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Talk]:
    base = tmp_path_factory.mktemp("bad-input")
    async with conversation(base, server={"body_timeout": "300ms", "header_timeout": "300ms"}) as talk:
        talk.upstream.script("m", ["fine"])
        yield talk


async def say(t: Talk, data: bytes) -> Answer:
    """Sends these bytes on a connection of their own and takes the answer."""
    async with RawClient(t.url) as client:
        await client.send(data)
        return await client.answer()


def check_error(
    answer: Answer, dialect: str, status: int, kind: str, code: str | None = None, param: str | None = None
) -> str:
    """The error has its dialect's exact shape; gives its message."""
    assert answer.status == status, answer
    assert answer.headers["content-type"].startswith("application/json")
    assert not [word for word in FORBIDDEN if word in answer.body], answer.body
    body = answer.json
    error = body["error"]
    if dialect == "openai":
        assert set(body) == {"error"}
        assert set(error) == {"message", "type", "param", "code"}
        assert (error["type"], error["code"], error["param"]) == (kind, code, param), error
    elif dialect == "gemini":
        assert set(body) == {"error"}
        assert set(error) == {"code", "message", "status", "details"}
        assert (error["code"], error["status"]) == (status, WORDS[status]), error
        info, *rest = error["details"]
        assert info["reason"] == (code or "bad_request").upper(), error
        fields = [each["field"] for one in rest for each in one.get("fieldViolations", ())]
        assert fields == ([param] if param else []), error
    else:
        assert set(body) == {"type", "error", "request_id"}
        assert (body["type"], error["type"]) == ("error", kind), body
        assert set(error) == {"type", "message"}
    message: str = error["message"]
    assert message.endswith((".", "?")), message
    return message


async def refused(
    t: Talk,
    data: bytes,
    dialect: str,
    status: int,
    kind: str = "invalid_request_error",
    code: str | None = None,
    param: str | None = None,
    outcome: str = "client_error",
) -> str:
    """Sends it and checks everything the contract says of bad input; gives the message."""
    upstream = len(t.upstream.requests)
    async with Counted(t) as counted, Left(t):
        message = check_error(await say(t, data), dialect, status, kind, code, param)
    assert counted.outcomes == [f"{outcome} {status}"]
    assert len(t.upstream.requests) == upstream
    return message


NOT_JSON: Mapping[str, bytes] = {
    "cut": b'{"model": "m", "messages": [',
    "words": b"hello",
    "trailing": b"{} {}",
    "empty": b"",
    "spaces": b"   ",
    "nan": b'{"model": NaN}',
    "form": b"model=m&messages=hi",
    "bom": b"\xef\xbb\xbf" + asking(),
    "utf-16": asking().decode().encode("utf-16"),
    "latin-1": asking("caf\u00e9").replace(b"\\u00e9", b"\xe9"),
    "overlong": asking().replace(b"hi", b"\xc0\xaf"),
    "raw surrogate": asking().replace(b"hi", b"\xed\xa0\x80"),
    "lone high surrogate": asking().replace(b"hi", b"\\ud800 and more text"),
    "lone low surrogate": asking().replace(b"hi", b"\\udc00 and more text"),
    "surrogate at the end": b'{"model": "\\ud83d"}',
    "control character": asking().replace(b"hi", b"\x00"),
    "number out of range": b'{"model": "m", "temperature": 1e999}',
    "number of 5000 digits": b'{"model": "m", "seed": ' + b"9" * 5000 + b"}",
    "10,000 deep list": b'{"model": "m", "messages": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "10,000 deep object": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "200,000 deep, not closed": b'{"a":' * 200_000,
}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("name", NOT_JSON)
async def test_a_body_that_is_not_json_is_refused(t: Talk, dialect: str, name: str) -> None:
    """One 400 `invalid_json` that says what is wrong and echoes nothing."""
    await refused(t, post(NOT_JSON[name], DIALECTS[dialect]), dialect, 400, code="invalid_json")


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("body", [b"[]", b"null", b'"text"', b"1", b"true"])
async def test_json_that_is_not_an_object_is_refused(t: Talk, dialect: str, body: bytes) -> None:
    """A request is an object; the message says so."""
    message = await refused(t, post(body, DIALECTS[dialect]), dialect, 400)
    assert "object" in message


@pytest.mark.parametrize("depth", [130, 500, 900, 960, 980, 990])
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_depth_has_one_bound(t: Talk, dialect: str, depth: int) -> None:
    """A body that is deep, but not so deep that the decoder itself gives up, is refused by the same words and never
    breaks a later stage."""
    body = asking(metadata=0).replace(b'"metadata": 0', b'"metadata": ' + b"[" * depth + b"]" * depth)
    await refused(t, post(body, DIALECTS[dialect]), dialect, 400, code="invalid_json")


async def test_depth_within_the_bound_passes(t: Talk) -> None:
    """A hundred levels are served, and many brackets are not depth."""
    body = asking(metadata=0, n=1).replace(b'"metadata": 0', b'"metadata": ' + b"[" * 100 + b"]" * 100)
    wide = asking("[" * 5000, metadata=[[]] * 2000)
    for good in (body, wide):
        async with Left(t):
            assert (await say(t, post(good))).status == 200


MESSAGE = {"role": "user", "content": "hi"}
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no model": ({"model": None}, "model"),
    "model a number": ({"model": 5}, "model"),
    "model a list": ({"model": ["m"]}, "model"),
    "model empty": ({"model": ""}, "model"),
    "model endless": ({"model": "m" * 300}, "model"),
    "messages missing": ({"messages": None}, "messages"),
    "messages empty": ({"messages": []}, "messages"),
    "messages a string": ({"messages": "hi"}, "messages"),
    "messages an object": ({"messages": {"0": MESSAGE}}, "messages"),
    "message a string": ({"messages": [MESSAGE, "hi"]}, "messages[1]"),
    "message null": ({"messages": [None]}, "messages[0]"),
    "no role": ({"messages": [{"content": "hi"}]}, "messages[0].role"),
    "odd role": ({"messages": [{"role": "boss", "content": "hi"}]}, "messages[0].role"),
    "role a list": ({"messages": [{"role": [], "content": "hi"}]}, "messages[0].role"),
    "no content": ({"messages": [{"role": "user"}]}, "messages[0].content"),
    "content a number": ({"messages": [{"role": "user", "content": 1}]}, "messages[0].content"),
    "part a string": ({"messages": [{"role": "user", "content": ["hi"]}]}, "messages[0].content[0]"),
    "part without type": ({"messages": [{"role": "user", "content": [{}]}]}, "messages[0].content[0].type"),
    "text a number": (
        {"messages": [{"role": "user", "content": [{"type": "text", "text": 1}]}]},
        "messages[0].content[0].text",
    ),
    "stream a word": ({"stream": "yes"}, "stream"),
    "stream a number": ({"stream": 1}, "stream"),
}


@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
@pytest.mark.parametrize("name", WRONG)
async def test_a_wrong_type_is_refused_by_name(t: Talk, dialect: str, name: str) -> None:
    """400 with the field in `param`, and in the message for dialects that have no `param`."""
    fields, param = WRONG[name]
    given = {k: v for k, v in {**json.loads(asking()), **fields}.items() if v is not None}
    message = await refused(t, post(json.dumps(given).encode(), DIALECTS[dialect]), dialect, 400, param=param)
    assert param in message


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": 0}, "n"),
        ({"n": 1_000_000}, "n"),
        ({"n": "2"}, "n"),
        ({"stream_options": 1}, "stream_options"),
        ({"stream": True, "stream_options": {"include_usage": "yes"}}, "stream_options.include_usage"),
    ],
)
async def test_openais_own_fields_are_checked(t: Talk, fields: dict[str, Any], param: str) -> None:
    """What the gateway itself acts on must have its type."""
    await refused(t, post(asking(**fields)), "openai", 400, param=param)


CONTENT = {"role": "user", "parts": [{"text": "hi"}]}
WRONG_GEMINI: dict[str, tuple[dict[str, Any], str]] = {
    "no contents": ({"contents": None}, "contents"),
    "contents empty": ({"contents": []}, "contents"),
    "contents a string": ({"contents": "hi"}, "contents"),
    "content a string": ({"contents": [CONTENT, "hi"]}, "contents[1]"),
    "odd role": ({"contents": [{"role": "boss", "parts": []}]}, "contents[0].role"),
    "role a list": ({"contents": [{"role": [], "parts": []}]}, "contents[0].role"),
    "parts a string": ({"contents": [{"parts": "hi"}]}, "contents[0].parts"),
    "part a string": ({"contents": [{"parts": ["hi"]}]}, "contents[0].parts[0]"),
    "text a number": ({"contents": [{"parts": [{"text": 1}]}]}, "contents[0].parts[0].text"),
    "call a string": ({"contents": [{"parts": [{"functionCall": "f"}]}]}, "contents[0].parts[0].functionCall"),
    "system a string": ({"systemInstruction": "hi"}, "systemInstruction"),
    "config a list": ({"generationConfig": []}, "generationConfig"),
    "tools an object": ({"tools": {}}, "tools"),
    "no answers": ({"generationConfig": {"candidateCount": 0}}, "generationConfig.candidateCount"),
    "tokens a word": ({"generation_config": {"max_output_tokens": "9"}}, "generationConfig.maxOutputTokens"),
    "both spellings": ({"toolConfig": {}, "tool_config": {}}, "tool_config"),
}


@pytest.mark.parametrize("name", WRONG_GEMINI)
async def test_a_wrong_type_in_geminis_dialect_is_refused_by_name(t: Talk, name: str) -> None:
    """400 with the field among the violations, and in the message."""
    fields, param = WRONG_GEMINI[name]
    given = {k: v for k, v in {"contents": [CONTENT], **fields}.items() if v is not None}
    message = await refused(t, post(json.dumps(given).encode(), GENERATE), "gemini", 400, param=param)
    assert param.rpartition(".")[2].partition("_")[0] in message


async def test_a_stream_that_is_no_event_stream_is_refused(t: Talk) -> None:
    """Google's other form of a stream, one long array, is not spoken; the message says what to ask for."""
    path = GENERATE.replace("generateContent", "streamGenerateContent")
    message = await refused(t, post(json.dumps({"contents": [CONTENT]}).encode(), path), "gemini", 400, param="alt")
    assert "?alt=sse" in message


@pytest.mark.parametrize("value", [None, "9", -1, 1.5])
async def test_anthropics_max_tokens_is_checked(t: Talk, value: object) -> None:
    """Anthropic's dialect needs `max_tokens`, a whole number."""
    given = {k: v for k, v in json.loads(asking(max_tokens=value)).items() if v is not None}
    assert "max_tokens" in await refused(t, post(json.dumps(given).encode(), MESSAGES), "anthropic", 400)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    ("model", "hint"),
    [("n", None), ("spar", "spare"), ("Spare", "spare"), ("\u0000\u200b", None), ("../spare", "spare")],
)
async def test_an_unknown_model_is_named_with_a_hint(t: Talk, dialect: str, model: str, hint: str | None) -> None:
    """404 `model_not_found`, with the nearest name when one is near."""
    kind = "invalid_request_error" if dialect == "openai" else "not_found_error"
    body = json.dumps({"contents": [CONTENT]}).encode() if dialect == "gemini" else asking(model=model)
    data = post(body, DIALECTS[dialect].replace("/m:", f"/{quote(model, safe='')}:"))
    message = await refused(t, data, dialect, 404, kind, "model_not_found", "model")
    assert ("Did you mean" in message) == (hint is not None)
    assert hint is None or repr(hint) in message


# --- size


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("form", ["declared", "chunked"])
async def test_a_body_over_the_limit_is_refused(t: Talk, dialect: str, form: str) -> None:
    """11 MiB, declared or not: the client that writes all of it before it looks still sees the 413."""
    body = asking("x" * (11 * MIB))
    path = DIALECTS[dialect]
    data = (
        post(body, path)
        if form == "declared"
        else chunked(*(body[at : at + MIB] for at in range(0, len(body), MIB)), path=path)
    )
    kind = "invalid_request_error" if dialect == "openai" else "request_too_large"
    message = await refused(t, data, dialect, 413, kind, "request_too_large")
    assert "server.max_body" in message


async def test_a_client_that_asks_first_is_refused_before_it_sends(t: Talk) -> None:
    """With `Expect: 100-continue` the 413 comes instead of the invitation, and the connection is closed."""
    async with Counted(t) as counted, Left(t), RawClient(t.url) as client:
        await client.send(post(b"", length=11 * MIB, expect="100-continue"))
        answer = await client.answer()
        check_error(answer, "openai", 413, "invalid_request_error", "request_too_large")
        assert answer.closed
        assert await client.rest() == b""
    assert counted.outcomes == ["client_error 413"]


async def test_a_good_client_that_asks_first_is_invited(t: Talk) -> None:
    """`100 Continue`, then the answer."""
    body = asking()
    async with Left(t), RawClient(t.url) as client:
        await client.send(post(b"", length=len(body), expect="100-continue"))
        assert (await client.head())[0] == 100
        await client.send(body)
        assert (await client.answer()).status == 200


@pytest.mark.parametrize("length", [10**15, 10**18])
async def test_an_absurd_length_is_refused_at_once(t: Talk, length: int) -> None:
    """Nothing is reserved for what was only promised: 413, and the connection is over."""
    async with Counted(t) as counted, Left(t), RawClient(t.url) as client:
        await client.send(post(b"", length=length, expect="100-continue"))
        answer = await client.answer()
        check_error(answer, "openai", 413, "invalid_request_error", "request_too_large")
        assert answer.closed
    assert counted.outcomes == ["client_error 413"]


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_a_compressed_body_is_read(t: Talk, coding: str) -> None:
    """Clients may compress; the upstream gets it plain."""
    packed = gzip.compress(asking("packed")) if coding == "gzip" else zlib.compress(asking("packed"))
    async with Left(t):
        assert (await say(t, post(packed, content_encoding=coding))).status == 200
    assert t.sent()["messages"][0]["content"] == "packed"
    assert t.upstream.requests[-1].header("content-encoding") is None


async def test_a_bomb_is_refused_at_the_limit(t: Talk) -> None:
    """1 GiB of zeros in a megabyte: what a body grows to is bounded like its size."""
    packer = zlib.compressobj(9, wbits=31)
    head = packer.compress(b" ") + packer.flush(zlib.Z_FULL_FLUSH)
    zeros = packer.compress(bytes(8 * MIB)) + packer.flush(zlib.Z_FULL_FLUSH)
    bomb = head + zeros * 128
    assert len(bomb) < 1.1 * MIB
    await refused(t, post(bomb, content_encoding="gzip"), "openai", 413, code="request_too_large")


PACKED = gzip.compress(asking())


@pytest.mark.parametrize(
    ("body", "coding"),
    [
        (asking(), "gzip"),
        (PACKED[:-9], "gzip"),
        (PACKED[:5], "gzip"),
        (PACKED[:-8] + b"\0" * 8, "gzip"),
        (PACKED + b"and more", "gzip"),
        (PACKED, "deflate"),
        (asking(), "br"),
        (PACKED, "gzip, gzip"),
        (asking(), "x" * 500),
    ],
    ids=["plain", "cut", "cut early", "wrong checksum", "trailing", "other kind", "unknown", "twice", "long name"],
)
async def test_broken_compression_is_refused(t: Talk, body: bytes, coding: str) -> None:
    """Cut, damaged, with something after it, or of a kind we do not know: 400."""
    await refused(t, post(body, content_encoding=coding), "openai", 400)


# --- time


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_body_a_byte_at_a_time_is_given_up(t: Talk, dialect: str) -> None:
    """The time for a body is for all of it: 408 when it is over, and not when the client has given up sending."""
    loop = asyncio.get_running_loop()
    async with Counted(t) as counted, Left(t), RawClient(t.url) as client:
        data = post(asking(), DIALECTS[dialect])
        began = loop.time()
        drip = asyncio.create_task(_drip(client, data, len(data) - len(asking()) + 1))
        answer = await client.answer()
        took = loop.time() - began
        drip.cancel()
        check_error(answer, dialect, 408, "invalid_request_error", "request_timeout")
        assert answer.closed
    assert took < 3.0
    assert counted.outcomes == ["client_error 408"]


async def test_headers_a_byte_at_a_time_are_given_up(t: Talk) -> None:
    """The time for headers is for all of them: 408, counted, and the connection is over."""
    async with Counted(t) as counted, Left(t), RawClient(t.url) as client:
        drip = asyncio.create_task(_drip(client, post(asking()), 1))
        answer = await client.answer()
        drip.cancel()
        check_both(answer, 408, "headers_too_slow")
        assert await client.rest() == b""
    assert counted.outcomes == ["headers_too_slow"]


async def test_a_connection_without_a_request_is_closed(t: Talk) -> None:
    """Nothing asked, nothing answered: it is closed after the time for headers, and is no error."""
    async with Counted(t) as counted, Left(t), RawClient(t.url) as client:
        assert await client.rest() == b""
    assert counted.outcomes == []


async def _drip(client: RawClient, data: bytes, first: int) -> None:
    """`first` bytes at once, then one byte every 50 ms."""
    await client.send(data[:first])
    for at in range(first, len(data)):
        await asyncio.sleep(0.05)
        await client.send(data[at : at + 1])


# --- what never becomes a request


def check_both(answer: Answer, status: int, code: str) -> None:
    """Before a request's head is whole nobody knows its dialect, so this body is right in both."""
    assert answer.status == status, answer
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.closed
    body = answer.json
    assert body["type"] == "error"
    assert body["error"]["type"] == "invalid_request_error"
    assert (body["error"]["code"], body["error"]["param"]) == (code, None)
    assert body["error"]["message"].endswith(".")
    assert not [word for word in FORBIDDEN if word in answer.body], answer.body


@pytest.mark.parametrize("form", ["one header", "many headers", "path"])
async def test_headers_over_the_limit_are_refused(t: Talk, form: str) -> None:
    """64 KB in one header, in a thousand, or in the path: 431, counted, and the connection is over."""
    if form == "one header":
        data = post(asking(), x_filler="x" * 65_536)
    elif form == "many headers":
        data = post(asking(), **{f"x_filler_{number}": "x" * 50 for number in range(1000)})
    else:
        data = post(asking(), CHAT + "?" + "x" * 65_536)
    async with Counted(t) as counted, Left(t), RawClient(t.url) as client:
        await client.send(data)
        check_both(await client.answer(), 431, "headers_too_large")
    assert counted.outcomes == ["headers_too_large"]
    assert all(request.header("x-filler") is None for request in t.upstream.requests)


async def test_headers_that_never_end_are_refused(t: Talk) -> None:
    """The limit holds while the head is still coming: an endless header is cut off, not stored."""
    async with Counted(t) as counted, Left(t), RawClient(t.url) as client:
        await client.send(b"GET / HTTP/1.1\r\nx-filler: " + b"x" * 65_536)
        check_both(await client.answer(), 431, "headers_too_large")
    assert counted.outcomes == ["headers_too_large"]


BODY = asking()
NOT_HTTP: Mapping[str, bytes] = {
    "two lengths": post(BODY, content_length=str(len(BODY) + 1)),
    "the same length twice": post(BODY, content_length=str(len(BODY))),
    "length and chunked": post(BODY, transfer_encoding="chunked"),
    "a negative length": post(BODY, length=-1),
    "a length that overflows": post(BODY, length=1 << 70),
    "a length in words": post(BODY).replace(b"content-length: ", b"content-length: about "),
    "a list of lengths": post(BODY).replace(b"content-length: ", b"content-length: 5, "),
    "a bad chunk size": b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    "a tunnel": b"CONNECT example.com:443 HTTP/1.1\r\nhost: example.com:443\r\n\r\n",
    "no method": b"hello there\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a null in a header": post(BODY, x_odd="a\0b"),
    "a bare line feed in a header": post(BODY, x_odd="a\nb"),
    "a space before the colon": post(BODY).replace(b"host:", b"host :"),
    "a path of raw bytes": post(BODY, "/v1/\xff\xfe".encode("latin-1").decode("latin-1")),
    "a path with a space": b"GET /a b HTTP/1.1\r\nhost: x\r\n\r\n",
}


@pytest.mark.parametrize("name", NOT_HTTP)
async def test_what_is_not_http_is_refused(t: Talk, name: str) -> None:
    """400 as JSON that both dialects can read, counted, and the connection is over; nothing of it is served."""
    upstream = len(t.upstream.requests)
    async with Counted(t) as counted, Left(t), RawClient(t.url) as client:
        await client.send(NOT_HTTP[name])
        check_both(await client.answer(), 400, "invalid_http")
        assert await client.rest() == b""
    assert "invalid_http" in counted.outcomes
    assert set(counted.outcomes) <= {"invalid_http", "client_gone 0"}
    assert len(t.upstream.requests) == upstream


async def test_rubbish_behind_a_request_never_gets_into_its_answer(t: Talk) -> None:
    """A stream under way ends as it would have, or is cut; a 400 is never written into it."""
    gate = asyncio.Event()
    t.upstream.script("m", ["one", gate, "two"])
    try:
        async with Left(t), RawClient(t.url) as client:
            await client.send(post(asking(stream=True)))
            await client.until(b"one")
            await client.send(b"\x00\x01 rubbish\r\n\r\n")
            gate.set()
            rest = await client.rest()
        assert b"HTTP/1.1 400" not in rest
    finally:
        t.upstream.script("m", ["fine"])


# --- paths and methods


@pytest.mark.parametrize(
    "path", ["/v1/nothing", "/v2/chat/completions", "/v1/chat/completions/x", "/%2e%2e/etc", "/v1/%ff"]
)
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_an_unknown_path_is_a_404_in_the_dialect(t: Talk, dialect: str, path: str) -> None:
    """JSON, counted as one outcome whatever the path was, so that paths cannot fill the metrics."""
    headers = {"anthropic": {"anthropic_version": "2023-06-01"}, "gemini": {"x_goog_api_key": "k"}}.get(dialect, {})
    kind = "invalid_request_error" if dialect == "openai" else "not_found_error"
    async with Counted(t) as counted, Left(t):
        check_error(await say(t, post(BODY, path, **headers)), dialect, 404, kind, "not_found")
    assert counted.outcomes == ["not_found"]


@pytest.mark.parametrize("verb", ["predict", "generatecontent", "batchGenerateContent"])
async def test_an_unknown_verb_of_geminis_is_a_404_with_the_known_ones(t: Talk, verb: str) -> None:
    """The path is that of a model, but nothing of the kind can be asked of it here."""
    async with Counted(t) as counted, Left(t):
        answer = await say(t, post(BODY, GENERATE.replace("generateContent", verb)))
        message = check_error(answer, "gemini", 404, "", "not_found")
    assert ":generateContent" in message
    assert counted.outcomes == ["not_found"]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS", "PATCH"])
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_wrong_method_is_a_405_in_the_dialect(t: Talk, dialect: str, method: str) -> None:
    """JSON that names the method to use, with `Allow`."""
    data = post(BODY, DIALECTS[dialect]).replace(b"POST", method.encode(), 1)
    async with Counted(t) as counted, Left(t):
        answer = await say(t, data)
        message = check_error(answer, dialect, 405, "invalid_request_error", "method_not_allowed")
    assert answer.headers["allow"] == "POST"
    assert "POST" in message
    assert counted.outcomes == ["method_not_allowed"]


@pytest.mark.parametrize("path", ["/v1/models", "/livez", "/metrics"])
async def test_a_wrong_method_on_a_page_is_a_405(t: Talk, path: str) -> None:
    """Pages say the same as calls."""
    async with Counted(t) as counted, Left(t):
        check_error(await say(t, post(b"", path)), "openai", 405, "invalid_request_error", "method_not_allowed")
    assert counted.outcomes == ["method_not_allowed"]


# --- the connection afterwards


async def test_a_refused_request_does_not_spoil_the_next_one(t: Talk) -> None:
    """After an error that read the whole body the same connection serves on."""
    async with Left(t), RawClient(t.url) as client:
        for bad in (b"not json", b"[]", asking(model="nope"), asking("x" * (11 * MIB))):
            await client.send(post(bad))
            answer = await client.answer()
            assert answer.status in (400, 404, 413)
            assert not answer.closed
        await client.send(post(asking()))
        assert (await client.answer()).status == 200


async def test_a_wrong_key_is_refused_before_its_body_is_read(talk: Converse, tmp_path: Any) -> None:
    """401 in the dialect's shape, whatever the body holds; the body is thrown away unread."""
    (tmp_path / "keys.yaml").write_text("version: 1\nkeys: []\n")
    async with AsyncExitStack() as stack:
        t = await stack.enter_async_context(talk(access={"keys": "keys.yaml"}))
        for dialect, path in DIALECTS.items():
            for body in (b"not json", asking("x" * (11 * MIB)), asking()):
                data = post(body, path, authorization="Bearer tg_000000000000_" + "x" * 43)
                await refused(t, data, dialect, 401, "authentication_error", "invalid_api_key")


async def test_an_offer_of_another_protocol_is_declined_by_answering(t: Talk) -> None:
    """Java's client offers HTTP/2 on each call: it is served over HTTP/1.1, body and all."""
    offer = {"connection": "Upgrade, HTTP2-Settings", "upgrade": "h2c", "http2_settings": "AAMAAABkAARAAAAA"}
    async with Left(t), RawClient(t.url) as client:
        for _ in range(2):
            await client.send(post(asking("over"), **offer))
            assert (await client.answer()).status == 200
    assert t.sent()["messages"][0]["content"] == "over"


async def test_requests_sent_ahead_are_answered_in_order(t: Talk) -> None:
    """Three requests in one packet, the second of them bad: three answers, one after the other."""
    async with Counted(t) as counted, Left(t), RawClient(t.url) as client:
        await client.send(post(asking()) + post(b"[]") + post(asking(model="spar")))
        assert [(await client.answer()).status for _ in range(3)] == [200, 400, 404]
    assert sorted(counted.outcomes) == ["client_error 400", "client_error 404", "ok 200"]
