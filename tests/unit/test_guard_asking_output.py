"""Output checks that must ask: nothing goes out that they have not heard about, whole or sentence by sentence."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.clock import ManualClock
from gateway.core.errors import CheckFailed
from gateway.core.events import (
    ChoiceFinished,
    Event,
    Failed,
    Finished,
    Reasoning,
    Remedy,
    Started,
    Text,
    ToolCall,
    Unknown,
    Usage,
)
from gateway.core.exchange import Exchange
from guardrails.answered.answers import AnswerRules
from guardrails.asked.looking import FAILURES, REST
from guardrails.asked.screen import CLEAN, Finding
from guardrails.asking.asking_kept import LEAST, MOST, OVERLAP
from guardrails.asking.asking_output import OutputAsking
from guardrails.asking.not_scanned import NotScanned
from guardrails.finding.spans import Span
from tests.fixtures.guard_world import answer, blocked, call, exchange_of, text_of, through

BAD = "forbidden"


class Service:
    """Finds texts that hold the word; notes what it was asked. `fails` is raised instead."""

    def __init__(self, fails: BaseException | None = None) -> None:
        self.fails = fails
        self.asked: list[Sequence[str]] = []

    async def ask(
        self, exchange: Exchange, texts: Sequence[str], findings: Sequence[Finding], seconds: float
    ) -> Sequence[Finding]:
        self.asked.append(list(texts))
        await asyncio.sleep(0)
        if self.fails is not None:
            raise self.fails
        return [
            Finding([Span("X", 0, len(t), 0.9)], 0.9, "service") if BAD in t else Finding((), 0.1, "service")
            for t in texts
        ]


def check(service: Any, **fields: Any) -> OutputAsking:
    kinds = fields.pop("kinds", None)
    clock = fields.pop("clock", ManualClock())
    rules = AnswerRules(**{"name": "ask", "category": "moderation", "action": "block", "deadline": 5.0, **fields})
    return OutputAsking(rules, service, clock=clock, **({"kinds": kinds} if kinds else {}))


def exchange(stream: bool = True) -> Exchange:
    return exchange_of(("user", "hi"), stream=stream)


def verdict(exchange: Exchange) -> tuple[str, int, str, float | None]:
    (verdict,) = exchange.verdicts
    assert (verdict.side, verdict.category) == ("output", "moderation")
    return verdict.action, verdict.count, verdict.reason, verdict.score


SENTENCE = st.text("abc ", min_size=1, max_size=200).map(lambda text: text + ". ")


@given(
    parts=st.lists(SENTENCE | st.just(f"This is {BAD}. "), max_size=12),
    cuts=st.lists(st.integers(1, 80), max_size=60),
    mode=st.sampled_from(["full", "window"]),
)
@settings(max_examples=150, deadline=None)
async def test_nothing_goes_out_unheard_for_every_chunking(parts: list[str], cuts: list[int], mode: str) -> None:
    """What is clean comes out as it went in; of what is not, no window with a part of it ever comes out."""
    text = "".join(parts)
    pieces, at = [], 0
    for cut in [*cuts, len(text)]:
        pieces.append(text[at : at + cut])
        at += cut
    service = Service()
    what = exchange()
    out = await through(what, [check(service, mode=mode)], answer(pieces))
    if BAD in text:
        assert blocked(out) is not None
        assert text.startswith(text_of(out))
        assert len(text_of(out)) <= text.index(BAD)
        assert verdict(what)[0] == "block"
        if mode == "full":
            assert text_of(out) == ""
    else:
        assert blocked(out) is None
        assert text_of(out) == text
        assert type(out[-1]) is Finished
        assert verdict(what)[0] == "allow"
        heard = "".join(t for texts in service.asked for t in texts)
        assert all(part.strip() in heard for part in parts if part.strip(". ") and len(part) < OVERLAP)


async def test_events_that_were_not_cut_go_on_as_they_are() -> None:
    """So their bytes can be relayed."""
    events = answer(["One. ", "Two."])
    out = await through(exchange(), [check(Service())], events)
    assert [type(event) for event in out] == [Started, Text, Text, ChoiceFinished, Finished]
    assert all(any(event is other for other in events) for event in out if type(event) is Text)


async def test_windows_overlap() -> None:
    """What was said just before is shown again: a sentence may only be bad after another."""
    service = Service()
    first, second = "a" * LEAST + ". ", "b" * LEAST + ". "
    await through(exchange(), [check(service, mode="window")], answer([first, second, "end"]))
    assert len(service.asked) == 3
    assert service.asked[1] == [first + second[:-1]]


async def test_a_text_without_sentences_is_cut_at_a_space() -> None:
    """Holding is bounded, whatever the model says."""
    service = Service()
    what = exchange()
    await through(what, [check(service, mode="window")], answer(["word "] * (2 * MOST // 5)))
    assert len(service.asked) >= 2
    assert what.held_chars <= MOST + 10


async def test_an_answer_that_is_not_streamed_is_asked_about_once() -> None:
    """Nothing of it leaves before its end, so windows would only cost."""
    service = Service()
    what = exchange(stream=False)
    await through(what, [check(service, mode="window")], answer([("x" * LEAST + ". ")] * 4))
    assert len(service.asked) == 1
    assert what.held_chars == 0


async def test_calls_reasoning_and_unknown_fields_are_text_too() -> None:
    """A forbidden thing said in another place is still said."""
    for event in (Reasoning(BAD), Unknown({"audio": {"transcript": BAD}}), Text("x", extra={"note": BAD})):
        out = await through(
            exchange(), [check(Service())], [Started("r", "m", 1), event, ChoiceFinished("stop"), Finished()]
        )
        assert blocked(out) is not None
    out = await through(exchange(), [check(Service())], call(['{"a":"forb', 'idden"}']))
    assert blocked(out) is not None
    assert not [event for event in out if type(event) is ToolCall]


async def test_log_probabilities_are_not_asked_about() -> None:
    """They spell the text again, with words between that were not said."""
    service = Service()
    event = Text("fine", extra={"logprobs": {"content": [{"token": "fine", "top_logprobs": [{"token": BAD}]}]}})
    out = await through(exchange(), [check(service)], [Started("r", "m", 1), event, ChoiceFinished("stop"), Finished()])
    assert blocked(out) is None
    assert service.asked == [["fine"]]


async def test_text_stays_before_the_call_that_follows_it() -> None:
    """Anthropic's stream closes a block where another begins, so the order is kept, in windows too."""
    events = [Started("r", "m", 1), Text("Let me see."), ToolCall(0, "", "c", "look"), ToolCall(0, "{}"), Text(" Done."),
              ChoiceFinished("stop"), Finished()]  # fmt: skip
    for mode in ("window", "full"):
        out = await through(exchange(), [check(Service(), mode=mode)], events)
        assert out == events


async def test_choices_are_judged_apart() -> None:
    """Each ends by itself; one that is bad ends the answer."""
    events = [
        Started("r", "m", 1),
        Text("fine", 0),
        Text(BAD, 1),
        ChoiceFinished("stop", 0),
        ChoiceFinished("stop", 1),
        Finished(),
    ]
    out = await through(exchange(), [check(Service())], events)
    assert text_of(out) == "fine"
    assert blocked(out) is not None


async def test_a_choice_that_never_says_it_ended_is_judged_at_the_end() -> None:
    """Some servers leave the finish reason out."""
    service = Service()
    events = [Started("r", "m", 1), Text("fine"), Usage(1, 1), Finished()]
    out = await through(exchange(), [check(service)], events)
    assert text_of(out) == "fine"
    assert service.asked == [["fine"]]
    out = await through(exchange(), [check(service)], [Started("r", "m", 1), Text(BAD), Finished()])
    assert blocked(out) is not None


async def test_other_kinds_pass_a_check_that_looks_at_text_only() -> None:
    """Groundedness is about what is said, not about what is thought or done."""
    kinds: frozenset[type[Event]] = frozenset({Text})
    service = Service()
    events = [
        Started("r", "m", 1),
        Reasoning(BAD),
        Text("fine", extra={"note": BAD}),
        ChoiceFinished("stop"),
        Finished(),
    ]
    out = await through(exchange(), [check(service, kinds=kinds)], events)
    assert blocked(out) is None
    assert service.asked == [["fine"]]


async def test_nothing_to_ask_about_is_said_to_be_that() -> None:
    """An answer without a text is allowed for that reason, and nobody is asked."""
    service = Service()
    what = exchange()
    await through(what, [check(service)], [Started("r", "m", 1), Text("  "), ChoiceFinished("stop"), Finished()])
    assert verdict(what) == ("allow", 0, "no_text", None)
    assert service.asked == []


async def test_a_block_carries_its_remedies() -> None:
    """What is to be done instead is told with it."""
    out = await through(exchange(), [check(Service(), remedies=(Remedy("retry"),))], answer([BAD]))
    stopped = blocked(out)
    assert stopped is not None
    assert (stopped.check, stopped.category, stopped.remedies) == ("ask", "moderation", (Remedy("retry"),))


@pytest.mark.parametrize(("text", "said"), [(BAD, ("flag", 1, "service", 0.9)), ("fine", ("allow", 0, "service", 0.1))])
async def test_a_check_that_flags_holds_only_the_end_mark(text: str, said: tuple) -> None:
    """Everything goes by at once; the verdict is there before the receipt is."""
    what = exchange()
    service = Service()
    out = await through(what, [check(service, action="flag")], answer([text, " more"]))
    assert text_of(out) == text + " more"
    assert verdict(what) == said
    assert what.held_chars == 0
    assert len(service.asked) == 1


@pytest.mark.parametrize(
    ("fails", "reason"), [(TimeoutError(), "timeout"), (NotScanned("unclear"), "unclear"), (RuntimeError(), "crashed")]
)
@pytest.mark.parametrize("mode", ["full", "window"])
async def test_open_lets_go_of_everything_and_says_so(fails: BaseException, reason: str, mode: str) -> None:
    """In order, marked as degraded, and never as passed."""
    what = exchange()
    text = ["x" * LEAST + ". ", BAD, " end"]
    out = await through(what, [check(Service(fails), closed=False, mode=mode)], answer(text))
    assert text_of(out) == "".join(text)
    assert type(out[-1]) is Finished
    assert verdict(what)[:3] == ("not_scanned", 0, reason)
    assert what.degraded == ["guardrail:ask"]


@pytest.mark.parametrize("mode", ["full", "window"])
async def test_closed_lets_nothing_go(mode: str) -> None:
    """The answer ends in a clean error."""
    what = exchange()
    with pytest.raises(CheckFailed):
        await through(what, [check(Service(TimeoutError()), closed=True, mode=mode)], answer(["fine"]))
    assert verdict(what)[:3] == ("not_scanned", 0, "timeout")


async def test_a_service_that_hangs_is_given_up_at_the_deadline() -> None:
    """And the answer with it, or not, as configured."""

    class Hanging:
        async def ask(self, exchange: Exchange, texts: Any, findings: Any, seconds: float) -> Any:
            await asyncio.Event().wait()

    what = exchange()
    out = await through(what, [check(Hanging(), closed=False, deadline=0.02)], answer(["fine"]))
    assert text_of(out) == "fine"
    assert verdict(what)[:3] == ("not_scanned", 0, "timeout")


async def test_a_service_that_fails_is_left_alone_for_a_while_and_then_tried_once() -> None:
    """The breaker opens after failures in a row; what it says is its own reason; one answer tries again."""
    clock = ManualClock()
    service = Service(RuntimeError())
    asks = check(service, closed=False, clock=clock)

    async def one() -> str:
        what = exchange()
        await through(what, [asks], answer(["fine"]))
        return verdict(what)[2]

    assert [await one() for _ in range(FAILURES + 2)] == ["crashed"] * FAILURES + ["breaker_open"] * 2
    assert len(service.asked) == FAILURES
    clock.advance(REST + 0.1)
    assert [await one(), await one()] == ["crashed", "breaker_open"]
    service.fails = None
    clock.advance(2 * REST + 0.1)
    assert [await one(), await one()] == ["service", "service"]


async def test_a_text_that_cannot_be_judged_says_nothing_against_the_service() -> None:
    """Or whoever sends such texts would switch the check off for everybody."""
    service = Service(NotScanned("too_long"))
    asks = check(service, closed=False)
    for _ in range(FAILURES + 2):
        await through(exchange(), [asks], answer(["fine"]))
    assert len(service.asked) == FAILURES + 2


async def test_more_than_may_be_held_is_not_scanned() -> None:
    """An endless answer fills no memory."""
    what = exchange()
    big = "x" * 300_000
    out = await through(what, [check(Service(), closed=False)], answer([big] * 5))
    assert text_of(out) == big * 5
    assert verdict(what)[:3] == ("not_scanned", 0, "too_long")


async def test_a_field_nested_too_deeply_is_not_scanned() -> None:
    """It may hold what the walk does not reach."""
    deep: Any = BAD
    for _ in range(40):
        deep = {"a": deep}
    what = exchange()
    out = await through(what, [check(Service(), closed=False)], [Unknown(deep), ChoiceFinished("stop"), Finished()])
    assert verdict(what)[:3] == ("not_scanned", 0, "too_deep")
    assert [type(event) for event in out] == [Unknown, ChoiceFinished, Finished]


async def test_a_stream_that_broke_is_not_judged() -> None:
    """What was held is dropped with it, and no verdict is made up."""
    service = Service()
    what = exchange()
    out = await through(what, [check(service)], [Started("r", "m", 1), Text("fine"), Failed(RuntimeError())])
    assert text_of(out) == ""
    assert (service.asked, what.verdicts) == ([], [])


async def test_a_stored_answer_is_not_asked_about() -> None:
    """It passed when it was stored."""
    from gateway.core.answer import Answer

    what = exchange()
    what.answer = Answer("cached")
    assert check(Service()).open(what) is None


async def test_how_long_and_how_much_was_held_is_told() -> None:
    """For the receipt: in characters and in nanoseconds."""
    what = exchange()
    await through(what, [check(Service())], answer(["12345", "678"]))
    assert what.held_chars == 8
    assert what.held > 0


def test_a_finding_without_spans_is_no_hit() -> None:
    """The clean finding that sessions start from."""
    assert not CLEAN.hit
