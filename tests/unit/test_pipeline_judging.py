"""A check's question as an exchange of its own: one receipt however it ends, and nothing of it left open."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from gateway.core.clock import ManualClock
from gateway.core.errors import StreamCut, UnknownModel, UpstreamFailed, UpstreamRejected
from gateway.core.events import ChoiceFinished, Finished, Reasoning, Started, Text, Usage
from gateway.core.exchange import Exchange, Principal
from gateway.core.plan import ModelPlan, Plan, Target
from gateway.core.receipt import Receipt
from gateway.pipeline.aftermath import Aftermath
from gateway.pipeline.dispatch import Dispatcher
from gateway.pipeline.judging import RouteJudge
from tests.fixtures.spine_world import DIALECTS, Kept, MemoryUpstream, Wire, World, turns


def says(*pieces: Any) -> Wire:
    events = [Text(piece) if isinstance(piece, str) else piece for piece in pieces]
    return Wire([Started("c", "m", 1), *events, Usage(7, 3), ChoiceFinished("stop"), Finished()])


class Bench:
    """A judge whose alias `fast` falls back on `spare`."""

    def __init__(self, fast: Sequence[Wire], spare: Sequence[Wire] = ()) -> None:
        self.fast, self.spare = MemoryUpstream("fast", fast), MemoryUpstream("spare", spare or [says("spare")])
        self.crashes: list[BaseException] = []
        self._kept = Kept()
        self._aftermath = Aftermath([self._kept])
        chain = [
            ModelPlan(alias=name, targets=(Target(provider=name, model="m"),), attempts=1) for name in ("fast", "spare")
        ]
        dispatcher = Dispatcher({"fast": self.fast, "spare": self.spare})  # type: ignore[dict-item]
        self.judge = RouteJudge(
            {"fast": Plan(models=tuple(chain))}.get,
            dispatcher,
            DIALECTS["openai"],
            self._aftermath,
            cost=lambda usage, target: 0.5 if usage else None,
            crashed=lambda exchange, error: self.crashes.append(error),
        )

    async def ask(
        self, exchange: Exchange | None = None, model: str = "fast", tokens: int = 64, seconds: float = 5.0
    ) -> str:
        return await self.judge.ask(exchange or parent(), model, "Judge.", "the text", tokens=tokens, seconds=seconds)

    async def receipts(self) -> list[Receipt]:
        await self._aftermath.drain()
        return self._kept.all


def parent(**fields: Any) -> Exchange:
    exchange = World([]).exchange(**fields)
    exchange.principal = Principal(key_id="k1", tenant="acme")
    exchange.user, exchange.tags, exchange.charges = "u1", ("blue",), ["key:k1:tpm"]
    return exchange


async def test_the_visible_words_are_the_answer() -> None:
    """What the model thought is not what it said; the receipt tells what that cost whom."""
    bench = Bench([says(Reasoning("hmm"), '{"answer"', ': "no"}', Text("other", 1))])
    exchange = parent()
    assert await bench.ask(exchange) == '{"answer": "no"}'
    (told,) = await bench.receipts()
    assert (told.route, told.outcome, told.status, told.model, told.served_model) == (
        "judge",
        "ok",
        200,
        "fast",
        "fast",
    )
    assert (told.tenant, told.key_id, told.user, told.charges) == ("acme", "k1", "u1", ("key:k1:tpm",))
    assert told.tags == ("blue", f"parent={exchange.id}")
    assert (told.trace_id, told.parent_span_id) == (exchange.trace.trace_id, exchange.trace.span_id)
    assert told.span_id != exchange.trace.span_id
    assert told.id != exchange.id
    assert told.cost_usd == 0.5
    assert (exchange.cost_usd, exchange.attempts, exchange.verdicts) == (None, [], [])


async def test_the_aliass_fallbacks_are_asked_in_turn() -> None:
    """What the first began to say is forgotten."""
    cut = Wire([Started("c", "m", 1), Text('{"answer": "yes"}')], UpstreamFailed("cut"))
    bench = Bench([cut], [says('{"answer": "no"}')])
    assert await bench.ask() == '{"answer": "no"}'
    (told,) = await bench.receipts()
    assert (told.outcome, told.served_model) == ("ok", "spare")
    assert [attempt.why for attempt in told.attempts] == ["first", "fallback"]


@pytest.mark.parametrize(
    ("wires", "fault", "outcome", "error"),
    [
        ([Wire(refuse=UpstreamFailed("no"))], UpstreamFailed, "upstream_error", "upstream_failed"),
        ([Wire(refuse=UpstreamRejected("no"))], UpstreamRejected, "upstream_error", "upstream_rejected"),
    ],
)
async def test_a_call_that_failed_is_told_and_raised(wires: list[Wire], fault: type, outcome: str, error: str) -> None:
    """By the fault of the last try."""
    bench = Bench(wires, wires)
    with pytest.raises(fault):
        await bench.ask()
    (told,) = await bench.receipts()
    assert (told.outcome, told.error, told.status) == (outcome, error, 0)
    assert bench.crashes == []


async def test_an_answer_that_broke_off_is_no_answer() -> None:
    """Half an object might read as a whole one."""
    cut = Wire([Started("c", "m", 1), Text('{"answer": "no"}')], StreamCut("It broke off."))
    bench = Bench([cut], [cut])
    with pytest.raises(StreamCut):
        await bench.ask()
    (told,) = await bench.receipts()
    assert (told.outcome, told.error) == ("cut", "stream_cut")


async def test_a_bug_is_reported_once() -> None:
    """As the spine does for a client's exchange."""
    bench = Bench([Wire(ZeroDivisionError())], [Wire(ZeroDivisionError())])
    with pytest.raises(Exception, match="gateway failed"):
        await bench.ask()
    (told,) = await bench.receipts()
    assert (told.outcome, told.error) == ("gateway_error", "internal")
    assert [type(crash) for crash in bench.crashes] == [ZeroDivisionError]


async def test_a_model_that_hangs_is_given_up() -> None:
    """After the seconds given; its call is closed, and the receipt says why."""
    bench = Bench([Wire(1_000_000)])
    with pytest.raises(TimeoutError):
        await bench.ask(seconds=0.02)
    (told,) = await bench.receipts()
    assert (told.outcome, told.error) == ("gateway_error", "deadline_exceeded")
    assert [attempt.outcome for attempt in told.attempts] == ["cancelled"]
    assert bench.fast.open_replies == 0


async def test_a_question_ends_with_the_request_it_is_about() -> None:
    """However long the check would give it."""
    bench = Bench([Wire(1_000_000)])
    with pytest.raises(TimeoutError):
        await bench.ask(parent(timeout=0.02), seconds=60.0)
    (told,) = await bench.receipts()
    assert told.error == "deadline_exceeded"


async def test_one_receipt_and_nothing_open_whenever_it_is_cancelled() -> None:
    """At every turn of the event loop from the first to the last."""
    seen = set()
    for moment in range(40):
        bench = Bench([Wire(refuse=UpstreamFailed("no"), delay=3)], [says("a", "b")])
        task = asyncio.create_task(bench.ask())
        await turns(moment)
        task.cancel()
        (result,) = await asyncio.gather(task, return_exceptions=True)
        receipts = await bench.receipts()
        began = bench.fast.calls > 0 or bool(receipts)
        assert len(receipts) == (1 if began else 0), moment
        assert bench.fast.open_replies == bench.spare.open_replies == 0
        if isinstance(result, asyncio.CancelledError) and began:
            assert receipts[0].outcome == "client_gone"
        elif began:
            assert receipts[0].outcome == "ok"
        seen.update(receipt.outcome for receipt in receipts)
    assert seen == {"client_gone", "ok"}


async def test_a_model_that_ignores_its_limit_fills_no_memory() -> None:
    """What is kept of its words is bounded by the tokens it was given."""
    bench = Bench([says(*["word " * 100] * 50)])
    assert len(await bench.ask(tokens=16)) == 16 * 16


async def test_an_alias_that_is_not_there() -> None:
    """Found when the configuration is read; here it is a fault like any other."""
    bench = Bench([says("x")])
    with pytest.raises(UnknownModel):
        await bench.ask(model="nobody")
    assert await bench.receipts() == []


async def test_a_clock_that_stands_still_is_no_reason_to_fail() -> None:
    """Times are the asking exchange's clock."""
    bench = Bench([says("fine")])
    exchange = parent()
    exchange.clock = ManualClock()
    exchange.deadline = int(60e9)
    assert await bench.ask(exchange) == "fine"
