"""The stream modes, how long they hold, what they do when they cannot look, and one verdict for each check."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.core.clock import ManualClock
from gateway.core.errors import CheckFailed
from gateway.core.events import Blocked, ChoiceFinished, Event, Finished, Frame, Reasoning, Started, Text, ToolCall
from gateway.core.exchange import Exchange
from gateway.pipeline.stream import Stream
from guardrails.actions import Actions
from guardrails.answered import streaming, tracks
from guardrails.answered.output import Always, OutputCheck, OutputChecks, OutputRules
from guardrails.build import Guards, build
from guardrails.config import GuardrailConfig
from guardrails.finding.spans import Span
from tests.fixtures.dialects import DIALECTS
from tests.fixtures.guard_wire import Way, asked, deliver, exchange_for, payloads, spoken
from tests.fixtures.guard_world import answer, blocked, call, exchange_of, text_of, through

RETRACT = {"x-tidegate-stream": "retract"}


def guards(**checks: dict[str, Any]) -> Guards:
    return build(
        {name: GuardrailConfig(on=["output"], on_error="closed", **check) for name, check in checks.items()},
        list(checks),
    )


def said(exchange: Exchange) -> list[tuple[str, str, str]]:
    return [(verdict.check, verdict.header.partition("=")[2], verdict.reason) for verdict in exchange.verdicts]


# --- retract


@pytest.mark.parametrize(
    "way", [*(Way(name, name) for name in DIALECTS), Way("openai", "openai", "completions")], ids=str
)
@pytest.mark.parametrize("opted", [True, False])
async def test_a_client_that_can_take_back_is_told_to(way: Way, opted: bool) -> None:
    """With the header text is out at once and a hit ends the stream with the dialect's content-filter ending and the mark;
    without it the same check holds back, and there is nothing to take back."""
    words = guards(words={"use": "phrases", "action": "block", "deny": ["secret sauce"], "stream": "retract"})
    events = answer(["Now ", "the secret", " sa", "uce is", " salt"])
    exchange = exchange_for(asked(way, stream=True), headers=RETRACT if opted else {})
    screen = await deliver(exchange, words, way, [spoken(way, events, stream=True)])
    told = payloads(screen.sent, stream=True)
    assert ("the secret" in json.dumps(told)) is opted
    mark = {"retract": True, "check": "words", "category": "denied_phrase"}
    if way.client == "openai":
        last = told[-1]
        assert last["choices"][0]["finish_reason"] == "content_filter"
    elif way.client == "anthropic":
        last = told[-2]
        assert (last["type"], last["delta"]["stop_reason"], told[-1]) == (
            "message_delta",
            "refusal",
            {"type": "message_stop"},
        )
    elif way.client == "gemini":
        last = told[-1]
        assert last["candidates"][0]["finishReason"] == "SAFETY"
    else:
        last = told[-1]["response"]
        assert (last["status"], last["incomplete_details"]) == ("incomplete", {"reason": "content_filter"})
    assert last.get("tidegate") == (mark if opted else None)
    assert said(exchange) == [("words", "block:1", "retract" if opted else "")]


async def test_text_is_out_at_once_and_tool_calls_are_not() -> None:
    """In retract mode nothing of the text waits, and of a call nothing goes out before all of it was looked at."""
    words = guards(words={"use": "phrases", "action": "block", "deny": ["secret sauce"], "stream": "retract"})
    exchange = exchange_for(asked(Way("openai", "openai"), stream=True), headers=RETRACT)
    events: list[Event] = [
        Started("r", "m", 1),
        Text("a sec"),
        Reasoning("the sec"),
        ToolCall(0, '{"x": "the secret', "c", "f"),
    ]
    out = await through(exchange, words.checks, events)
    assert out == events[:-1]
    assert exchange.held_chars > 0  # the call
    exchange = exchange_for(asked(Way("openai", "openai"), stream=True), headers=RETRACT)
    out = await through(exchange, words.checks, call(['{"x": "the secret', ' sauce"}']))
    assert [type(event) for event in out] == [Started, Blocked]
    assert not blocked(out).retract  # type: ignore[union-attr]


async def test_what_cannot_be_masked_any_more_is_blocked() -> None:
    """A mask in retract mode ends the stream; the piece that completes the value is not sent."""
    private = guards(private={"use": "pii", "action": "mask", "stream": "retract"})
    exchange = exchange_for(asked(Way("openai", "openai"), stream=True), headers=RETRACT)
    out = await through(exchange, private.checks, answer(["Write to eve@exam", "ple.org", " now"]))
    assert text_of(out) == "Write to eve@example.org"
    assert blocked(out) == Blocked("private", "pii", retract=True)
    exchange = exchange_for(asked(Way("openai", "openai"), stream=True))
    assert (
        text_of(await through(exchange, private.checks, answer(["to eve@exam", "ple.org", " now"])))
        == "to [EMAIL_ADDRESS] now"
    )


# --- audit


@pytest.mark.parametrize("stream", [True, False])
async def test_an_audit_stops_nothing_and_says_what_it_saw(stream: bool) -> None:
    """Every event is the one that came, streamed or not; the verdict is a flag with the reason `audit`."""
    checks = guards(
        words={"use": "phrases", "action": "block", "deny": ["secret sauce"], "stream": "audit"},
        private={"use": "pii", "action": "mask", "stream": "audit"},
    )
    exchange = exchange_of(("user", "hi"), stream=stream)
    events = answer(["the secret", " sauce of eve@example.org"])
    out = await through(exchange, checks.checks, events)
    assert all(a is b for a, b in zip(out[:-1], events[:-1], strict=True))
    assert exchange.held_chars == 0
    assert said(exchange) == [("words", "flag:1", "audit"), ("private", "flag:1", "audit")]


# --- how long


async def test_how_long_a_piece_waited_is_noted() -> None:
    """From when the oldest character that is held came until it goes out; nothing waits in an answer that is not streamed."""
    words = guards(words={"use": "phrases", "action": "block", "deny": ["secret sauce"]})
    clock = ManualClock()
    for stream, held in ((True, 1_000_000_000), (False, 0)):
        exchange = exchange_for(asked(Way("openai", "openai"), stream=stream), clock)
        session = words.checks[0].open(exchange)
        assert session is not None
        flow = Stream([session])
        sent = ""
        for text in ("One ", "secret ", "thing ", "is"):
            sent += text_of((await flow.push(Frame((Text(text),)))).events)
            clock.advance(1.0)
        assert sent == ("One secret thing " if stream else "")
        await flow.push(Frame((ChoiceFinished("stop"), Finished())))
        assert (exchange.held, exchange.held_chars) == ((held, len("secret ")) if stream else (0, 0))


async def test_full_waits_for_all_of_it() -> None:
    """In mode `full` the first character waits until the last one came; so do a call's arguments in any mode."""
    clock = ManualClock()
    for mode, events in (("full", answer(["a ", "b "])), ("window", call(["{", "}"])[:2] + call(["{", "}"])[3:])):
        words = guards(words={"use": "phrases", "action": "block", "deny": ["secret sauce"], "stream": mode})
        exchange = exchange_for(asked(Way("openai", "openai"), stream=True), clock)
        flow = Stream([session for check in words.checks if (session := check.open(exchange)) is not None])
        for event in events:
            await flow.push(Frame((event,)))
            clock.advance(1.0)
        assert exchange.held == 2_000_000_000, mode


# --- who wins, and what is said of each


async def test_each_check_says_its_own() -> None:
    """Five checks in one session: one verdict each, with its own count, category and time."""
    checks = guards(
        private={"use": "pii", "action": "mask"},
        secrets={"use": "secrets", "action": "mask"},
        words={"use": "phrases", "action": "block", "deny": ["secret sauce"]},
    )
    assert isinstance(checks.checks[0], OutputChecks)
    assert len(checks.checks) == 1
    exchange = exchange_of(("user", "hi"))
    text = "eve@example.org and ghp_0123456789abcdefABCDEF and a@example.com"
    assert (
        text_of(await through(exchange, checks.checks, answer(list(text))))
        == "[EMAIL_ADDRESS] and [API_KEY] and [EMAIL_ADDRESS]"
    )
    assert said(exchange) == [("private", "mask:2", ""), ("secrets", "mask:1", ""), ("words", "allow", "")]
    assert [verdict.category for verdict in exchange.verdicts] == ["pii", "secrets", "denied_phrase"]


async def test_a_block_wins_over_a_mask_at_the_same_place() -> None:
    """Whatever the order of the checks, and nothing of what either covers is sent; of two masks the first one wins."""
    block = {"use": "phrases", "action": "block", "deny": ["eve@example.org"]}
    for checks in (
        guards(private={"use": "pii", "action": "mask"}, words=block),
        guards(words=block, private={"use": "pii", "action": "mask"}),
    ):
        exchange = exchange_of(("user", "hi"))
        out = await through(exchange, checks.checks, answer(["Ask eve@exam", "ple.org", " now"]))
        assert (text_of(out), blocked(out)) == ("Ask ", Blocked("words", "denied_phrase"))
        assert said(exchange) == [("words", "block:1", "")]
    mask = {"use": "phrases", "action": "mask", "deny": ["eve@example.org or"]}
    for checks, sent in (
        (guards(private={"use": "pii", "action": "mask"}, words=mask), "Ask [EMAIL_ADDRESS] me"),
        (guards(words=mask, private={"use": "pii", "action": "mask"}), "Ask [PHRASE] me"),
    ):
        exchange = exchange_of(("user", "hi"))
        assert text_of(await through(exchange, checks.checks, answer(list("Ask eve@example.org or me")))) == sent
        assert sorted(said(exchange)) == [("private", "mask:1", ""), ("words", "mask:1", "")]


async def test_each_entity_is_treated_as_the_check_says() -> None:
    """`log` is counted and passes as it came, `allow` is not looked for, `block` stops; the verdict has the strongest that
    happened."""
    checks = guards(private={
        "use": "pii", "action": "mask", "entities": ["EMAIL_ADDRESS", "IP_ADDRESS", "US_SSN", "CREDIT_CARD", "URL"],
        "actions": {"IP_ADDRESS": "log", "US_SSN": "block", "CREDIT_CARD": "allow", "URL": "log"},
    })  # fmt: skip
    for text, sent, verdict in (
        ("at 10.1.2.3 now", "at 10.1.2.3 now", "flag:1"),
        ("at 10.1.2.3 eve@example.org now", "at 10.1.2.3 [EMAIL_ADDRESS] now", "mask:2"),
        ("card 4111 1111 1111 1111 now", "card 4111 1111 1111 1111 now", "allow"),
        ("ip 10.1.2.3 ssn 536-22-1234 now", "ip 10.1.2.3 ssn ", "block:2"),
    ):
        exchange = exchange_of(("user", "hi"))
        assert text_of(await through(exchange, checks.checks, answer(list(text)))) == sent
        assert said(exchange) == [("private", verdict, "")]
    exchange = exchange_of(("user", "hi"))
    text = "see https://example.org/?q=eve@example.org now"
    assert "eve@example.org" not in text_of(await through(exchange, checks.checks, answer(list(text))))
    assert said(exchange) == [("private", "mask:2", "")]


async def test_a_tools_name_and_the_fields_beside_an_end_are_looked_at() -> None:
    """A forbidden value is as forbidden there."""
    private = guards(private={"use": "pii", "action": "mask"})
    events: list[Event] = [
        Started("r", "m", 1, {"note": "eve@example.org"}), ToolCall(0, "{}", "c", "eve@example.org"),
        ChoiceFinished("tool_calls", 0, {"stop": "eve@example.org"}), Finished(),
    ]  # fmt: skip
    exchange = exchange_of(("user", "hi"))
    out = await through(exchange, private.checks, events)
    assert out[:3] == [Started("r", "m", 1), ToolCall(0, "{}", "c", "[EMAIL_ADDRESS]"), ChoiceFinished("tool_calls")]
    assert said(exchange) == [("private", "mask:3", "")]


# --- a check that could not look


class Broken:
    """Raises at the word "now"."""

    def quiet(self, text: str) -> bool:
        return "now" not in text

    def find(self, text: str, begin: int = 0) -> list[Span]:
        if "now" in text[begin:]:
            raise RuntimeError("eve@example.org")
        return []

    def settle(self, text: str, limit: int) -> int:
        return limit


def beside_broken(*, closed: bool) -> list[OutputChecks]:
    """A check that breaks, between two that do not."""
    words = guards(words={"use": "phrases", "action": "block", "deny": ["secret sauce"]}).checks[0]
    private = guards(private={"use": "pii", "action": "mask"}).checks[0]
    assert isinstance(words, OutputChecks)
    assert isinstance(private, OutputChecks)
    rules = OutputRules(name="b", category="c", actions=Actions("mask"), closed=closed, mode="window")
    return [OutputChecks([*words.checks, OutputCheck(rules, Always(Broken())), *private.checks])]


async def test_one_that_crashes_open_leaves_the_others_at_work() -> None:
    """It alone is `not_scanned`; what it would have looked at goes on, through the other checks."""
    exchange = exchange_of(("user", "hi"))
    out = await through(exchange, beside_broken(closed=False), answer(["right now ", "ask eve@example", ".org please"]))
    assert text_of(out) == "right now ask [EMAIL_ADDRESS] please"
    assert said(exchange) == [("b", "not_scanned", "crashed"), ("words", "allow", ""), ("private", "mask:1", "")]
    assert exchange.degraded == ["guardrail:b"]


async def test_one_that_crashes_closed_ends_the_answer() -> None:
    """None of the text it failed on is sent, its words are in no message, and no check is said to have passed."""
    exchange = exchange_of(("user", "hi"))
    with pytest.raises(CheckFailed) as fault:
        await through(exchange, beside_broken(closed=True), answer(["right now ", "ask"]))
    assert "eve" not in str(fault.value)
    assert said(exchange) == [("b", "not_scanned", "crashed")]


@pytest.mark.parametrize("use", ["window", "retract"])
async def test_more_than_may_be_held_is_not_scanned(monkeypatch: pytest.MonkeyPatch, use: str) -> None:
    """An answer that cannot be held is one that no check has looked at: closed ends it, open says so and lets go."""
    monkeypatch.setattr(tracks, "MAX_HELD", 16)
    rules = OutputRules(name="b", category="c", actions=Actions("block"), closed=False, mode=use)
    for closed in (False, True):
        check = OutputCheck(
            OutputRules(**{**{f: getattr(rules, f) for f in rules.__struct_fields__}, "closed": closed}),
            Always(Holding()),
        )
        exchange = exchange_for(asked(Way("openai", "openai"), stream=True), headers=RETRACT)
        events = answer(["x" * 10, "y" * 10, " z"])
        if closed:
            with pytest.raises(CheckFailed):
                await through(exchange, [check], events)
        else:
            assert text_of(await through(exchange, [check], events)) == "x" * 10 + "y" * 10 + " z"
        assert said(exchange) == [("b", "not_scanned", "too_long")]
        assert exchange.degraded == ([] if closed else ["guardrail:b"])


class Holding:
    """Never lets go."""

    def quiet(self, text: str) -> bool:
        return False

    def find(self, text: str, begin: int = 0) -> list[Span]:
        return []

    def settle(self, text: str, limit: int) -> int:
        return 0


async def test_more_choices_than_may_be_are_not_scanned(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of a session's checks have not looked; what they held is let go once, in order, where all are open."""
    monkeypatch.setattr(streaming, "MAX_TRACKS", 2)
    checks = [
        OutputCheck(
            OutputRules(name=name, category="c", actions=Actions("block"), closed=False, mode="window"),
            Always(Holding()),
        )
        for name in "ab"
    ]
    exchange = exchange_of(("user", "hi"))
    events: list[Event] = [Started("r", "m", 1), *(Text(str(at), at) for at in range(4)), Finished()]
    assert await through(exchange, [OutputChecks(checks)], events) == events
    assert said(exchange) == [("a", "not_scanned", "too_many"), ("b", "not_scanned", "too_many")]
    assert exchange.degraded == ["guardrail:a", "guardrail:b"]


@pytest.mark.parametrize("mode", ["off", "audit"])
async def test_a_look_that_fails_afterwards_is_not_a_pass(mode: str) -> None:
    """Off on streams, or crashed when the answer is over: `not_scanned` either way."""
    rules = OutputRules(name="b", category="c", actions=Actions("flag"), closed=False, mode=mode)
    exchange = exchange_of(("user", "hi"))
    out = await through(exchange, [OutputCheck(rules, Always(Broken()))], answer(["right now"]))
    assert text_of(out) == "right now"
    reason = "off_on_streams" if mode == "off" else "crashed"
    assert said(exchange) == [("b", "not_scanned", reason)]
    assert exchange.degraded == ([] if mode == "off" else ["guardrail:b"])
