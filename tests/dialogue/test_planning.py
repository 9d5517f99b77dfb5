"""Who is asked: only models that can do what the request needs, that it fits into, and no larger than it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.core.tokens import estimate
from gateway.dialects.registry import dialects
from tests.fixtures.gateway import Converse, Reply, Talk
from tests.fixtures.raw_client import CHAT, MESSAGES
from tests.fixtures.support import EXAMPLES

RESPONSES = "/v1/responses"
STREAMS = pytest.mark.parametrize("stream", [False, True])
HARD = (
    "Compare Postgres and MongoDB for a multi-tenant SaaS, analyse the trade-offs, and design a migration plan step by "
    "step, given these constraints: zero downtime and 2 TB of data."
)
IMAGE = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}


def one(provider: str, name: str, **fields: Any) -> dict[str, Any]:
    return {"targets": [{"provider": provider, "model": name}], **fields}


def route(models: list[str] | None = None, **fields: Any) -> dict[str, Any]:
    return {"default": fields} if models is None else {"own": {"match": {"models": models}, **fields}}


WINDOWS = {
    "m": one("up", "m", context_window=4096, on_failure=["tiny", "big"]),
    "tiny": one("up", "tiny", context_window=2048),
    "big": one("two", "big", context_window=32_768),
}


async def retrieve(t: Talk, words: int, **fields: Any) -> Reply:
    """A question of about 1,000 tokens, and what an application has retrieved for it in the same turn."""
    content = [{"type": "text", "text": "fact " * words}, {"type": "text", "text": "word " * 700}]
    body = {"model": "m", "max_tokens": 256, "messages": [{"role": "user", "content": content}], **fields}
    return await t.send(body)


# --- context windows


@STREAMS
async def test_a_long_prompt_goes_to_a_model_that_can_hold_it(talk: Converse, stream: bool) -> None:
    """1,000 tokens for a model of 4K, then 8,000 retrieved: the next model that can hold them is asked, nobody before it."""
    async with talk(models=WINDOWS, routes=route(context={"on_overflow": "reroute"})) as t:
        t.upstream.script("m", ["small"])
        t.spare.script("big", ["large"])
        assert (await retrieve(t, 100, stream=stream)).text == "small"
        reply = await retrieve(t, 5600, stream=stream)
        assert (reply.status, reply.text, reply.header("model")) == (200, "large", "big")
        assert len(t.upstream.requests) == 1
        await t.receipt()
        receipt = await t.receipt()
        assert receipt.left_out == ("m: context_window", "tiny: context_window")
        assert [attempt.why for attempt in receipt.attempts] == ["first"]


async def test_fallbacks_go_by_the_same_filter(talk: Converse) -> None:
    """When the first model fails, a fallback that could not hold the prompt is passed over."""
    async with talk(models=WINDOWS) as t:
        t.upstream.sequence("m", "503", "503")
        t.upstream.script("tiny", ["tiny"])
        t.spare.script("big", ["large"])
        reply = await t.ask("word " * 1700, max_tokens=100)
        assert (reply.text, reply.header("model")) == ("large", "big")
        assert {attempt.model for attempt in (await t.receipt()).attempts} == {"m", "big"}


@STREAMS
async def test_a_long_conversation_is_shortened_and_the_client_told(talk: Converse, stream: bool) -> None:
    """The oldest turns go, instructions and the latest question stay, and a header says what was left out."""
    async with talk(models=WINDOWS, routes=route(context={"on_overflow": "truncate", "keep": 2})) as t:
        t.upstream.script("m", ["short enough"])
        messages = [{"role": "system", "content": "Be brief."}]
        for at in range(10):
            messages += [
                {"role": "user", "content": f"question {at} " + "word " * 400},
                {"role": "assistant", "content": "ok"},
            ]
        messages.append({"role": "user", "content": "and now?"})
        reply = await t.send({"model": "m", "messages": messages, "max_tokens": 256, "stream": stream})
        assert (reply.status, reply.text, reply.header("model")) == (200, "short enough", "m")
        assert (reply.header("warning") or "").startswith("context: ")
        sent = t.sent()
        assert sent["messages"][0] == messages[0]
        assert sent["messages"][1:] == messages[-len(sent["messages"]) + 1 :]
        assert sent["messages"][-3]["content"].startswith("question 9")
        assert estimate(dialects()["openai"].read("chat", sent)) + 256 <= 4096
        assert (await t.receipt()).warnings[0].endswith("earlier messages left out")


@pytest.mark.parametrize("path", [CHAT, MESSAGES, RESPONSES])
async def test_a_refusal_has_the_numbers_in_each_dialect(talk: Converse, path: str) -> None:
    """400 `context_length_exceeded` with need and window, as each dialect says it, and nobody is called."""
    async with talk(models=WINDOWS, routes=route(context={"on_overflow": "reject"})) as t:
        text = "word " * 4000
        asked = {"input": text} if path == RESPONSES else {"messages": [{"role": "user", "content": text}]}
        most = {"max_output_tokens": 200} if path == RESPONSES else {"max_tokens": 200}
        reply = await t.send({"model": "m", **asked, **most}, path)
        assert reply.status == 400
        assert "4096 tokens" in reply.error["message"]
        if path == MESSAGES:
            assert reply.error["type"] == "invalid_request_error"
        else:
            assert (reply.error["code"], reply.error["param"]) == ("context_length_exceeded", next(iter(asked)))
        assert t.upstream.requests == t.spare.requests == []
        receipt = await t.receipt()
        assert (receipt.outcome, receipt.error) == ("client_error", "context_overflow")


async def test_unknown_windows_leave_it_to_the_upstream(talk: Converse) -> None:
    """Without a window of every model, nothing is counted and the upstream decides, as ever."""
    async with talk() as t:
        t.upstream.script("m", ["it fits"])
        assert (await t.ask("word " * 50_000)).text == "it fits"


# --- capabilities

ABLE = {
    "m": one("up", "m", capabilities=["tools"], on_failure=["eyes"]),
    "eyes": one("two", "eyes", capabilities=["tools", "vision"]),
    "plain": one("up", "plain", capabilities=[]),
}


@pytest.mark.parametrize("path", [CHAT, MESSAGES, RESPONSES])
@STREAMS
async def test_a_picture_reaches_a_model_that_sees(talk: Converse, path: str, stream: bool) -> None:
    """In every dialect, a model that says it cannot see is not asked about a picture."""
    async with talk(models=ABLE) as t:
        t.spare.script("eyes", ["a cat"])
        source = {"type": "url", "url": "https://example.com/a.png"}
        picture = {
            MESSAGES: {"type": "image", "source": source},
            RESPONSES: {"type": "input_image", "image_url": source["url"]},
        }
        turn = {"role": "user", "content": [picture.get(path, IMAGE)]}
        asked = {"input": [turn]} if path == RESPONSES else {"messages": [turn], "max_tokens": 99}
        reply = await t.send({"model": "m", "stream": stream, **asked}, path)
        assert (reply.status, reply.header("model")) == (200, "eyes")
        assert t.upstream.requests == []
        assert (await t.receipt()).left_out == ("m: vision",)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"logprobs": True}, "logprobs"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {}}}},
            "response_format.type",
        ),
        ({"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]}, "tools"),
        ({"n": 3}, "n"),
        ({"messages": [{"role": "user", "content": [IMAGE]}]}, "messages[0].content[0]"),
    ],
)
async def test_what_no_model_can_do_is_named(talk: Converse, fields: dict[str, Any], param: str) -> None:
    """400 that names the field; nobody is called, and a plain question is still answered."""
    async with talk(models=ABLE) as t:
        t.upstream.script("plain", ["hello"])
        body = {"model": "plain", "messages": [{"role": "user", "content": "hi"}]}
        reply = await t.send(body | fields)
        assert (reply.status, reply.error["code"], reply.error["param"]) == (400, "unsupported_parameter", param)
        assert t.upstream.requests == []
        assert (await t.send(body)).text == "hello"


async def test_a_provider_may_say_it_for_all_its_models(talk: Converse) -> None:
    """Capabilities of a provider hold for its models, and a model's own word is nearer."""

    def providers(upstream: Any, spare: Any) -> dict[str, Any]:
        return {"up": {"type": "openai-compatible", "base_url": upstream.base_url, "capabilities": []}}

    models = {"m": one("up", "m"), "more": one("up", "more", capabilities=["several_answers"])}
    async with talk(providers=providers, models=models) as t:
        t.upstream.script("more", ["yes"])
        assert (await t.ask("hi", n=2)).error["param"] == "n"
        assert (await t.ask("hi", n=2, model="more")).status == 200


# --- tiers


PRICED = {
    "fast": one("up", "fast-1", price={"input": 1.0, "output": 2.0}),
    "smart": one("two", "smart-1", price={"input": 10.0, "output": 20.0}),
}
TIERS = route(["auto"], tiers={"small": "fast", "large": "smart"}, baseline="smart")


@STREAMS
async def test_each_question_has_its_tier(talk: Converse, stream: bool) -> None:
    """An easy question goes to the small model, a hard one to the large; a header and the receipt say which and why."""
    async with talk(models=PRICED, routes=TIERS) as t:
        t.upstream.script("fast-1", ["easy"])
        t.spare.script("smart-1", ["hard"])
        for text, tier, model in (("hi there", "small", "fast"), (HARD, "large", "smart")):
            reply = await t.ask(text, model="auto", stream=stream)
            assert (reply.status, reply.header("tier"), reply.header("model")) == (200, tier, model)
            receipt = await t.receipt()
            assert (receipt.tier, receipt.served_model, receipt.model) == (tier, model, "auto")
            assert receipt.tier_score is not None
            assert (receipt.tier_score > 0.6) == (tier == "large")
        page = (await t.http.get("/metrics")).text
        assert 'tidegate_tiers_total{route="own",tier="large"} 1.0' in page


async def test_a_session_that_has_risen_stays(talk: Converse) -> None:
    """After a hard question the same session keeps the large model, another session does not."""
    async with talk(models=PRICED, routes=TIERS) as t:
        t.upstream.script("fast-1", ["easy"])
        t.spare.script("smart-1", ["hard"])
        seen = []
        for text, session in ((HARD, "one"), ("and in short?", "one"), ("and in short?", "two")):
            reply = await t.ask(text, model="auto", headers={"x-tidegate-session": session})
            seen.append(reply.header("tier"))
        assert seen == ["large", "large", "small"]


async def test_a_picture_rises_to_the_model_that_sees(talk: Converse) -> None:
    """What the small model says it cannot do is for the large one, however easy it looks."""
    models = {**PRICED, "fast": {**PRICED["fast"], "capabilities": []}}
    async with talk(models=models, routes=TIERS) as t:
        t.spare.script("smart-1", ["a cat"])
        reply = await t.send({"model": "auto", "messages": [{"role": "user", "content": [IMAGE]}]})
        assert (reply.text, reply.header("tier"), reply.header("model")) == ("a cat", "large", "smart")
        assert (await t.receipt()).left_out == ("fast: capabilities or context_window",)


# --- cost against the baseline


async def test_what_routing_saves_is_counted(talk: Converse) -> None:
    """Each exchange says what the baseline would have cost for the same tokens; metrics and console add them up."""
    async with talk(models=PRICED, routes=TIERS) as t:
        t.upstream.script("fast-1", ["easy"])
        t.spare.script("smart-1", ["hard"])
        spent = would = 0.0
        for text in ("hi there", HARD):
            await t.ask(text, model="auto")
            receipt = await t.receipt()
            assert receipt.cost_usd is not None
            assert receipt.baseline_usd is not None
            times = 10 if receipt.tier == "small" else 1
            assert receipt.baseline_usd == pytest.approx(times * receipt.cost_usd)
            spent, would = spent + receipt.cost_usd, would + receipt.baseline_usd
        page = (await t.http.get("/metrics")).text
        told = {line.split("{")[0]: float(line.split()[-1]) for line in page.splitlines() if 'route="own"}' in line}
        assert told["tidegate_baseline_usd_total"] == pytest.approx(would)
        assert told["tidegate_baseline_spent_usd_total"] == pytest.approx(spent)
        totals = t.gateway.recent.since(0)["totals"]
        assert (totals["baseline_usd"], totals["baseline_spent_usd"]) == pytest.approx((would, spent))


async def test_a_cached_answer_saves_all_of_it(talk: Converse) -> None:
    """An answer from the cache costs nothing, and the baseline would have cost its tokens."""
    routes = route(
        ["auto"], tiers={"small": "fast", "large": "smart"}, baseline="smart", cache={"exact": {"ttl": "1h"}}
    )
    async with talk(models=PRICED, routes=routes) as t:
        t.upstream.script("fast-1", ["easy"])
        await t.ask("hi there", model="auto", temperature=0)
        first = await t.receipt()
        reply = await t.ask("hi there", model="auto", temperature=0)
        assert reply.header("cache") == "hit"
        second = await t.receipt()
        assert (second.cost_usd, second.baseline_usd) == (None, pytest.approx(first.baseline_usd))


async def test_a_call_that_failed_is_not_compared(talk: Converse) -> None:
    """Nobody can say what an answer that never came would have cost."""
    async with talk(models=PRICED, routes=TIERS) as t:
        t.upstream.sequence("fast-1", "400")
        assert (await t.ask("hi there", model="auto")).status == 400
        assert (await t.receipt()).baseline_usd is None


async def test_intents_come_before_tiers(talk: Converse, minilm_dir: Path) -> None:
    """An intent's own model and its canned answer stand, whatever the tier; what no intent settles goes by tier; and a reply
    that needed no model is compared with the baseline too."""
    then = {
        "reset_password": {"answer": "You can reset it on the login page."},
        "technical": {"model": "smart"},
    }
    intents = {"examples": EXAMPLES, "then": then, "budget": "5s", "below": 0.0}
    routes = route(["auto"], intents=intents, tiers={"small": "fast", "large": "smart"}, baseline="smart")
    async with talk(models=PRICED, routes=routes) as t:
        t.upstream.script("fast-1", ["easy"])
        t.spare.script("smart-1", ["hard"])
        canned, technical, billing = (EXAMPLES[name][0] for name in ("reset_password", "technical", "billing_error"))
        seen = []
        for text in (canned, technical, billing):
            reply = await t.ask(text, model="auto")
            receipt = await t.receipt()
            assert receipt.baseline_usd is not None
            assert receipt.baseline_usd > (receipt.cost_usd or 0.0) or receipt.served_model == "smart"
            seen.append((receipt.intent, reply.header("tier"), receipt.answer, receipt.served_model))
        assert seen == [
            ("reset_password", None, "canned", ""),
            ("technical", None, "generated", "smart"),
            ("billing_error", "small", "generated", "fast"),
        ]
