"""What happens instead of an answer that a check stopped, over real sockets: each step, streamed and whole."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gateway import config as configuration
from gateway.configuring.problems import ConfigError
from gateway.faults.play import Play
from gateway.faults.steps import HANG
from guardrails.config import GuardrailConfig
from guardrails.describe import describe
from tests.fixtures.gateway import Converse, Reply, Talk, settings
from tests.fixtures.raw_client import until

STREAMS = pytest.mark.parametrize("stream", [False, True])
DIALECTS = pytest.mark.parametrize("dialect", ["openai", "anthropic", "gemini"])
BAD, GOOD, OTHER = "Project bluebird is on.", "Nothing to tell.", "Ask the others."


def sections(then: Any, **fields: Any) -> dict[str, Any]:
    """A model with a stand-in, and a check that looks at whole answers."""
    keys = (
        {"attempts": fields.pop("attempts", None)}
        if {"retry", "hedge"} & set([then] if isinstance(then, str) else then)
        else {}
    )
    price = {"input": 1.0, "output": 1000.0}
    check = {
        "use": "phrases", "on": ["output"], "deny": ["bluebird"], "action": "block", "stream": "full",
        "on_error": "closed", "then": then, **fields, **{name: value for name, value in keys.items() if value},
    }  # fmt: skip
    return {
        "models": {
            "m": {"targets": [{"provider": "up", "model": "m", "price": price}], "on_failure": ["spare"]},
            "spare": {"targets": [{"provider": "two", "model": "m", "price": price}]},
        },
        "guardrails": {"words": check},
        "routes": {"default": {"guardrails": ["words"]}},
    }


async def ask(t: Talk, dialect: str, stream: bool) -> Reply:
    if dialect == "openai":
        return await t.ask("hi", stream=stream)
    if dialect == "gemini":
        verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
        return await t.send({"contents": [{"parts": [{"text": "hi"}]}]}, f"/v1beta/models/m:{verb}")
    body = {"model": "m", "max_tokens": 99, "stream": stream, "messages": [{"role": "user", "content": "hi"}]}
    return await t.send(body, "/v1/messages")


async def story(t: Talk) -> list[tuple[str, str, str]]:
    return [(attempt.provider, attempt.why, attempt.outcome) for attempt in (await t.receipt()).attempts]


def good(reply: Reply, text: str) -> None:
    assert (reply.status, reply.text, reply.whole) == (200, text, True), reply.raw
    assert b"luebird" not in reply.raw


@STREAMS
@DIALECTS
async def test_the_model_is_asked_again(talk: Converse, dialect: str, stream: bool) -> None:
    """As often as the check says; the client reads one answer, and pays for each."""
    async with talk(**sections("retry", attempts=2)) as t:
        t.upstream.sequence("m", Play([BAD]), Play([BAD]), Play([GOOD]))
        reply = await ask(t, dialect, stream)
        good(reply, GOOD)
        assert reply.header("attempts") == "3"
        receipt = await t.receipt()
        assert [attempt.why for attempt in receipt.attempts] == ["first", "guardrail", "guardrail"]
        assert [attempt.outcome for attempt in receipt.attempts] == ["blocked", "blocked", "ok"]
        costs = [attempt.cost_usd for attempt in receipt.attempts if attempt.cost_usd]
        if not stream:  # a stream's usage is told only to those who ask for it
            assert len(costs) == 3
        assert receipt.cost_usd == (pytest.approx(sum(costs)) if costs else None)
        assert [verdict.action for verdict in receipt.verdicts] == ["block", "block", "allow"]


@STREAMS
@DIALECTS
async def test_two_are_asked_at_once(talk: Converse, dialect: str, stream: bool) -> None:
    """The first content counts; the other call is dropped, and is in the receipt."""
    async with talk(**sections("hedge")) as t:
        t.upstream.sequence("m", Play([BAD]), Play([HANG]), Play([GOOD]))
        good(await ask(t, dialect, stream), GOOD)
        told = await story(t)
        assert sorted(told) == [("up", "first", "blocked"), ("up", "guardrail", "cancelled"), ("up", "guardrail", "ok")]
        assert {await request.ended() for request in t.upstream.requests[1:]} == {"left", "finished"}


@STREAMS
@DIALECTS
async def test_the_next_model_is_asked(talk: Converse, dialect: str, stream: bool) -> None:
    """The one that stands in on failure."""
    async with talk(**sections("fallback")) as t:
        t.upstream.script("m", [BAD])
        t.spare.script("m", [OTHER])
        reply = await ask(t, dialect, stream)
        good(reply, OTHER)
        assert (reply.header("model"), reply.header("provider")) == ("spare", "two")
        assert await story(t) == [("up", "first", "blocked"), ("two", "guardrail", "ok")]


@STREAMS
@DIALECTS
async def test_a_stock_reply_is_an_ordinary_answer(talk: Converse, dialect: str, stream: bool) -> None:
    """After the tries before it: a 200, whole, that costs what the tries cost."""
    async with talk(**sections(["retry", "reply"], reply="I cannot say.")) as t:
        t.upstream.script("m", [BAD])
        reply = await ask(t, dialect, stream)
        good(reply, "I cannot say.")
        assert reply.header("guardrails") == "words=block:1,words=block:1"
        receipt = await t.receipt()
        assert (receipt.outcome, receipt.answer, receipt.usage, receipt.status) == ("ok", "canned", None, 200)
        assert [attempt.why for attempt in receipt.attempts] == ["first", "guardrail"]


@STREAMS
@DIALECTS
@pytest.mark.parametrize("words", [None, "A colleague will write to you."])
async def test_a_person_takes_over(talk: Converse, dialect: str, stream: bool, words: str | None) -> None:
    """The client is told, in words and in a header; the receipt says who and why."""
    fields = {"reply": words} if words else {}
    async with talk(**sections("handoff", handoff="press-office", **fields)) as t:
        t.upstream.script("m", [BAD])
        reply = await ask(t, dialect, stream)
        good(reply, words or "I am handing this over to press office.")
        assert reply.header("handoff") == "press-office"
        receipt = await t.receipt()
        assert (receipt.answer, receipt.handoff, receipt.handoff_reason) == ("handoff", "press-office", "check:words")


@STREAMS
@DIALECTS
async def test_what_passes_is_flagged(talk: Converse, dialect: str, stream: bool) -> None:
    """The answer goes out as it is, without a further call; the verdicts say that it should not have."""
    async with talk(**sections(["retry", "pass"])) as t:
        t.upstream.script("m", [BAD])
        reply = await ask(t, dialect, stream)
        assert (reply.status, reply.text, reply.whole) == (200, BAD, True)
        receipt = await t.receipt()
        assert [verdict.action for verdict in receipt.verdicts] == ["block", "block", "flag"]
        assert len(t.upstream.requests) == 2


@STREAMS
@DIALECTS
@pytest.mark.parametrize("then", ["block", ["retry", "block"], ["fallback"]])
async def test_with_nothing_left_it_is_refused(talk: Converse, dialect: str, stream: bool, then: Any) -> None:
    """A clean 400 in the client's dialect."""
    async with talk(**sections(then)) as t:
        t.upstream.script("m", [BAD])
        t.spare.script("m", [BAD])
        reply = await ask(t, dialect, stream)
        assert (reply.status, reply.events) == (400, [])
        assert b"luebird" not in reply.raw
        assert (await t.receipt()).outcome == "refused"


LATE = "All is well so far, and will be. " * 20


@pytest.mark.parametrize("then", ["retry", "hedge", "fallback", "reply", "handoff", "pass"])
async def test_after_the_first_words_it_is_too_late(talk: Converse, then: str) -> None:
    """A check that lets a stream go by and by ends it where it must; only a person can still be told."""
    fields = {"reply": {"reply": "Sorry."}, "handoff": {"handoff": "people"}}.get(then, {})
    async with talk(**sections(then, **{**fields, "stream": "hold"})) as t:
        gate = asyncio.Event()
        t.upstream.script("m", [LATE, gate, BAD])
        t.spare.script("m", [OTHER])

        async def see() -> Reply:
            return await t.ask("hi", stream=True)

        asking = asyncio.create_task(see())
        await t.upstream.received(1)
        gate.set()
        reply = await asking
        assert (reply.status, reply.finish) == (200, "content_filter")
        assert reply.text.startswith(LATE.strip())
        assert "bluebird" not in reply.text
        receipt = await t.receipt()
        assert [attempt.outcome for attempt in receipt.attempts] == ["blocked"]
        assert (receipt.outcome, receipt.handoff) == ("refused", "people" if then == "handoff" else "")


async def test_a_stopped_answer_of_a_stream_may_be_replaced_before_its_first_words(talk: Converse) -> None:
    """Also by a check that would have let it go by and by."""
    async with talk(**sections("retry", stream="hold")) as t:
        t.upstream.sequence("m", Play(["Blue", "bird"]), Play([GOOD]))
        reply = await t.ask("hi", stream=True)
        good(reply, GOOD)


@STREAMS
async def test_two_checks_have_each_their_own_steps(talk: Converse, stream: bool) -> None:
    """One asks again for what it stops, the other hands over what it stops."""
    config = sections(["retry"])
    second = {"use": "phrases", "on": ["output"], "deny": ["heron"], "action": "block", "stream": "full"}
    config["guardrails"]["birds"] = {**second, "on_error": "closed", "then": "handoff", "handoff": "people"}
    config["routes"]["default"]["guardrails"] = ["words", "birds"]
    async with talk(**config) as t:
        t.upstream.sequence("m", Play([BAD]), Play(["A heron."]))
        reply = await t.ask("hi", stream=stream)
        assert reply.header("handoff") == "people"
        assert (await t.receipt()).handoff_reason == "check:birds"


@STREAMS
async def test_a_replacement_is_not_kept(talk: Converse, stream: bool) -> None:
    """A stock reply is no answer of the model: the next one asks it again."""
    config = sections("reply", reply="Sorry.")
    config["routes"]["default"]["cache"] = {"exact": {"ttl": "1h"}}
    async with talk(**config) as t:
        t.upstream.sequence("m", Play([BAD]), Play([GOOD]))
        good(await t.ask("hi", stream=stream), "Sorry.")
        await t.gateway.caches.writer.drained()
        good(await t.ask("hi", stream=stream), GOOD)


@pytest.mark.parametrize("then", ["reply", "retry", "pass"])
async def test_who_waits_for_such_an_answer_is_not_kept_waiting(talk: Converse, then: str) -> None:
    """Identical requests under way wait for one; what is told instead, or let pass, is nobody else's, so then each asks
    for itself. One that the model gave when asked again is as good as any."""
    config = sections(then, **({"reply": "Sorry."} if then == "reply" else {}))
    config["routes"]["default"]["cache"] = {"exact": {"ttl": "1h"}}
    async with talk(**config) as t:
        gate = asyncio.Event()
        t.upstream.sequence("m", Play([gate, BAD]), Play([GOOD]))
        tasks = [asyncio.create_task(t.ask("hi")) for _ in range(3)]
        await until(lambda: t.gateway.caches.stats()["default.coalescing"]["followers"] == 2)
        gate.set()
        texts = sorted(reply.text for reply in await asyncio.gather(*tasks))
        expected = {"reply": [GOOD, GOOD, "Sorry."], "retry": [GOOD] * 3, "pass": [GOOD, GOOD, BAD]}
        assert texts == sorted(expected[then])
        assert t.gateway.caches.stats()["default.coalescing"]["flights"] == 0


# --- the configuration


def check(**fields: Any) -> GuardrailConfig:
    return GuardrailConfig(use="phrases", on=["output"], deny=["bluebird"], on_error="closed", **fields)


def test_check_says_when_a_step_comes_too_late() -> None:
    """Of a whole answer none does; of a stream every one after the first words, unless it is held to its end."""
    late = "only until the first words are out"
    for stream, delivery, expected in (("hold", "stream", True), ("full", "stream", False), ("hold", "whole", False)):
        (line,) = describe({"c": check(stream=stream, then=["retry", "pass"], attempts=2)}, ["c"], delivery)  # type: ignore[arg-type]
        assert "then retry up to 2 times, pass" in line.acts
        assert (late in line.acts) == expected


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({"then": "retry", "action": "flag"}, "then"),
        ({"then": "retry", "action": "mask"}, "then"),
        ({"then": ["pass", "retry"]}, "then"),
        ({"then": "reply"}, "reply"),
        ({"internal": "original"}, "internal"),
        ({"internal": "mask", "action": "mask"}, "internal"),
    ],
)
def test_steps_that_mean_nothing_are_errors(tmp_path: Path, fields: dict[str, Any], key: str) -> None:
    """Told by the key that is wrong."""

    class At:
        base_url = "http://127.0.0.1:9/v1"

    given = {
        "use": "phrases",
        "on": ["output"],
        "deny": ["bluebird"],
        "action": "block",
        "on_error": "closed",
        **fields,
    }
    with pytest.raises(ConfigError) as caught:
        configuration.of_value(settings(At, At, guardrails={"words": given}), tmp_path)  # type: ignore[arg-type]
    assert f"guardrails.words.{key}" in [problem.path for problem in caught.value.problems]
