"""Masking per backend trust, over real sockets: the house may see originals, nobody else does, whatever is tried first."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway import config as configuration
from gateway.commands import check as check_command
from gateway.commands import trust
from gateway.faults.play import Play
from gateway.faults.server import FaultServer
from gateway.faults.steps import CLOSE, HANG, Tool
from gateway.telemetry import logs
from tests.dialogue import test_nothing_leaks as leaks
from tests.dialogue.test_caches import everything
from tests.fixtures.dialects import payloads
from tests.fixtures.gateway import Converse, Reply, Talk
from tests.fixtures.redis import RedisServer

STREAMS = pytest.mark.parametrize("stream", [False, True])
BOB, CARD = "bob.baker@example.org", "4111 1111 1111 1111"
ASKED = f"I am {BOB}, my card is {CARD}"
MASKED = "I am [[EMAIL_ADDRESS_1]], my card is [[CREDIT_CARD_1]]"
"""What an outsider gets."""
SHOWN = f"I am {BOB}, my card is [[CREDIT_CARD_1]]"
"""What a target of the house gets, where only addresses are left to it."""
QUICK = "50ms"


def check(*entities: str, **fields: Any) -> dict[str, Any]:
    return {
        "use": "pii", "on": ["input", "output"], "action": "mask", "entities": list(entities), "on_error": "closed",
        "deadline": "5s", **fields,
    }  # fmt: skip


def sections(targets: list[str], *, on_failure: list[str] | None = None, **rest: Any) -> dict[str, Any]:
    """`in` is the upstream, of the house; `out` is the spare, outside. Model `m` has `targets`."""

    def providers(upstream: FaultServer, spare: FaultServer) -> dict[str, Any]:
        return {
            "in": {"type": "openai-compatible", "base_url": upstream.base_url, "trust": "internal"},
            "out": {"type": "openai-compatible", "base_url": spare.base_url, "trust": "external"},
        }

    models: dict[str, Any] = {
        "m": {
            "targets": [{"provider": name, "model": "t", "weight": int(not at)} for at, name in enumerate(targets)],
            "on_failure": on_failure or [],
            "retry": {"attempts": len(targets)},
            **rest.pop("model", {}),
        },
        "inside": {"targets": [{"provider": "in", "model": "t"}], "retry": {"attempts": 1}},
        "outside": {"targets": [{"provider": "out", "model": "t"}], "retry": {"attempts": 1}},
    }
    return {
        "providers": providers,
        "models": models,
        "guardrails": {"mail": check("EMAIL_ADDRESS", internal="original"), "cards": check("CREDIT_CARD")},
        "routes": {"default": {"guardrails": ["mail", "cards"], **rest}},
    }


async def say(
    t: Talk, text: str, dialect: str = "openai", *, stream: bool = False, by: str = "", control: str = ""
) -> tuple[Reply, str]:
    """The reply, and its text."""
    verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
    path = {"openai": "chat/completions", "anthropic": "messages", "responses": "responses", "gemini": f"models/m:{verb}"}[dialect]  # fmt: skip
    body: dict[str, Any] = {"model": "m", "stream": stream}
    if dialect == "responses":
        body |= {"input": [{"role": "user", "content": [{"type": "input_text", "text": text}]}], "store": False}
    elif dialect == "gemini":
        body = {"contents": [{"role": "user", "parts": [{"text": text}]}]}
    else:
        body |= {"messages": [{"role": "user", "content": text}], "max_tokens": 99}
    named = {"x_tidegate_user": by, "x_tidegate_cache_control": control}
    reply = await t.send(body, f"/v1/{path}", **{name: value for name, value in named.items() if value})
    assert reply.status == 200, reply.raw
    if dialect != "responses":
        assert reply.whole
        return reply, reply.text
    response = payloads(reply.raw)[-1]["response"] if stream else reply.body
    return reply, "".join(part["text"] for item in response["output"] for part in item["content"])


def echo(asked: Any) -> list[Any]:
    """The last message's text again, in pieces of seven characters."""
    content = asked.messages[-1]["content"]
    text = content if isinstance(content, str) else "".join(part["text"] for part in content)
    return [text[at : at + 7] for at in range(0, len(text), 7)]


def bodies(server: FaultServer) -> list[str]:
    return [json.dumps(json.loads(request.body), ensure_ascii=False) for request in server.requests]


@STREAMS
@pytest.mark.parametrize("dialect", ["openai", "anthropic", "responses", "gemini"])
async def test_the_house_sees_what_its_route_leaves_to_it(talk: Converse, dialect: str, stream: bool) -> None:
    """And no more; the client reads the same either way, and the receipt says who was shown originals."""
    async with talk(**sections(["in"])) as t:
        t.upstream.script("t", echo)
        _, text = await say(t, ASKED, dialect, stream=stream)
        assert text == ASKED
        assert SHOWN in bodies(t.upstream)[0]
        receipt = await t.receipt()
        assert [attempt.revealed for attempt in receipt.attempts] == [True]
        assert {verdict.action for verdict in receipt.verdicts if verdict.side == "output"} == {"allow"}
    async with talk(**sections(["out"])) as t:
        t.spare.script("t", echo)
        _, text = await say(t, ASKED, dialect, stream=stream)
        assert text == ASKED
        assert MASKED in bodies(t.spare)[0]
        assert [attempt.revealed for attempt in (await t.receipt()).attempts] == [False]


ORDERS: dict[str, tuple[dict[str, Any], str]] = {
    "retry": (sections(["in", "out"]), "out"),
    "retry back": (sections(["out", "in"]), "in"),
    "fallback": (sections(["in"], on_failure=["outside"]), "out"),
    "fallback back": (sections(["out"], on_failure=["inside"]), "in"),
    "fallback twice": (sections(["in"], on_failure=["outside", "inside"]), "in again"),
}


@STREAMS
@pytest.mark.parametrize("dialect", ["openai", "anthropic", "responses", "gemini"])
@pytest.mark.parametrize("order", ORDERS)
async def test_the_next_call_is_masked_again(talk: Converse, order: str, dialect: str, stream: bool) -> None:
    """Whatever a call before was shown says nothing about the next."""
    config, answers = ORDERS[order]
    async with talk(**config) as t:
        for server, name in ((t.upstream, "in"), (t.spare, "out")):
            if answers == "in again" and name == "in":
                server.sequence("t", "500", Play(echo))
            elif name == answers:
                server.script("t", echo)
            else:
                server.reply("t", 500, "no")
        _, text = await say(t, ASKED, dialect, stream=stream)
        assert text == ASKED
        assert t.upstream.requests
        assert t.spare.requests
        assert all(SHOWN in body for body in bodies(t.upstream))
        assert all(MASKED in body and BOB not in body and CARD not in body for body in bodies(t.spare))
        receipt = await t.receipt()
        assert all(attempt.revealed == (attempt.provider == "in") for attempt in receipt.attempts)


@STREAMS
@pytest.mark.parametrize("order", [["in", "out"], ["out", "in"]])
@pytest.mark.parametrize("winner", ["in", "out"])
async def test_of_two_calls_at_once_each_gets_its_own(
    talk: Converse, order: list[str], winner: str, stream: bool
) -> None:
    """A hedge beside a slow call, at a target of other trust: the answer of the one that wins is read for what it is."""
    after = QUICK if winner != order[0] else "0.001s"
    async with talk(**sections(order, model={"hedge": {"after": after}})) as t:
        gate = asyncio.Event()
        for server, name in ((t.upstream, "in"), (t.spare, "out")):
            server.script("t", (lambda asked: [gate, *echo(asked)]) if name == winner else [HANG])
        asking = asyncio.create_task(say(t, ASKED, stream=stream))
        await t.upstream.received(1)
        await t.spare.received(1)
        gate.set()
        assert (await asking)[1] == ASKED
        assert SHOWN in bodies(t.upstream)[0]
        assert MASKED in bodies(t.spare)[0]
        assert {attempt.provider: attempt.revealed for attempt in (await t.receipt()).attempts} == {
            "in": True,
            "out": False,
        }


@STREAMS
async def test_arguments_come_back_as_json(talk: Converse, stream: bool) -> None:
    """A call of the house's model with an original in it, escaped as it liked: the client's arguments say the same."""
    async with talk(**sections(["in"])) as t:
        raw = json.dumps({"to": BOB, "text": 'a "b"\n'}).replace("@", "\\u0040")
        t.upstream.script("t", [Tool(raw[:9], 0, "c", "send"), Tool(raw[9:], 0)])
        reply = await t.ask(ASKED, stream=stream)
        calls = [
            call
            for event in (reply.events or [reply.body])
            for choice in event["choices"]
            for call in (choice.get("delta") or choice.get("message") or {}).get("tool_calls") or []
        ]
        told = "".join(call["function"].get("arguments") or "" for call in calls)
        assert json.loads(told) == json.loads(raw)


@STREAMS
@pytest.mark.parametrize("shared", [False, True])
async def test_entries_are_masked_and_for_the_same_originals(
    talk: Converse, own_redis: Callable[..., RedisServer], stream: bool, shared: bool
) -> None:
    """In a store of the process and in Redis. An answer made from one person's values is an answer to those: the same
    question with others is asked anew, since the model may have made anything of them."""
    redis = own_redis() if shared else None
    more = {"redis": redis.url} if redis else {}
    async with talk(**sections(["in"], cache={"partition": "route", "exact": {"ttl": "1h"}}), **more) as t:
        t.upstream.script("t", echo)
        first, text = await say(t, ASKED, stream=stream, by="ann")
        assert (first.header("cache"), text) == ("miss", ASKED)
        await t.gateway.caches.writer.drained()
        if redis:
            kept = everything(redis)
            assert b"[[EMAIL_ADDRESS_1]]" in kept
            assert b"baker" not in kept
            assert b"4111" not in kept
        again, text = await say(t, ASKED, stream=stream, by="bob")
        assert (again.header("cache"), text) == ("hit", ASKED)
        other = ASKED.replace("bob.baker", "eve.adams")
        reply, text = await say(t, other, stream=stream, by="eve")
        assert (reply.header("cache"), text) == ("miss", other)
        assert len(t.upstream.requests) == 2


@STREAMS
@pytest.mark.parametrize("said", ["Also ask eve.adams@example.com.", "You are BOB.BAKER@example.org."])
async def test_what_only_this_client_may_read_is_not_kept(
    talk: Converse, own_redis: Callable[..., RedisServer], stream: bool, said: str
) -> None:
    """Private data of others that the house's model knows, and the client's own in a spelling that no other reader could
    restore: answered, and asked anew next time."""
    redis = own_redis()
    config = sections(["in"], cache={"partition": "user", "exact": {"ttl": "1h"}})
    config["guardrails"]["mail"]["on"] = ["input"]
    async with talk(**config, redis=redis.url) as t:
        t.upstream.script("t", [said[:14], said[14:]])
        for control in ("", "no-cache", ""):
            reply, text = await say(t, ASKED, stream=stream, control=control)
            assert (reply.header("cache"), text) == ("bypass" if control else "miss", said)
            await t.gateway.caches.writer.drained()
        kept = everything(redis).lower()
        assert b"baker" not in kept
        assert b"adams" not in kept


@STREAMS
async def test_the_model_of_the_house_may_not_say_what_the_checks_forbid(talk: Converse, stream: bool) -> None:
    """Private data that is not the client's own is masked on the way out, as with any other target."""
    async with talk(**sections(["in"])) as t:
        t.upstream.script("t", [f"{BOB} knows eve.ad", "ams@example.com."])
        assert (await say(t, ASKED, stream=stream))[1] == f"{BOB} knows [EMAIL_ADDRESS]."


@STREAMS
async def test_nothing_that_records_sees_an_original(talk: Converse, stream: bool) -> None:
    """Neither the log nor the metrics, the console or the headers, in a good exchange, a failed and a broken one."""
    log = io.StringIO()
    async with talk(**sections(["in", "out"]), logger=logs.setup("json", log)) as t:
        t.upstream.sequence("t", Play(echo), "500", Play([ASKED + " and so on" * 40, CLOSE]))
        t.spare.script("t", echo)
        replies = [await t.ask(ASKED, stream=stream) for _ in range(3)]
        receipts = [await t.receipt() for _ in replies]
        told = [
            log.getvalue(),
            repr(receipts),
            repr([reply.headers.raw for reply in replies]),
            (await t.http.get("/metrics")).text,
            (await t.http.get("/console/api/receipts")).text,
        ]
        for text in told:
            assert "baker" not in text
            assert CARD not in text
            assert CARD.replace(" ", "") not in text


@STREAMS
async def test_neither_do_spans(tmp_path: Path, stream: bool) -> None:
    """Everything that the general law of what leaks nowhere looks at, with originals sent and come back."""

    def providers(upstream: FaultServer, _spare: FaultServer) -> dict[str, Any]:
        return {"up": {"type": "openai-compatible", "base_url": upstream.base_url, "trust": "internal"}}

    guards = {name: {**given} for name, given in leaks.SECTIONS["guardrails"].items()}
    guards["private"]["internal"] = "original"
    async with leaks.world(tmp_path, providers=providers, guardrails=guards) as w:
        address = f"{leaks.MARK}@example.com"
        w.talk.upstream.script("m", [f"You are {address}, DE89 3704 0044 0532 0130 00"])
        reply = await w.say(expect=200, stream=stream)
        assert address in reply.text
        assert address.encode() in w.talk.upstream.requests[0].body
        told = await w.told(1)
        leaks.check(told)
        assert "tidegate.attempt.revealed" in told["spans"]


# --- tidegate check


def report(config: dict[str, Any], base: Path) -> tuple[list[str], list[str]]:
    class At:
        base_url = "http://127.0.0.1:9/v1"

    value = {"version": 1, **config, "providers": config["providers"](At, At), "telemetry": {"log": "off"}}
    made = configuration.of_value(value, base)
    whole = check_command.report_of(made)
    told = "\n".join(check_command.text_of(whole))
    lines, warned = trust.originals(made, "default"), trust.warnings(made)
    assert all(f"  trust: {line}" in told for line in lines)
    assert set(warned) <= set(whole["warnings"])
    return lines, warned


def test_check_says_who_sees_originals(tmp_path: Path) -> None:
    """Each model of the route with its provider; and what is mixed, or of no use."""
    lines, warned = report(sections(["in"], on_failure=["outside"]), tmp_path)
    assert lines == [
        "originals of mail: sent to m (in), inside (in)",
        "masked, whatever was tried before: outside (out)",
    ]
    assert len(warned) == 1
    assert "masked again" in warned[0]
    config = sections(["out"])
    del config["models"]["inside"]
    lines, warned = report(config, tmp_path)
    assert lines[0] == "originals of mail: sent to no target"
    assert [line.split(":")[0] for line in warned] == ["guardrails.mail.internal"]
    config["guardrails"]["mail"]["internal"] = "mask"
    assert report(config, tmp_path) == ([], [])
