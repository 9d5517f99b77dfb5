"""What a user, a key or an upstream said is in the conversation and nowhere else: no log, span, metric, console, error."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from gateway import config as configuration
from gateway.admission.config import KeyEntry, KeyFile
from gateway.admission.keyring import hash_of, write_key_file
from gateway.app import Gateway
from gateway.core.answer import Answer
from gateway.core.events import Event
from gateway.core.exchange import Exchange
from gateway.core.receipt import Receipt
from gateway.faults.server import FaultServer
from gateway.faults.steps import CLOSE, Tool
from gateway.pipeline.build import Lane, Pipeline
from gateway.telemetry import logs
from tests.fixtures.collector import Collector, collector
from tests.fixtures.gateway import WAIT, Ledger, Reply, Talk, parse, running, settings
from tests.fixtures.raw_client import RawClient, post

MARK = "zqplanted"
KEY_ID, ADMIN_ID = "0123456789ab", "ba9876543210"


def mark(place: str) -> str:
    return f"{MARK}-{place}"


def key(key_id: str, place: str) -> str:
    return f"tg_{key_id}_{mark(place):x<43}"


CLIENT_KEY, ADMIN_KEY = key(KEY_ID, "client-key"), key(ADMIN_ID, "admin-key")
HEADERS = {
    "authorization": f"Bearer {CLIENT_KEY}",
    "x-tidegate-user": mark("user"),
    "x-tidegate-session": mark("session"),
    "x-tidegate-tags": mark("tags"),
    "x-tidegate-metadata": mark("metadata-header"),
    "cookie": f"session={mark('cookie')}",
    "user-agent": mark("user-agent"),
    "tracestate": f"vendor={mark('tracestate')}",
}
BODY: dict[str, Any] = {
    "model": "m",
    "messages": [
        {"role": "system", "content": f"You know {mark('system')}."},
        {"role": "user", "content": f"I am {MARK}@example.com, IBAN DE89370400440532013000, {mark('prompt')}."},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "look", "arguments": json.dumps({"q": mark("tool-arguments")})}}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": mark("tool-result")},
        {"role": "user", "content": [{"type": "text", "text": mark("part")}]},
    ],
    "user": mark("user-field"),
    "metadata": {"note": mark("metadata")},
    "vendor_field": mark("unknown-field"),
}  # fmt: skip
SECTIONS: dict[str, Any] = {
    "guardrails": {
        "private": {"use": "pii", "on": ["input", "output"], "action": "mask", "entities": ["EMAIL_ADDRESS", "IBAN_CODE"], "on_error": "closed", "deadline": "5s"},
        "phrases": {"use": "phrases", "on": ["input", "output"], "deny": ["bluebird"], "action": "block", "on_error": "closed", "deadline": "5s"},
    },
    "routes": {"default": {"guardrails": ["private", "phrases"], "cache": {"exact": {"ttl": "1m"}}}},
    "access": {"keys": "keys.yaml"},
    "server": {"secret": mark("server-secret")},
}  # fmt: skip


class World:
    """A gateway with everything on that could tell, and what it told."""

    def __init__(self, talk: Talk, kept: Collector, log: io.StringIO) -> None:
        self.talk, self.kept, self.log = talk, kept, log
        self.replies: list[Reply] = []

    async def say(
        self, *, expect: int, headers: dict[str, str] | None = None, raw: bytes | None = None, **fields: Any
    ) -> Reply:
        """Sends everything that is planted, and a little more; the status is as expected."""
        content = raw if raw is not None else json.dumps({**BODY, **fields}).encode()
        sent = {"content-type": "application/json", **HEADERS, **(headers or {})}
        answer = await self.talk.http.post("/v1/chat/completions", content=content, headers=sent)
        reply = parse(answer.status_code, answer.headers, answer.content)
        assert reply.status == expect, reply.raw
        self.replies.append(reply)
        return reply

    async def told(self, receipts: int) -> dict[str, str]:
        """Everything that is not the conversation itself, by name. Waits for that many receipts to be everywhere."""
        found = [await self.talk.receipt() for _ in range(receipts)]
        traced = {receipt.trace_id for receipt in found}
        await asyncio.to_thread(self.kept.wait, lambda kept: traced <= {span.trace for span in kept.spans})
        admin = {"authorization": f"Bearer {ADMIN_KEY}"}
        get = self.talk.http.get
        console = await get("/console/api/receipts", headers=admin)
        assert len(console.json()["receipts"]) == receipts
        gateway = self.talk.gateway
        return {
            "log": self.log.getvalue(),
            "spans": repr(self.kept.spans) + repr(self.kept.raw),
            "metrics": (await get("/metrics")).text,
            "console": console.text,
            "health": (await get("/readyz")).text,
            "headers": repr([reply.headers.raw for reply in self.replies]),
            "reprs": repr([gateway.config, *gateway.upstreams.values(), gateway.spine, gateway.recent]),
        }


@asynccontextmanager
async def world(
    base: Path, recorders: Sequence[Any] = (), stages: Sequence[Any] = (), **sections: Any
) -> AsyncIterator[World]:
    entries = [
        KeyEntry(id=KEY_ID, hash=hash_of(CLIENT_KEY)),
        KeyEntry(id=ADMIN_ID, hash=hash_of(ADMIN_KEY), admin=True),
    ]
    write_key_file(base / "keys.yaml", KeyFile(keys=entries))
    log = io.StringIO()
    logger = logs.setup("json", log)
    with collector() as kept:
        async with FaultServer() as upstream, FaultServer() as spare:
            value = settings(upstream, spare, **{**SECTIONS, "telemetry": {"otlp": kept.url}, **sections})
            value["providers"]["up"]["api_key"] = mark("upstream-key")
            ledger = Ledger()
            gateway = Gateway(configuration.of_value(value, base), base, logger=logger, recorders=[ledger])
            async with running(gateway) as url, httpx.AsyncClient(base_url=url, timeout=WAIT) as http:
                t = Talk(gateway, url, upstream, spare, ledger, http)
                assert gateway.traces is not None
                gateway.traces.outbox.every = 0.02
                _insert(t, recorders, stages)
                yield World(t, kept, log)


def _insert(t: Talk, recorders: Sequence[Any], stages: Sequence[Any]) -> None:
    """Puts a broken part among the good ones: where an operator's own would be."""
    aftermath, spine = t.gateway.aftermath, t.gateway.spine
    aftermath._recorders = (*recorders, *aftermath._recorders)
    pipeline = spine._pipeline
    lane = pipeline.lanes["default"]
    deciders = tuple(stage for stage in stages if hasattr(stage, "decide"))
    transforms = tuple(stage for stage in stages if hasattr(stage, "open"))
    broken = Lane((*lane.deciders, *deciders), (*lane.transforms, *transforms))
    spine._pipeline = Pipeline(pipeline.head, {**pipeline.lanes, "default": broken})


@pytest.fixture(autouse=True)
def _root_logger_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)


def check(told: dict[str, str], *bodies: bytes) -> None:
    """Nothing planted is in it, plainly, escaped or in pieces of an account number."""
    for place, text in {**told, "error body": b"".join(bodies).decode()}.items():
        for planted in (MARK, MARK.upper(), "DE8937", "0532013000", *(["bluebird"] if place != "reprs" else [])):
            at = text.find(planted)
            assert at < 0, f"{place}: ...{text[max(0, at - 200) : at + 100]}..."
        assert "Traceback" not in text, place


def exchanges(log: str) -> list[dict[str, Any]]:
    return [line for line in map(json.loads, log.splitlines()) if line["event"] == "exchange"]


# --- good and refused


@pytest.mark.parametrize("stream", [False, True])
async def test_a_good_exchange_leaves_no_text(tmp_path: Path, stream: bool) -> None:
    """Answered, masked, cached, and asked again from the cache: one line each, and no word of it."""
    async with world(tmp_path) as w:
        w.talk.upstream.script("m", [f"You are {MARK}@exam", "ple.com, and ", mark("answer")])
        first = await w.say(expect=200, stream=stream)
        assert mark("answer") in first.text
        await w.talk.gateway.caches.writer.drained()
        again = await w.say(expect=200, stream=stream)
        assert again.header("cache") == "hit"
        told = await w.told(2)
        check(told)
        assert [line["outcome"] for line in exchanges(told["log"])] == ["ok", "ok"]
        (sent,) = w.talk.upstream.requests
        assert CLIENT_KEY not in repr(sent.headers)


async def test_a_call_of_a_tool_leaves_no_arguments(tmp_path: Path) -> None:
    """What a model wants to call, and with what, is between it and the client."""
    async with world(tmp_path) as w:
        w.talk.upstream.script("m", [Tool(json.dumps({"q": mark("call")}), 0, mark("call-id"), mark("tool"))])
        reply = await w.say(expect=200)
        assert mark("tool").encode() in reply.raw
        check(await w.told(1))


@pytest.mark.parametrize("stream", [False, True])
async def test_a_refusal_does_not_say_what_it_found(tmp_path: Path, stream: bool) -> None:
    """The client is told the category, not the phrase nor the prompt."""
    async with world(tmp_path) as w:
        reply = await w.say(
            expect=400, stream=stream, messages=[{"role": "user", "content": f"bluebird {mark('prompt')}"}]
        )
        assert reply.error["code"] == "content_filter"
        check(await w.told(1), reply.raw)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_blocked_answer_does_not_say_what_it_was(tmp_path: Path, stream: bool) -> None:
    """Nothing of a stopped answer is told outside the stream it was stopped in."""
    async with world(tmp_path) as w:
        w.talk.upstream.script("m", ["fine so far ", f"bluebird {mark('answer')}"])
        reply = await w.say(expect=200 if stream else 400, stream=stream)
        told = await w.told(1)
        check(told, reply.raw)
        assert exchanges(told["log"])[0]["outcome"] == "refused"


# --- the client's mistakes


@pytest.mark.parametrize(
    ("changes", "raw", "status"),
    [
        ({"model": mark("model")}, None, 404),
        ({"messages": [{"role": mark("role"), "content": "x"}]}, None, 400),
        ({"messages": [{"role": "user", "content": {mark("key"): 1}}]}, None, 400),
        ({"stream": mark("stream")}, None, 400),
        ({}, b'{"model": "m", "messages": ["' + mark("broken").encode(), 400),
        ({}, mark("words").encode(), 400),
        ({}, b'{"' + mark("latin").encode() + b'\xe9": 1}', 400),
    ],
    ids=["model", "role", "content", "stream", "cut", "words", "utf-8"],
)
async def test_a_clients_mistake_is_told_without_its_words(
    tmp_path: Path, changes: dict[str, Any], raw: bytes | None, status: int
) -> None:
    """Only the client that named an unknown model is told its name again."""
    async with world(tmp_path) as w:
        reply = await w.say(expect=status, raw=raw, **changes)
        told = await w.told(1)
        check(told, *([] if "model" in changes else [reply.raw]))
        assert exchanges(told["log"])[0]["outcome"] == "client_error"


@pytest.mark.parametrize(
    "credential", [f"Bearer {mark('wrong-key')}", f"Bearer {CLIENT_KEY[:-1]}y", f"Bearer tg_{KEY_ID}_{mark('x')}"]
)
async def test_a_wrong_key_is_not_repeated(tmp_path: Path, credential: str) -> None:
    """Neither the key nor a part of it is told to anyone."""
    async with world(tmp_path) as w:
        reply = await w.say(expect=401, headers={"authorization": credential})
        check(await w.told(1), reply.raw)


# --- the upstream's failures


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("status", "seen"), [(500, 502), (401, 502), (403, 502), (429, 429), (503, 502), (302, 502)])
async def test_an_upstreams_error_is_told_without_its_words(
    tmp_path: Path, status: int, seen: int, stream: bool
) -> None:
    """Its body may hold our key, its own stack, or the prompt: none of it goes on."""
    async with world(tmp_path) as w:
        w.talk.upstream.reply("m", status, {"error": {"message": f"{mark('error-body')} {mark('upstream-key')}", "type": mark("type"), "code": mark("code"), "param": mark("param")}}, retry_after="0")  # fmt: skip
        reply = await w.say(expect=seen, stream=stream)
        told = await w.told(1)
        check(told, reply.raw)
        assert exchanges(told["log"])[0]["outcome"] == "upstream_error"


async def test_a_rejection_is_the_clients_to_know_and_nobody_elses(tmp_path: Path) -> None:
    """An upstream's 400 tells the client what was wrong with its request; records only that it was."""
    async with world(tmp_path) as w:
        w.talk.upstream.reply("m", 400, {"error": {"message": f"bad {mark('value')}", "type": mark("type"), "code": mark("code"), "param": "temperature"}})  # fmt: skip
        await w.say(expect=400)
        check(await w.told(1))


LONG = mark("answer") + " and so on" * 40
"""More than any check holds back, so that a stream has begun."""
CUTS: dict[str, list[Any]] = {
    "cut": [LONG, CLOSE],
    "error in the stream": [
        LONG,
        {"error": {"message": mark("error-body"), "type": mark("type"), "code": mark("code")}},
    ],
    "not json": [LONG, b"data: {" + mark("garbage").encode() + b"\n\n"],
    "nonsense": [LONG, {"choices": mark("choices")}],
}


@pytest.mark.parametrize("name", CUTS)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_broken_answer_is_told_without_its_words(tmp_path: Path, name: str, stream: bool) -> None:
    """The in-stream error has our words; what had been said before is the client's."""
    async with world(tmp_path) as w:
        w.talk.upstream.script("m", CUTS[name])
        reply = await w.say(expect=200 if stream else 502, stream=stream)
        told = await w.told(1)
        said = json.dumps(reply.error).encode()
        check(told, said if stream else reply.raw)
        assert exchanges(told["log"])[0]["outcome"] in ("cut", "upstream_error")


async def test_a_client_that_left_is_recorded_without_its_words(tmp_path: Path) -> None:
    """Cancelled in the middle of its answer."""
    async with world(tmp_path) as w:
        gate = asyncio.Event()
        w.talk.upstream.script("m", [mark("answer") + " and then some more of it", gate, "never"])
        async with RawClient(w.talk.url) as client:
            data = json.dumps({**BODY, "stream": True}).encode()
            await client.send(post(data, **{name: value for name, value in HEADERS.items() if name != "cookie"}))
            await w.talk.upstream.received(1)
            await client.until(b"and then")
            client.leave()
        told = await w.told(1)
        check(told)
        assert exchanges(told["log"])[0]["outcome"] == "client_gone"


# --- bugs


def boom() -> None:
    held = mark("local")
    raise RuntimeError(f"cannot handle {held}: {mark('exception')}")


class BrokenDecider:
    name = "broken"
    consumes = produces = ()

    async def decide(self, exchange: Exchange) -> Answer | None:
        boom()
        return None


class BrokenTransform:
    """Its session works for `good` events and then fails."""

    name = "broken"
    consumes = produces = ()
    waiting = False

    def __init__(self, good: int) -> None:
        self._good = self._left = good

    def open(self, exchange: Exchange) -> BrokenTransform:
        self._left = self._good
        return self

    def push(self, event: Event) -> Sequence[Event]:
        self._left -= 1
        if self._left < 0:
            boom()
        return (event,)

    def finish(self) -> Sequence[Event]:
        return ()

    async def settle(self) -> Sequence[Event]:
        return ()


class BrokenRecorder:
    name = "broken"
    essential = True

    async def record(self, receipt: Receipt) -> None:
        raise RuntimeError(f"{receipt.user} {receipt.session} {receipt.tags} {mark('exception')}")


BROKEN: dict[str, Callable[[], dict[str, Any]]] = {
    "decider": lambda: {"stages": [BrokenDecider()]},
    "transform": lambda: {"stages": [BrokenTransform(0)]},
    "recorder": lambda: {"recorders": [BrokenRecorder()]},
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_bug_is_told_without_its_message(tmp_path: Path, name: str, stream: bool) -> None:
    """A part of ours that raises with a secret in its message: the log says which kind and where, and the client that
    something failed."""
    async with world(tmp_path, **BROKEN[name]()) as w:
        w.talk.upstream.script("m", ["and so on " * 40] * 9)
        reply = await w.say(expect=200 if name == "recorder" else 500, stream=stream)
        told = await w.told(1)
        check(told, reply.raw)
        (bug,) = [
            line for line in map(json.loads, told["log"].splitlines()) if line["event"] in ("crash", "recorder failed")
        ]
        assert bug["kind"] == "RuntimeError"
        if name != "recorder":
            assert bug["at"][-1].endswith(" boom")
            assert exchanges(told["log"])[0]["error"] == "internal"


async def test_a_bug_in_the_middle_of_a_stream_is_told_without_its_message(tmp_path: Path) -> None:
    """After the commit point the error is in the stream, in the same few words."""
    async with world(tmp_path, stages=[BrokenTransform(2)]) as w:
        gate = asyncio.Event()
        w.talk.upstream.script("m", [LONG, gate, LONG, LONG])
        async with RawClient(w.talk.url) as client:
            data = json.dumps({**BODY, "stream": True}).encode()
            await client.send(post(data, **{name: value for name, value in HEADERS.items() if name != "cookie"}))
            await client.until(b"and so on")
            gate.set()
            rest = await client.until(b"0\r\n\r\n")
        told = await w.told(1)
        check(told, rest.partition(b'{"error"')[2])
        assert b"internal_error" in rest
        assert [line["kind"] for line in map(json.loads, told["log"].splitlines()) if line["event"] == "crash"] == [
            "RuntimeError"
        ]
        assert exchanges(told["log"])[0]["error"] == "internal"


async def test_a_lost_task_is_told_without_its_message(tmp_path: Path) -> None:
    """asyncio logs exceptions that nobody awaited, with their repr; ours come out as kind and place."""
    async with world(tmp_path) as w:

        async def lost() -> None:
            boom()

        await asyncio.wait([asyncio.create_task(lost())])
        import gc

        gc.collect()
        text = w.log.getvalue()
        check({"log": text})
        assert "Task exception was never retrieved" in text


async def test_a_stream_error_of_the_log_itself_costs_no_receipt(tmp_path: Path) -> None:
    """With standard error gone the exchange is served and counted all the same."""
    async with world(tmp_path) as w:
        w.talk.upstream.script("m", ["ok"])
        w.log.close()
        await w.say(expect=200)
        assert (await w.talk.receipt()).outcome == "ok"
        assert "tidegate_requests_total" in (await w.talk.http.get("/metrics")).text


# --- the receipt itself


async def test_a_receipt_holds_no_text(tmp_path: Path) -> None:
    """What recorders may know: of the planted texts only who asked, in which session, under which tags."""
    async with world(tmp_path) as w:
        w.talk.upstream.script("m", [mark("answer")])
        await w.say(expect=200)
        receipt = await w.talk.receipt()
    bare = msgspec.structs.replace(receipt, user="", session="", tags=())
    assert MARK not in repr(bare)
    assert (receipt.user, receipt.session, receipt.tags) == (mark("user"), mark("session"), (mark("tags"),))


# --- Gemini's dialect, whose credential may stand in the URL

CONTENTS: dict[str, Any] = {
    "system_instruction": {"parts": {"text": f"You know {mark('system')}."}},
    "contents": [
        {"role": "user", "parts": [{"text": f"I am {MARK}@example.com, IBAN DE89370400440532013000, {mark('prompt')}."}]},
        {"role": "model", "parts": [{"text": mark("thought"), "thought": True}, {"functionCall": {"name": "look", "args": {"q": mark("args")}}}]},
        {"role": "user", "parts": [{"functionResponse": {"name": "look", "response": {"output": mark("result")}}}]},
    ],
    "labels": {"note": mark("label")},
}  # fmt: skip


def _google(upstream: FaultServer, spare: FaultServer) -> dict[str, Any]:
    own = {"type": "gemini", "base_url": f"{upstream.url}/v1beta", "api_key": mark("upstream-key")}
    return {"google": own}


GOOGLE: dict[str, Any] = {"providers": _google, "models": {"g": {"targets": [{"provider": "google", "model": "m"}]}}}


async def generate(w: World, model: str, stream: bool, expect: int, key: str = CLIENT_KEY) -> Reply:
    verb = "streamGenerateContent" if stream else "generateContent"
    headers = {name: value for name, value in HEADERS.items() if name != "authorization"}
    query = {"key": key, "alt": "sse"} if stream else {"key": key}
    path = f"/v1beta/models/{model}:{verb}"
    answer = await w.talk.http.post(path, params=query, json=CONTENTS, headers=headers)
    reply = parse(answer.status_code, answer.headers, answer.content)
    assert reply.status == expect, reply.raw
    w.replies.append(reply)
    return reply


@pytest.mark.parametrize("model", ["m", "g"], ids=["translated", "native"])
@pytest.mark.parametrize("stream", [False, True])
async def test_an_exchange_in_geminis_dialect_leaves_no_text(tmp_path: Path, stream: bool, model: str) -> None:
    """Nor the key in its URL, which is taken for the credential and goes no further."""
    async with world(tmp_path, **GOOGLE) as w:
        call = Tool(json.dumps({"q": mark("call")}), 0, "c", mark("tool"))
        w.talk.upstream.script("m", [f"You are {MARK}@exam", "ple.com, and ", mark("answer"), call])
        reply = await generate(w, model, stream, 200)
        assert mark("answer").encode() in reply.raw
        (sent,) = w.talk.upstream.requests
        told = f"{sent.target} {sent.headers!r} {sent.body.decode()}"
        assert CLIENT_KEY not in told
        assert f"{MARK}@example.com" not in told, "masked in every part"
        check(await w.told(1))


async def test_geminis_mistakes_are_told_without_their_words(tmp_path: Path) -> None:
    """A wrong key in the URL, a model nobody has, an upstream's error: nothing of them is kept."""
    async with world(tmp_path, **GOOGLE) as w:
        wrong = await generate(w, "m", False, 401, f"{CLIENT_KEY[:-1]}y")
        await generate(w, mark("model"), False, 404)
        error = {"code": 403, "message": f"{mark('error-body')} {mark('upstream-key')}", "status": mark("status")}
        w.talk.upstream.reply("m", 403, {"error": error})
        refused = await generate(w, "g", True, 502)
        check(await w.told(3), wrong.raw, refused.raw)
