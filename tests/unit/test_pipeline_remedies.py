"""What a check says is to be done about an answer it stopped: in order, counted, and only before anything is out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from gateway.core.answer import Answer, Handoff
from gateway.core.errors import UpstreamFailed
from gateway.core.events import Blocked, ChoiceFinished, Event, Finished, Remedy, Started, Text, Usage
from gateway.core.exchange import Exchange
from gateway.core.plan import Plan, Target
from gateway.core.ports import Session
from gateway.core.receipt import Receipt
from gateway.pipeline.remedies import MOST_CALLS
from tests.fixtures.spine_world import MemoryClient, MemoryUpstream, Passing, Wire, World
from tests.unit.test_pipeline_dispatch import Call, chain, model

START, STOP = Started("c", "m", 1), ChoiceFinished("stop")


def saying(text: str, *, usage: Usage | None = None, delay: int = 1) -> Wire:
    return Wire([START], [Text(text)], [STOP], *([[usage]] if usage else []), [Finished()], delay=delay)


BAD, GOOD = saying("bad"), saying("good")


class Check:
    """An output check that stops answers with `bad` in them, at their end, and has `remedies`."""

    consumes: tuple[Any, ...] = ()
    produces: tuple[Any, ...] = ()

    def __init__(self, *remedies: Remedy, name: str = "check", word: str = "bad", at_once: bool = False) -> None:
        self.name, self._remedies, self._word, self._at_once = name, remedies, word, at_once
        self.opened = 0

    def open(self, exchange: Exchange) -> Session | None:
        if exchange.answer is not None:
            return None
        self.opened += 1
        if self.name in exchange.passing:
            return Passing()
        held: list[Event] = []

        def push(event: Event) -> Sequence[Event]:
            if isinstance(event, Text):
                if self._at_once:
                    return self._judged([event])
                held.append(event)
                return ()
            if isinstance(event, ChoiceFinished):
                return [*self._judged(held), event]
            return (event,)

        return Passing(push)

    def _judged(self, events: Sequence[Event]) -> Sequence[Event]:
        if any(isinstance(event, Text) and self._word in event.text for event in events):
            return [Blocked(self.name, "category", "", self._remedies)]
        return events


class Told(Call):
    """A run of a dispatcher, and the answer it gives instead."""

    instead: Answer | None = None

    async def run(self, *_: Any) -> Told:  # type: ignore[override]
        from gateway.pipeline.delivery import Delivery
        from gateway.pipeline.dispatch import Dispatcher
        from tests.fixtures.spine_world import DIALECTS

        exchange = self.exchange
        exchange.request = DIALECTS["openai"].read("chat", json.loads(await exchange.read_body()))
        self.delivery = Delivery(exchange, self.client, self._checks, DIALECTS["openai"].outlet, cost)
        self.instead = await Dispatcher(self.upstreams).run(exchange, self.delivery)  # type: ignore[arg-type]
        for upstream in self.upstreams.values():
            assert upstream.open_replies == 0
        return self


def cost(usage: Usage | None, _target: Target | None) -> float | None:
    return usage.output_tokens / 100 if usage else None


RETRY, HEDGE, FALLBACK, PASS = Remedy("retry", 1), Remedy("hedge", 1), Remedy("fallback"), Remedy("pass")
REPLY, HANDOFF = Remedy("reply", text="Sorry."), Remedy("handoff", text="", team="people")


async def test_the_steps_are_taken_in_order() -> None:
    """Again, twice at once, at the next model, and then the words that are left."""
    check = Check(Remedy("retry", 2), HEDGE, FALLBACK, REPLY)
    plan = Plan(models=(model("a", "a1", "a2"), model("b")))
    told = await Told(plan, {"a1": [BAD], "a2": [BAD], "b": [BAD]}, check).run()  # type: ignore[arg-type]
    assert [why for _, why, _ in told.story] == ["first", *["guardrail"] * 5]
    assert [provider for provider, _, _ in told.story][-1] == "b"
    assert sorted(outcome for _, _, outcome in told.story) == [*["blocked"] * 5, "cancelled"]
    assert told.instead is not None
    assert told.instead.kind == "canned"
    assert told.instead.response is not None
    assert told.instead.response.choices[0].text == "Sorry."
    assert not told.client.committed


async def test_a_retry_meets_the_next_target() -> None:
    """Where a model has several: the same one would often say the same."""
    told = await Told(Plan(models=(model("m", "a", "b"),)), {"a": [BAD, GOOD], "b": [BAD, GOOD]}, Check(RETRY)).run()  # type: ignore[arg-type]
    assert {provider for provider, _, _ in told.story} == {"a", "b"}
    told = await Told(chain("a"), {"a": [BAD, GOOD]}, Check(RETRY)).run()  # type: ignore[arg-type]
    assert told.story == [("a", "first", "blocked"), ("a", "guardrail", "ok")]
    assert told.delivery.done


@pytest.mark.parametrize("targets", [("a",), ("a", "b")])
async def test_two_calls_at_once_and_the_first_content_wins(targets: tuple[str, ...]) -> None:
    """Both are in the receipt, the slower one cancelled; no allowance is needed."""
    wires = {"a": [BAD, saying("good", delay=30), saying("good", delay=2)], "b": [saying("good", delay=2)]}
    plan = Plan(models=(model("m", *targets, weights=[1, 0]),))
    told = await Told(plan, {name: wires[name] for name in targets}, Check(HEDGE)).run()  # type: ignore[arg-type]
    outcomes = [(why, outcome) for _, why, outcome in told.story]
    assert outcomes == [("first", "blocked"), ("guardrail", "cancelled"), ("guardrail", "ok")]
    assert told.delivery.done


async def test_a_fallback_goes_to_the_next_model_while_there_is_one() -> None:
    """Also from the second to the third; then the next step counts."""
    wires = {"a": [BAD], "b": [BAD], "c": [GOOD]}
    told = await Told(chain("a", "b", "c"), wires, Check(FALLBACK)).run()  # type: ignore[arg-type]
    assert told.story == [("a", "first", "blocked"), ("b", "guardrail", "blocked"), ("c", "guardrail", "ok")]
    assert told.exchange.served_model == "c"
    told = await Told(chain("a", "b"), {"a": [BAD], "b": [BAD]}, Check(FALLBACK, REPLY)).run()  # type: ignore[arg-type]
    assert told.instead is not None
    told = await Told(chain("a"), {"a": [BAD]}, Check(FALLBACK)).run()  # type: ignore[arg-type]
    assert (told.instead, told.delivery.blocked is not None) == (None, True)


@pytest.mark.parametrize("steps", [(PASS,), (RETRY, PASS), (FALLBACK, PASS)])
@pytest.mark.parametrize("at_once", [True, False])
async def test_what_passes_is_the_same_answer(steps: tuple[Remedy, ...], at_once: bool) -> None:
    """No further call: what came is gone through again, and read to its end."""
    check = Check(*steps, at_once=at_once)
    told = await Told(chain("a"), {"a": [BAD]}, check).run()  # type: ignore[arg-type]
    assert told.upstreams["a"].calls == 1 + (RETRY in steps)
    assert (told.delivery.done, told.delivery.blocked) == (True, None)
    assert told.client.body.count(b"bad") == 1
    assert told.story[-1][2] == "ok"
    assert check.opened == told.upstreams["a"].calls + 1


async def test_one_check_that_passes_does_not_speak_for_another() -> None:
    """Each has its own steps; the answer is looked at again by all."""
    checks = [Check(PASS, name="one"), Check(RETRY, REPLY, name="two")]
    told = await Told(chain("a"), {"a": [BAD]}, *checks).run()  # type: ignore[arg-type]
    assert told.instead is not None
    assert told.upstreams["a"].calls == 2
    assert told.exchange.passing == {"one"}


async def test_a_handoff_tells_the_client_and_the_people() -> None:
    """The header, the note for the desk, and words that the operator need not write."""
    for remedy, words in (
        (HANDOFF, "I am handing this over to people."),
        (Remedy("handoff", text="Wait.", team="people"), "Wait."),
    ):
        told = await Told(chain("a"), {"a": [BAD]}, Check(remedy)).run()  # type: ignore[arg-type]
        assert told.instead is not None
        assert told.instead.handoff == Handoff("people", "check:check")
        assert told.instead.kind == "handoff"
        assert told.instead.headers == {"x-tidegate-handoff": "people"}
        assert told.instead.response is not None
        assert told.instead.response.choices[0].text == words


@pytest.mark.parametrize("remedy", [RETRY, HEDGE, FALLBACK, PASS, REPLY, HANDOFF])
async def test_after_the_commit_point_none_is_possible(remedy: Remedy) -> None:
    """What is out is out; but a person is told."""
    wire = Wire([START], [Text("fine so far")], [Text("bad")], [STOP], [Finished()])
    told = await Told(chain("a", "b"), {"a": [wire], "b": [GOOD]}, Check(remedy, at_once=True)).run()  # type: ignore[arg-type]
    assert told.story == [("a", "first", "blocked")]
    assert told.instead is None
    assert told.delivery.blocked is not None
    assert told.client.body.count(b"fine so far") == 1
    assert (told.exchange.handoff is not None) == (remedy is HANDOFF)


async def test_checks_that_take_turns_come_to_an_end() -> None:
    """All together may ask for so many calls, whatever each may ask for."""
    checks = [Check(Remedy("retry", 5), name="one"), Check(Remedy("retry", 5), name="two", word="worse")]
    wires = [saying("bad"), saying("worse")] * 10
    told = await Told(chain("a"), {"a": wires}, *checks).run()  # type: ignore[arg-type]
    assert told.upstreams["a"].calls == 1 + MOST_CALLS
    assert sum(told.exchange.remedied.values()) == MOST_CALLS
    assert told.delivery.blocked is not None


async def test_a_hedge_counts_as_the_two_calls_it_is() -> None:
    """So the last one left is no hedge, and the step after it is taken."""
    told = await Told(chain("a"), {"a": [BAD]}, Check(Remedy("retry", 5), Remedy("hedge", 5), REPLY)).run()  # type: ignore[arg-type]
    assert told.upstreams["a"].calls == 1 + 5
    assert told.instead is not None


async def test_no_call_is_asked_for_that_would_come_too_late() -> None:
    """With less time left than the stopped answer took, the next step is taken that needs none."""
    told = Told(chain("a", "b"), {"a": [BAD], "b": [GOOD]}, Check(RETRY, HEDGE, FALLBACK, REPLY))  # type: ignore[arg-type]
    told.exchange.deadline = told.exchange.clock.now()
    await told.run()
    assert [len(told.story), told.instead is not None] == [1, True]


@pytest.mark.parametrize(("steps", "ends"), [((RETRY,), False), ((RETRY, PASS), False), ((RETRY, REPLY), True), ((FALLBACK, HANDOFF), True)])  # fmt: skip
async def test_when_the_calls_asked_for_fail_the_words_are_left(steps: tuple[Remedy, ...], ends: bool) -> None:
    """A stock reply is better than a fault; an answer that is gone cannot pass."""
    failing = Wire(refuse=UpstreamFailed("It failed."))
    told = Told(chain("a", "b"), {"a": [BAD, failing], "b": [failing]}, Check(*steps))  # type: ignore[arg-type]
    if ends:
        assert (await told.run()).instead is not None
    else:
        with pytest.raises(UpstreamFailed):
            await told.run()


async def test_an_own_failure_is_retried_as_ever() -> None:
    """A fault after a stop has its own tries; the check's are counted apart."""
    failing = Wire(refuse=UpstreamFailed("It failed."))
    told = await Told(chain("a", attempts=2), {"a": [BAD, failing, GOOD]}, Check(RETRY)).run()  # type: ignore[arg-type]
    assert told.story == [
        ("a", "first", "blocked"),
        ("a", "guardrail", "upstream_failed"),
        ("a", "retry", "ok"),
    ]


async def test_every_try_is_paid_for() -> None:
    """Also one that was stopped at its end, whose usage comes after that."""
    wires = [saying("bad", usage=Usage(1, 20)), saying("good", usage=Usage(1, 30))]
    told = await Told(chain("a"), {"a": wires}, Check(RETRY)).run()  # type: ignore[arg-type]
    assert [attempt.usage for attempt in told.exchange.attempts] == [Usage(1, 20), Usage(1, 30)]
    assert told.exchange.cost_usd == pytest.approx(0.5)
    assert told.exchange.usage == Usage(1, 30)


async def test_usage_that_does_not_come_is_not_waited_for_long() -> None:
    """The next call is not held up by an upstream that forgets to hang up."""
    stuck = Wire([START], [Text("bad")], [STOP], 10**9)
    told = await Told(chain("a"), {"a": [stuck, GOOD]}, Check(RETRY)).run()  # type: ignore[arg-type]
    assert told.delivery.done
    assert told.exchange.attempts[0].usage is None


# --- through the spine


async def through(
    *remedies: Remedy, stream: bool = True, dialect: str = "openai", wires: Sequence[Wire] = (BAD,)
) -> tuple[Receipt, MemoryClient, Exchange]:
    world = World([MemoryUpstream("a", wires)], checks=[Check(*remedies)])  # type: ignore[list-item]
    exchange = world.exchange(stream=stream, dialect=dialect)
    receipt, client = await world.run(exchange)
    assert not world.crashes
    return receipt, client, exchange


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("dialect", ["openai", "anthropic", "responses"])
@pytest.mark.parametrize(("remedy", "kind", "words"), [(REPLY, "canned", b"Sorry."), (HANDOFF, "handoff", b"handing this over")])  # fmt: skip
async def test_what_is_told_instead_is_an_ordinary_answer(
    stream: bool, dialect: str, remedy: Remedy, kind: str, words: bytes
) -> None:
    """A 200 in the client's dialect, whole, with one receipt that says what happened."""
    body = {"model": "m", "input": "hi", "store": False, "stream": stream} if dialect == "responses" else None
    world = World([MemoryUpstream("a", [BAD])], checks=[Check(remedy)])  # type: ignore[list-item]
    exchange = world.exchange(stream=stream, dialect=dialect, body=json.dumps(body).encode() if body else None)
    receipt, client = await world.run(exchange)
    assert (client.status, client.ended, receipt.outcome, receipt.answer) == (200, True, "ok", kind)
    assert words in client.body
    assert b"bad" not in client.body
    assert [attempt.outcome for attempt in receipt.attempts] == ["blocked"]
    assert receipt.usage is None
    assert (receipt.handoff, receipt.handoff_reason) == (("people", "check:check") if remedy is HANDOFF else ("", ""))


@pytest.mark.parametrize("stream", [True, False])
async def test_nothing_left_to_do_is_a_clean_refusal(stream: bool) -> None:
    """As without any step."""
    for remedies in ((), (RETRY,), (FALLBACK,)):
        receipt, client, _ = await through(*remedies, stream=stream)
        assert (client.status, receipt.outcome, receipt.answer) == (400, "refused", "")
        assert len(client.refused) == 1
