"""A copy of the request goes to another model after the answer, and the client can tell in no way."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from gateway.configuring.problems import ConfigError
from gateway.core.receipt import Receipt
from gateway.faults.steps import DONE, HANG, HEAD, Finish, Text, Usage
from gateway.pipeline.shadowing import MOST
from tests.dialogue.test_queue import keys
from tests.fixtures.gateway import Converse, Talk
from tests.fixtures.raw_client import Left, RawClient, asking, post, until

EMAIL = "ann@example.com"
MASKS = {"private": {"use": "pii", "on": ["input", "output"], "action": "mask", "restore": True,
                     "entities": ["EMAIL_ADDRESS"], "on_error": "closed", "deadline": "1s"}}  # fmt: skip


def shadowed(share: float = 1.0, **fields: Any) -> dict[str, Any]:
    """Model `m`, whose shadow is `spare`, at the other server."""
    return {
        "m": {"targets": [{"provider": "up", "model": "m"}], "shadow": {"model": "spare", "share": share}, **fields}
    }


async def both(t: Talk) -> tuple[Receipt, Receipt]:
    """The client's receipt and its shadow's, in whichever order they came."""
    one, other = await t.receipt(), await t.receipt()
    return (one, other) if other.route == "shadow" else (other, one)


@pytest.mark.parametrize("stream", [False, True])
async def test_another_model_gets_a_copy(talk: Converse, stream: bool) -> None:
    """The same request, after the answer; its receipt is its own and each names the other."""
    price = {"input": 1000.0, "output": 1000.0}
    models = {**shadowed(), "spare": {"targets": [{"provider": "two", "model": "next"}], "price": price}}
    async with talk(models=models) as t, Left(t):
        t.upstream.script("m", ["first"])
        t.spare.script("next", [HEAD, Text("second"), Finish(), Usage(prompt=10, completion=2), DONE])
        reply = await t.ask("hi", stream=stream, temperature=0.5)
        assert (reply.text, reply.header("attempts")) == ("first", "1")
        own, shadow = await both(t)
        assert (own.shadow, shadow.tags) == (shadow.id, (f"parent={own.id}",))
        assert shadow.trace_id == own.trace_id
        (attempt,) = shadow.attempts
        assert (attempt.why, attempt.outcome, attempt.cost_usd) == ("shadow", "ok", pytest.approx(0.012))
        assert (shadow.outcome, shadow.served_model, own.cost_usd) == ("ok", "spare", None)
        sent = json.loads(t.spare.requests[0].body)
        assert (sent["model"], sent["messages"], sent["temperature"]) == ("next", t.sent()["messages"], 0.5)


async def test_it_waits_for_the_answer_and_nobody_waits_for_it(talk: Converse) -> None:
    """Nothing is sent before the client has everything; a shadow that hangs delays nobody, and does not outlive the process."""
    async with talk(models=shadowed()) as t:
        gate = asyncio.Event()
        t.upstream.script("m", ["Hel", gate, "lo"])
        t.spare.script("m", [HANG])
        async with RawClient(t.url) as client:
            await client.send(post(asking(stream=True)))
            await client.until(b"Hel")
            assert t.spare.requests == []
            gate.set()
            await client.until(b"[DONE]")
        assert (await t.receipt()).outcome == "ok"
        await t.spare.received(1)
        assert (await t.ask("again")).text == "Hello"
        assert len(t.gateway.shadows) == 2
    assert [r.outcome for r in t.ledger.all if r.route == "shadow"] == ["client_gone"] * 2


async def test_a_shadow_that_fails_is_nobodys_failure(talk: Converse) -> None:
    """It has its retries and its receipt says how it ended."""
    async with talk(models=shadowed()) as t, Left(t):
        t.upstream.script("m", ["first"])
        t.spare.reply("m", 400, {"error": {"message": "no"}})
        assert (await t.ask("hi")).status == 200
        own, shadow = await both(t)
        assert (own.outcome, shadow.outcome, shadow.error) == ("ok", "upstream_error", "upstream_rejected")


@pytest.mark.parametrize(("trust", "seen"), [("external", "[[EMAIL_ADDRESS_1]]"), ("internal", EMAIL)])
async def test_a_shadow_sees_what_its_trust_allows(talk: Converse, trust: str, seen: str) -> None:
    """Masked text, whatever the first model was shown; originals only inside the house and where the route says so."""

    def providers(_up: Any, spare: Any) -> dict[str, Any]:
        return {"two": {"type": "openai-compatible", "base_url": spare.base_url, "trust": trust}}

    checks = {"private": {**MASKS["private"], "internal": "original"}}
    routes = {"default": {"guardrails": ["private"]}}
    async with talk(models=shadowed(), providers=providers, guardrails=checks, routes=routes) as t, Left(t):
        t.upstream.script("m", ["first"])
        t.spare.script("m", ["second"])
        await t.ask(f"I am {EMAIL}")
        own, shadow = await both(t)
        assert EMAIL not in t.upstream.requests[0].body.decode()
        assert seen in t.spare.requests[0].body.decode()
        assert shadow.attempts[0].revealed == (trust == "internal")
        assert EMAIL not in str(own) + str(shadow)


async def test_it_is_a_sample(talk: Converse) -> None:
    """Of as many requests as the share says; the rest has none."""
    async with talk(models=shadowed(share=0.5)) as t, Left(t):
        t.upstream.script("m", ["first"])
        t.spare.script("m", ["second"])
        for _ in range(40):
            await t.ask("hi")
        await until(lambda: t.gateway.spine.inflight == 0 and not len(t.gateway.shadows))
        assert 5 < len(t.spare.requests) < 35
        assert t.gateway.shadows.made == len(t.spare.requests)
        assert "tidegate_shadows_total" in (await t.http.get("/metrics")).text


async def test_no_answer_has_no_shadow(talk: Converse) -> None:
    """A cached answer, a refusal and a failure are not asked again; neither is a shadow itself."""
    models = {
        **shadowed(retry={"attempts": 1}),
        "spare": {"targets": [{"provider": "two", "model": "m"}], "shadow": {"model": "m", "share": 1.0}},
    }
    routes = {"default": {"cache": {"partition": "route", "exact": {"ttl": "1h"}}}}
    async with talk(models=models, routes=routes) as t, Left(t):
        t.upstream.script("m", ["first"])
        t.spare.script("m", ["second"])
        await t.ask("hi", temperature=0)
        await both(t)
        assert (await t.ask("hi", temperature=0)).header("cache") == "hit"
        t.upstream.reply("m", 400, {"error": {"message": "no"}})
        assert (await t.ask("other", temperature=0)).status == 400
        assert [(await t.receipt()).shadow for _ in range(2)] == ["", ""]
        assert (len(t.upstream.requests), len(t.spare.requests)) == (2, 1)


async def test_shadows_are_bounded_and_counted(talk: Converse) -> None:
    """When as many as may hang, further requests go without."""
    async with talk(models=shadowed()) as t:
        t.upstream.script("m", ["first"])
        t.spare.script("m", [HANG])
        for _ in range(MOST + 3):
            assert (await t.ask("hi")).text == "first"
        assert (t.gateway.shadows.made, t.gateway.shadows.dropped, len(t.gateway.shadows)) == (MOST, 3, MOST)


async def test_no_key_pays_for_it(talk: Converse, tmp_path: Path) -> None:
    """Neither its tokens nor its cost are on the account of who asked."""
    who = keys(tmp_path, ann="normal")
    async with talk(models=shadowed(), access={"keys": "keys.yaml"}) as t, Left(t):
        t.upstream.script("m", ["first"])
        t.spare.script("m", ["second"])
        await t.ask("hi", headers=who["ann"])
        own, shadow = await both(t)
        assert (own.tenant, shadow.tenant, shadow.key_id) == ("ann", "shadow", "shadow")
        assert (shadow.charges, shadow.priority) == ((), "low")


@pytest.mark.parametrize(
    ("shadow", "path"),
    [
        ({"model": "m", "share": 0.1}, "models.m.shadow.model"),
        ({"model": "nobody", "share": 0.1}, "models.m.shadow.model"),
        ({"model": "spare", "share": 0.0}, "models.m.shadow.share"),
        ({"model": "spare", "share": 1.5}, "models.m.shadow.share"),
    ],
)
async def test_a_shadow_that_makes_no_sense_is_an_error(talk: Converse, shadow: dict[str, Any], path: str) -> None:
    """Told by the key that is wrong."""
    with pytest.raises(ConfigError) as wrong:
        async with talk(models=shadowed(shadow=shadow)):
            pass
    assert [problem.path for problem in wrong.value.problems] == [path]


async def test_a_conversation_stays_on_its_arm(talk: Converse) -> None:
    """With `sticky: session` a canary's share is one of conversations; without, each request is drawn."""
    targets = [{"provider": "up", "model": "m", "weight": 3}, {"provider": "two", "model": "m", "weight": 1}]
    async with talk(models={"m": {"targets": targets, "sticky": "session"}}) as t, Left(t):
        t.upstream.script("m", ["old"])
        t.spare.script("m", ["new"])
        arms = {}
        for at in range(24):
            said = {(await t.ask("hi", headers={"x-tidegate-session": f"s{at}"})).text for _ in range(3)}
            assert len(said) == 1
            arms[at] = said.pop()
        assert 2 <= list(arms.values()).count("new") <= 14
        assert {(await t.ask("hi")).text for _ in range(60)} == {"old", "new"}
