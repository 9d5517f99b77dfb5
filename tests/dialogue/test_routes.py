"""A route decides by what the user wants: an answer that needs no model, a question back, a team, or a model."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gateway.admission.config import KeyEntry, KeyFile
from gateway.admission.keyring import hash_of, new_key, write_key_file
from gateway.core.ports import Embed
from gateway.core.receipt import Receipt
from tests.fixtures.gateway import Converse, Reply, Talk
from tests.fixtures.raw_client import CHAT, MESSAGES, Left
from tests.fixtures.support import BETWEEN, EXAMPLES, THEN

DIALECTS = pytest.mark.parametrize("path", [CHAT, MESSAGES])
STREAMS = pytest.mark.parametrize("stream", [False, True])
MODELS = {"smart": {"targets": [{"provider": "up", "model": "smart-1"}], "on_failure": ["spare"]}}
PASSWORD = "I can't remember my password, help me set another one"
CRASH = "the application crashes at startup since the update"


def desk(**fields: Any) -> dict[str, Any]:
    """The sections of a gateway with a support route. Its budget is long, because test machines are busy."""
    intents = {"examples": EXAMPLES, "then": THEN, "budget": "5s", **fields}
    return {"models": MODELS, "routes": {"support": {"match": {"models": ["support"]}, "intents": intents}}}


async def warm(t: Talk, *texts: str) -> None:
    """Embeds without the gateway's own deadline for it: a busy machine is not what these tests are about."""
    embed = t.gateway.encoders.local
    assert embed is not None
    for text in texts:
        async with asyncio.timeout(30):
            while True:
                try:
                    await embed.embed([text])
                    break
                except TimeoutError:
                    continue


async def say(t: Talk, *turns: str, path: str = CHAT, stream: bool = False, **fields: Any) -> Reply:
    """A conversation whose turns are the user's and the assistant's by turns."""
    roles = ("user", "assistant")
    messages = [{"role": roles[at % 2], "content": text} for at, text in enumerate(turns)]
    body = {"model": "support", "messages": messages, "max_tokens": 99, "stream": stream, **fields}
    return await t.send(body, path)


async def without_a_model(t: Talk, reply: Reply, kind: str, intent: str) -> Receipt:
    """An ordinary, whole 200 for which nobody was called and nothing is billed."""
    assert (reply.status, reply.whole) == (200, True)
    assert (reply.header("intent"), reply.header("route")) == (intent, "support")
    assert reply.header("provider") is None
    assert t.upstream.requests == t.spare.requests == []
    receipt = await t.receipt()
    assert (receipt.outcome, receipt.status, receipt.answer, receipt.intent) == ("ok", 200, kind, intent)
    assert (receipt.attempts, receipt.cost_usd, receipt.usage, receipt.degraded) == ((), None, None, ())
    return receipt


@DIALECTS
@STREAMS
async def test_a_known_question_has_its_answer(talk: Converse, minilm_dir: Path, path: str, stream: bool) -> None:
    """A canned answer is an ordinary completion in the client's dialect, and no upstream is called."""
    async with talk(**desk()) as t, Left(t):
        await warm(t, PASSWORD)
        reply = await say(t, PASSWORD, path=path, stream=stream)
        assert reply.text == THEN["reset_password"]["answer"]
        receipt = await without_a_model(t, reply, "canned", "reset_password")
        assert receipt.stream is stream
        assert receipt.intent_score is not None
        assert receipt.intent_score > 0.5


@DIALECTS
@STREAMS
async def test_a_handover_names_the_team(talk: Converse, minilm_dir: Path, path: str, stream: bool) -> None:
    """The application reads who takes over in a header; the user reads a sentence."""
    async with talk(**desk()) as t:
        question = "my invoice has a mistake and I want my money back"
        await warm(t, question)
        reply = await say(t, question, path=path, stream=stream)
        assert reply.header("handoff") == "billing-team"
        assert reply.text == "I am handing this over to billing team."
        await without_a_model(t, reply, "handoff", "billing_error")


@DIALECTS
@STREAMS
async def test_other_topics_are_out_of_scope(talk: Converse, minilm_dir: Path, path: str, stream: bool) -> None:
    """What the desk is not for gets the out-of-scope answer, and no model is bothered with it."""
    async with talk(**desk()) as t:
        await warm(t, "write me a poem about the sea")
        reply = await say(t, "write me a poem about the sea", path=path, stream=stream)
        assert reply.text == THEN["out_of_scope"]["answer"]
        await without_a_model(t, reply, "canned", "out_of_scope")


@DIALECTS
@STREAMS
async def test_an_unclear_question_is_asked_back_once(
    talk: Converse, minilm_dir: Path, path: str, stream: bool
) -> None:
    """Between two intents it asks which; the reply is understood; and it never asks twice in one conversation."""
    async with talk(**desk(margin=1.0)) as t:
        again = "my page shows a charge with an error in it"
        await warm(t, BETWEEN, again, f"{BETWEEN}\n{again}")
        asked = await say(t, BETWEEN, path=path, stream=stream)
        assert asked.text.startswith("Do you mean ")
        await without_a_model(t, asked, "clarify", "unclear")

        picked = await say(t, BETWEEN, "Do you mean technical or reset password?", "the second one", path=path)
        assert picked.text == THEN["reset_password"]["answer"]
        await without_a_model(t, picked, "canned", "reset_password")

        t.upstream.script("smart-1", ["Let me look at that."])
        reply = await say(t, BETWEEN, asked.text, again, path=path, stream=stream)
        assert reply.text == "Let me look at that."
        assert (reply.header("intent"), reply.header("model")) == ("unclear", "smart")
        assert len(t.upstream.requests) == 1


@DIALECTS
@STREAMS
async def test_an_intent_chooses_the_model(talk: Converse, minilm_dir: Path, path: str, stream: bool) -> None:
    """A technical question goes to `smart`; the client still sees the name that it asked for."""
    async with talk(**desk()) as t, Left(t):
        await warm(t, CRASH)
        t.upstream.script("smart-1", ["Try ", "again."])
        reply = await say(t, CRASH, path=path, stream=stream)
        assert (reply.status, reply.text, reply.whole) == (200, "Try again.", True)
        assert (reply.header("intent"), reply.header("model")) == ("technical", "smart")
        assert (reply.header("provider"), reply.header("upstream-model")) == ("up", "smart-1")
        assert t.sent()["model"] == "smart-1"
        named = reply.events[0].get("model") or reply.events[0]["message"]["model"] if stream else reply.body["model"]
        assert named == "support"
        receipt = await t.receipt()
        assert (receipt.model, receipt.served_model, receipt.intent) == ("support", "smart", "technical")
        assert (receipt.answer, len(receipt.attempts)) == ("generated", 1)


async def test_the_chosen_model_has_its_fallback(talk: Converse, minilm_dir: Path) -> None:
    """A model that an intent chose falls back as if it had been asked for."""
    async with talk(**desk()) as t:
        await warm(t, CRASH)
        t.upstream.sequence("smart-1", "503")
        t.spare.script("m", ["from spare"])
        reply = await say(t, CRASH)
        assert (reply.text, reply.header("model")) == ("from spare", "spare")


async def test_a_verbatim_example_needs_no_encoder(talk: Converse, minilm_dir: Path) -> None:
    """What is typed just as an example stands is known without embedding anything."""
    async with talk(**desk()) as t:
        t.gateway.encoders.local.close()  # type: ignore[union-attr]
        reply = await say(t, "i forgot my password!")
        assert reply.text == THEN["reset_password"]["answer"]
        await without_a_model(t, reply, "canned", "reset_password")


@STREAMS
async def test_an_overloaded_encoder_costs_the_intent_and_not_the_answer(
    talk: Converse, minilm_dir: Path, stream: bool
) -> None:
    """With the encoder's queue full the default model answers, and a header, the receipt and a metric say what was skipped."""
    async with talk(**desk(budget="20ms")) as t:
        t.upstream.script("smart-1", ["I am here."])
        async with Crowd(t.gateway.encoders.local):
            reply = await say(t, PASSWORD, stream=stream)
        assert (reply.status, reply.text) == (200, "I am here.")
        assert (reply.header("degraded"), reply.header("intent")) == ("intent_router", None)
        receipt = await t.receipt()
        assert (receipt.degraded, receipt.outcome) == (("intent_router",), "ok")
        assert 'tidegate_degraded_total{what="intent_router"} 1.0' in (await t.http.get("/metrics")).text


async def test_a_broken_encoder_is_no_failure(talk: Converse, minilm_dir: Path) -> None:
    """An encoder that cannot answer at all degrades the route, and the gateway goes on."""
    async with talk(**desk()) as t:
        t.upstream.script("smart-1", ["still here"])
        t.gateway.encoders.local.close()  # type: ignore[union-attr]
        reply = await say(t, PASSWORD)
        assert (reply.text, reply.header("degraded")) == ("still here", "intent_router")


async def test_a_model_in_the_middle_of_its_work_is_not_cut_off(talk: Converse, minilm_dir: Path) -> None:
    """After a tool's result no canned answer is put in, whatever the user had asked."""
    async with talk(**desk()) as t:
        t.upstream.script("smart-1", ["found it"])
        call = {"id": "1", "type": "function", "function": {"name": "look_up", "arguments": "{}"}}
        messages = [
            {"role": "user", "content": "I forgot my password"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "1", "content": "found"},
        ]
        reply = await t.send({"model": "support", "messages": messages})
        assert (reply.text, reply.header("intent")) == ("found it", "reset_password")


async def test_other_models_are_not_routed(talk: Converse, minilm_dir: Path) -> None:
    """A route serves the names that it matches; others have no intent, whatever is said."""
    async with talk(**desk()) as t:
        t.upstream.script("m", ["plain"])
        reply = await t.ask(PASSWORD)
        assert (reply.text, reply.header("route"), reply.header("intent")) == ("plain", "default", None)


async def test_unknown_names_are_told_with_what_is_near(talk: Converse, minilm_dir: Path) -> None:
    """A route's own name is a model to clients: listed, suggested, and a 404 when it is misspelt."""
    async with talk(**desk()) as t:
        listed = (await t.http.get("/v1/models")).json()
        assert [model["id"] for model in listed["data"]] == ["m", "smart", "spare", "support"]
        reply = await t.ask("hi", model="suport")
        assert (reply.status, reply.error["code"], reply.error["param"]) == (404, "model_not_found", "model")
        assert "Did you mean 'support'?" in reply.error["message"]
        other = await t.send(
            {"model": "suport", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}, MESSAGES
        )
        assert (other.status, other.error["type"]) == (404, "not_found_error")
        assert t.upstream.requests == []


async def test_a_key_for_the_route_reaches_what_the_route_chooses(
    talk: Converse, minilm_dir: Path, tmp_path: Path
) -> None:
    """Who may use `support` gets the models behind it through it, and not by their own names."""
    key, id = new_key()
    write_key_file(tmp_path / "keys.yaml", KeyFile(keys=[KeyEntry(id=id, hash=hash_of(key), models=["support"])]))
    async with talk(**desk(), access={"keys": "keys.yaml"}) as t:
        await warm(t, CRASH)
        t.upstream.script("smart-1", ["through"])
        mine = {"authorization": f"Bearer {key}"}
        assert (await t.ask(CRASH, model="support", headers=mine)).text == "through"
        refused = await t.ask(CRASH, model="smart", headers=mine)
        assert (refused.status, refused.error["code"]) == (403, "permission_denied")
        misspelt = await t.ask(CRASH, model="smrt", headers=mine)
        assert misspelt.status == 404
        assert "smart" not in misspelt.error["message"]


async def test_usage_of_a_canned_answer_is_nothing(talk: Converse, minilm_dir: Path) -> None:
    """A client that asks for usage is told zero tokens."""
    async with talk(**desk()) as t:
        body = await say(t, "I forgot my password")
        assert body.body["usage"]["total_tokens"] == 0
        stream = await say(t, "I forgot my password", stream=True, stream_options={"include_usage": True})
        assert (stream.events[-1]["choices"], stream.events[-1]["usage"]["total_tokens"]) == ([], 0)


class Crowd:
    """Keeps an encoder busy: more questions than it can take, all the time, until the block ends."""

    def __init__(self, embed: Embed | None) -> None:
        assert embed is not None
        self._embed = embed
        self._count = 0

    async def __aenter__(self) -> Crowd:
        self._tasks = [asyncio.create_task(self._ask()) for _ in range(80)]
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _ask(self) -> None:
        while True:
            self._count += 1
            try:
                await self._embed.embed([f"{self._count} {at} " + "word " * 120 for at in range(8)])
            except TimeoutError:
                await asyncio.sleep(0.001)


async def test_the_application_is_told_what_to_do_next(talk: Converse, minilm_dir: Path) -> None:
    """By header and receipt: beside a canned answer, beside a model's, alone, and with the reason of a hand-over."""
    then = {
        "reset_password": {"answer": "Here.", "action": "send_link"},
        "billing_error": {"handoff": "billing-team", "reason": "money is involved", "action": "open_ticket"},
        "technical": {"action": "attach_log"},
    }
    async with talk(**desk(then=then, default="smart")) as t:
        await warm(t, PASSWORD, CRASH)
        t.upstream.script("smart-1", ["restart it"])
        for text, told, words in (
            (PASSWORD, "send_link", "Here."),
            ("I was charged twice", "open_ticket", "I am handing this over to billing team."),
            (CRASH, "attach_log", "restart it"),
        ):
            reply = await say(t, text)
            assert (reply.header("action"), reply.text) == (told, words)
            receipt = await t.receipt()
            assert receipt.action == told
            if receipt.handoff:
                assert reply.header("handoff-reason") == receipt.handoff_reason == "money is involved"
