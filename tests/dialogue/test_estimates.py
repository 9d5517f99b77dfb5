"""A call that is given up costs something too: it is guessed, said to be a guess, and never told as measured."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.core.receipt import Receipt
from gateway.core.tokens import LATIN_PER_TOKEN
from gateway.faults.steps import CLOSE, DONE, HANG, HEAD, Finish, Text, Usage
from tests.fixtures.gateway import Converse, Talk
from tests.fixtures.raw_client import Left, RawClient, asking, post, until

PROMPT = "word " * 70
PRICE = {"input": 1000.0, "output": 1000.0}
WHOLE = [HEAD, Text("ok"), Finish(), Usage(prompt=100, completion=20), DONE]


def priced(**fields: Any) -> dict[str, Any]:
    """Model `m`: first the upstream, then the spare."""
    targets = [{"provider": "up", "model": "m", "weight": 1}, {"provider": "two", "model": "m", "weight": 0}]
    return {"m": {"targets": targets, "price": PRICE, **fields}}


async def cost_page(t: Talk) -> dict[str, float]:
    await until(lambda: len(t.gateway.aftermath) == 0)
    page = (await t.http.get("/metrics")).text
    rows = [line.rpartition(" ") for line in page.splitlines() if line.startswith("tidegate_cost_")]
    return {
        name.partition('provider="')[2].partition('"')[0] + " " + name.partition("{")[0]: float(v)
        for name, _, v in rows
    }


async def test_a_hedge_that_lost_costs_what_it_was_sent(talk: Converse) -> None:
    """Its prompt counted here and nothing of an answer, beside the winner's measured cost, in receipt, header and metric."""
    async with talk(models=priced(hedge={"after": "20ms"})) as t, Left(t):
        t.upstream.script("m", [HEAD, HANG])
        t.spare.script("m", WHOLE)
        reply = await t.ask(PROMPT, stream=True)
        receipt = await t.receipt()
        lost, won = receipt.attempts
        assert (lost.outcome, lost.usage, lost.cost_usd) == ("cancelled", None, None)
        assert lost.estimated is not None
        assert lost.estimated.estimated
        assert 100 <= lost.estimated.input_tokens <= 120
        assert lost.estimated.output_tokens == 0
        assert (won.why, won.cause, won.estimated) == ("hedge", "no content after 0.02 s", None)
        assert receipt.cost_usd == won.cost_usd == pytest.approx(0.12)
        assert receipt.estimated_usd == lost.estimated_usd == pytest.approx(lost.estimated.input_tokens / 1000)
        assert reply.header("cost-estimated-usd") == f"{receipt.estimated_usd:.8f}"
        page = await cost_page(t)
        assert page["two tidegate_cost_usd_total"] == pytest.approx(0.12)
        assert "up tidegate_cost_usd_total" not in page
        assert page["up tidegate_cost_estimated_usd_total"] == pytest.approx(receipt.estimated_usd)


async def test_the_text_that_came_is_counted(talk: Converse) -> None:
    """Of a stream that a client leaves: what was sent to it, in whatever pieces."""
    async with talk(models=priced()) as t, Left(t):
        t.upstream.script("m", [HEAD, *[Text("four")] * 35, HANG])
        async with RawClient(t.url) as client:
            await client.send(post(asking(PROMPT, stream=True)))
            for _ in range(35):
                await client.until(b"four")
            client.leave()
            (attempt,) = (await t.receipt()).attempts
        assert attempt.estimated is not None
        assert attempt.estimated.output_tokens == 35 * 4 / LATIN_PER_TOKEN


async def test_what_was_told_stays_measured(talk: Converse) -> None:
    """The guess is only what goes beyond it: a prompt that was counted upstream is not counted again."""
    async with talk(models=priced(retry={"attempts": 1})) as t, Left(t):
        t.upstream.script("m", [HEAD, Usage(prompt=90, completion=1, unasked=True), Text("x" * 70), CLOSE])
        await t.ask(PROMPT, stream=True)
        receipt = await t.receipt()
        (attempt,) = receipt.attempts
        assert attempt.cost_usd == pytest.approx(0.091)
        assert attempt.estimated is not None
        assert (attempt.estimated.input_tokens, attempt.estimated.output_tokens) == (0, 70 / LATIN_PER_TOKEN - 1)
        assert (receipt.cost_usd, receipt.estimated_usd) == (pytest.approx(0.091), pytest.approx(0.019))


@pytest.mark.parametrize("fault", ["503", "400", "429-ms", "reset-before-headers"])
async def test_a_call_that_was_refused_costs_nothing(talk: Converse, fault: str) -> None:
    """As far as anybody can say: errors are not charged for."""
    async with talk(models=priced(retry={"attempts": 1})) as t, Left(t):
        t.upstream.sequence("m", fault)
        await t.ask(PROMPT)
        (attempt,) = (await t.receipt()).attempts
        assert (attempt.cost_usd, attempt.estimated) == (None, None)


@pytest.mark.parametrize("stream", [False, True])
async def test_an_upstream_that_was_too_slow_was_at_work(talk: Converse, stream: bool) -> None:
    """A time-out without a byte is an estimate of the prompt."""
    async with talk(models=priced(retry={"attempts": 1}, timeouts={"ttft": "80ms", "total": "90ms"})) as t, Left(t):
        t.upstream.script("m", [HANG])
        await t.ask(PROMPT, stream=stream)
        (attempt,) = (await t.receipt()).attempts
        assert attempt.estimated is not None
        assert attempt.estimated.input_tokens > 100


async def test_limits_and_totals_take_no_notice(talk: Converse) -> None:
    """What was guessed charges nobody's tokens."""
    async with talk(models=priced(), routes={"default": {"limits": {"tpm": 150}}}) as t, Left(t):
        t.upstream.script("m", [HANG])
        for _ in range(3):
            async with RawClient(t.url) as client:
                before = len(t.upstream.requests)
                await client.send(post(asking(PROMPT, stream=True)))
                await t.upstream.received(before + 1)
                client.leave()
                receipt: Receipt = await t.receipt()
            assert receipt.outcome == "client_gone"
        await asyncio.sleep(0)


async def test_explain_says_that_it_is_a_guess(talk: Converse) -> None:
    """In words, beside what is known."""
    from gateway.console.story import story

    async with talk(models=priced(hedge={"after": "20ms"})) as t, Left(t):
        t.upstream.script("m", [HEAD, HANG])
        t.spare.script("m", WHOLE)
        await t.ask(PROMPT, stream=True)
        told = "\n".join(story(await t.receipt()))
        assert "the call before was slow to begin (no content after 0.02 s)" in told
        assert "0 out, estimated, 0.1" in told
        assert "USD by estimate" in told
