"""The output side: events as they come, what is held, what a block does, and what a check that fails means."""

from __future__ import annotations

import pytest

from gateway.core.answer import Answer
from gateway.core.errors import CheckFailed
from gateway.core.events import (
    Blocked,
    ChoiceFinished,
    Event,
    Failed,
    Finished,
    Reasoning,
    Started,
    Text,
    ToolCall,
    Unknown,
)
from gateway.core.response import said as canned
from guardrails.actions import Actions
from guardrails.answered.output import OutputCheck, OutputRules
from guardrails.build import build
from guardrails.config import GuardrailConfig
from guardrails.finding.spans import Span
from guardrails.hiding.restoring import Restore
from guardrails.hiding.vault import VAULT, Vault
from tests.fixtures.guard_world import answer, blocked, exchange_of, screened, text_of, through

CONFIG = {
    "private": GuardrailConfig(use="pii", on=["output"], action="mask", on_error="closed"),
    "words": GuardrailConfig(use="phrases", on=["output"], action="block", deny=["secret sauce"], on_error="closed"),
    "whole": GuardrailConfig(use="phrases", on=["output"], action="block", deny=["secret sauce"], stream="full", on_error="closed"),
    "watch": GuardrailConfig(use="phrases", on=["output"], action="flag", deny=["secret sauce"]),
    "off": GuardrailConfig(use="phrases", on=["output"], action="flag", deny=["secret sauce"], stream="off"),
    "leak": GuardrailConfig(use="prompt_leak", on=["output"], action="block", on_error="closed"),
}  # fmt: skip


def checks(*names: str) -> list[OutputCheck]:
    return build(CONFIG, names).checks  # type: ignore[return-value]


def actions(exchange) -> list[str]:
    return [verdict.header for verdict in exchange.verdicts]


async def test_the_models_own_private_data_cannot_be_restored() -> None:
    """Masked with its type only, and counted."""
    exchange = exchange_of(("user", "hi"))
    out = await through(exchange, checks("private"), answer(["Write to eve@ex", "ample.org", " now"]))
    assert text_of(out) == "Write to [EMAIL_ADDRESS] now"
    assert actions(exchange) == ["private=mask:1"]


async def test_the_users_own_value_is_theirs_to_see() -> None:
    """A value the vault knows becomes the user's placeholder again, and so their value."""
    exchange = exchange_of(("user", "hi"))
    vault = Vault()
    vault.issue("EMAIL_ADDRESS", "bob@example.com")
    exchange.facts.put(VAULT, vault)
    out = await through(exchange, [*checks("private"), Restore()], answer(["to bob@example.com!"]))
    assert text_of(out) == "to bob@example.com!"
    assert actions(exchange) == ["private=allow"]


async def test_a_block_sends_what_came_before_and_nothing_after() -> None:
    """The prefix goes out, then the block, whatever the chunking; the rest of the answer is not looked at."""
    exchange = exchange_of(("user", "hi"))
    out = await through(exchange, checks("words"), answer(["The SECRET  sa", "uce is", " salt"]))
    assert text_of(out) == "The "
    assert blocked(out) == Blocked("words", "denied_phrase")
    assert type(out[-1]) is Blocked
    assert actions(exchange) == ["words=block:1"]


async def test_full_mode_sends_nothing_of_a_blocked_answer() -> None:
    """`stream: full` holds the whole text, so that the refusal can be a clean one."""
    exchange = exchange_of(("user", "hi"))
    out = await through(exchange, checks("whole"), answer(["The secret sauce", " is salt"]))
    assert [type(event) for event in out] == [Started, Blocked]
    early = await through(exchange_of(("user", "x")), checks("whole"), answer(["a b ", "c d "])[:3])
    assert text_of(early) == ""


async def test_clean_events_keep_their_identity() -> None:
    """What need not be cut is the upstream's own object, unknown fields and all."""
    events: list[Event] = [
        Started("r", "m", 1),
        Text("One. ", 0, {"logprobs": [1]}),
        Text("Two.\n"),
        ChoiceFinished("stop"),
        Finished(),
    ]
    out = await through(exchange_of(("user", "hi")), checks("words", "private"), events)
    assert all(a is b for a, b in zip(out[:-1], events[:-1], strict=True))


async def test_fields_beside_masked_text_go_with_it() -> None:
    """Log-probabilities spell a masked value out, so they are dropped; so is a field that says it itself."""
    events = answer([])
    events[1:1] = [
        Text("mail eve@example.org now ", 0, {"logprobs": ["eve"]}),
        Text("ok ", 0, {"note": "eve@example.org"}),
    ]
    out = await through(exchange_of(("user", "hi")), checks("private"), events)
    assert text_of(out) == "mail [EMAIL_ADDRESS] now ok "
    assert all(event.extra is None for event in out if type(event) is Text)


async def test_text_is_out_before_another_kind_of_content_begins() -> None:
    """A word that is held must not come after the tool call that followed it."""
    events: list[Event] = [
        Started("r", "m", 1),
        Text("let me look"),
        ToolCall(0, "{}", "c", "f"),
        ChoiceFinished("tool_calls"),
        Finished(),
    ]
    out = await through(exchange_of(("user", "hi")), checks("private"), events)
    kinds = [type(event).__name__ for event in out]
    assert kinds == ["Started", "Text", "Text", "ToolCall", "ChoiceFinished", "Finished"]
    assert text_of(out) == "let me look"


async def test_tool_calls_are_held_until_they_are_whole() -> None:
    """No argument leaves before all of them were looked at; two calls stay two."""
    events: list[Event] = [
        Started("r", "m", 1), ToolCall(0, '{"to":"eve@exam', "a", "f"), ToolCall(0, 'ple.org"}'), ToolCall(1, "{}", "b", "g"),
    ]  # fmt: skip
    early = await through(exchange_of(("user", "x")), checks("private"), events)
    assert [type(event) for event in early] == [Started]
    out = await through(
        exchange_of(("user", "x")), checks("private"), [*events, ChoiceFinished("tool_calls"), Finished()]
    )
    assert out[1:3] == [ToolCall(0, '{"to":"[EMAIL_ADDRESS]"}', "a", "f"), ToolCall(1, "{}", "b", "g")]


async def test_choices_and_reasoning_are_texts_of_their_own() -> None:
    """Interleaved choices do not mix, and reasoning is checked like the answer."""
    events: list[Event] = [
        Started("r", "m", 1), Reasoning("eve@exam"), Text("eve@", 1), Reasoning("ple.org "), Text("example.org ", 1),
        Text("fine", 0), ChoiceFinished("stop", 1), ChoiceFinished("stop", 0), Finished(),
    ]  # fmt: skip
    out = await through(exchange_of(("user", "hi")), checks("private"), events)
    assert "".join(e.text for e in out if type(e) is Reasoning) == "[EMAIL_ADDRESS] "
    assert "".join(e.text for e in out if type(e) is Text and e.choice == 1) == "[EMAIL_ADDRESS] "
    assert "".join(e.text for e in out if type(e) is Text and e.choice == 0) == "fine"


async def test_unknown_deltas_are_held_and_withheld_when_they_say_it() -> None:
    """A field no codec knows, in pieces, is read as one text when its choice ends."""
    dirty: list[Event] = [
        Started("r", "m", 1),
        Unknown({"new": "eve@exa"}),
        Unknown({"new": "mple.org"}),
        ChoiceFinished("stop"),
        Finished(),
    ]
    out = await through(exchange_of(("user", "hi")), checks("private"), dirty)
    assert [type(event) for event in out] == [Started, ChoiceFinished, Finished]
    clean: list[Event] = [Started("r", "m", 1), Unknown({"new": "hello"}), ChoiceFinished("stop"), Finished()]
    out = await through(exchange_of(("user", "hi")), checks("private"), clean)
    assert out == clean


async def test_answers_that_no_model_made_are_not_checked_but_restored() -> None:
    """Canned and cached answers passed when they were stored; the reader's own values still go in."""
    exchange = exchange_of(("user", "mail bob@example.com"))
    config = {"private": GuardrailConfig(use="pii", on=["input", "output"], action="mask", on_error="closed")}
    guards = build(config, ["private"])
    await screened(guards, exchange)
    exchange.answer = Answer("cached", canned("x", id="i", model="m", created=1))
    out = await through(exchange, [*guards.checks, guards.restore], answer(["eve@example.org, [[EMAIL_ADDRESS_1]]"]))
    assert text_of(out) == "eve@example.org, bob@example.com"
    assert [verdict.side for verdict in exchange.verdicts] == ["input"]


async def test_a_flag_holds_nothing_and_says_so_afterwards() -> None:
    """Every event goes on as it came."""
    exchange = exchange_of(("user", "hi"))
    events = answer(["the secret", " sauce"])
    assert all(a is b for a, b in zip(await through(exchange, checks("watch"), events), events, strict=False))
    assert actions(exchange) == ["watch=flag:1"]


async def test_a_check_that_is_off_on_streams_is_not_scanned_there() -> None:
    """Skipped is not passed: the verdict says that it did not run."""
    streamed, folded = exchange_of(("user", "hi"), stream=True), exchange_of(("user", "hi"), stream=False)
    for exchange in (streamed, folded):
        await through(exchange, checks("off"), answer(["secret sauce"]))
    assert [(v.action, v.reason) for v in streamed.verdicts] == [("not_scanned", "off_on_streams")]
    assert actions(folded) == ["off=flag:1"]


async def test_a_cut_stream_gets_no_verdict_and_nothing_that_was_held() -> None:
    """What was not seen to its end did not pass."""
    exchange = exchange_of(("user", "hi"))
    events: list[Event] = [Started("r", "m", 1), Text("word eve@exam"), Failed(ValueError("cut"))]
    out = await through(exchange, checks("private", "watch"), events)
    assert text_of(out) == "word "
    assert exchange.verdicts == []


class Broken:
    def quiet(self, text: str) -> bool:
        return False

    def find(self, text: str, begin: int = 0) -> list[Span]:
        raise RuntimeError("eve@example.org")

    def settle(self, text: str, limit: int) -> int:
        return max(0, limit - 4)


async def test_a_crash_is_closed_or_open_but_never_passed() -> None:
    """Closed ends the answer without the text; open lets all of it go, once, in order, and marks the exchange."""
    rules = OutputRules(name="b", category="c", actions=Actions("mask"), closed=True, mode="hold")
    exchange = exchange_of(("user", "hi"))
    with pytest.raises(CheckFailed) as fault:
        await through(exchange, [OutputCheck(rules, lambda _: Broken())], answer(["hello there", " you"]))
    assert "eve" not in fault.value.message
    assert [(v.action, v.reason) for v in exchange.verdicts] == [("not_scanned", "crashed")]

    rules = OutputRules(name="b", category="c", actions=Actions("mask"), closed=False, mode="hold")
    exchange = exchange_of(("user", "hi"))
    out = await through(exchange, [OutputCheck(rules, lambda _: Broken())], answer(["abc", "hello there", " you"]))
    assert text_of(out) == "abchello there you"
    assert [(v.action, v.reason) for v in exchange.verdicts] == [("not_scanned", "crashed")]
    assert exchange.degraded == ["guardrail:b"]


async def test_eight_words_of_the_system_prompt_in_a_row_are_a_leak() -> None:
    """Case and punctuation do not matter; seven words do not make a leak; no system prompt, no check."""
    prompt = "You answer for Harbour Ltd. Never mention that the night ferry is late on Sundays."
    exchange = exchange_of(("system", prompt), ("user", "hi"))
    out = await through(
        exchange, checks("leak"), answer(["Sure: never MENTION that the -- night", " ferry is late", " on", " Sundays"])
    )
    assert text_of(out) == "Sure: "
    assert blocked(out) == Blocked("leak", "prompt_leak")
    exchange = exchange_of(("system", prompt), ("user", "hi"))
    text = "never mention that the night ferry is quick"
    assert text_of(await through(exchange, checks("leak"), answer(list(text)))) == text
    assert actions(exchange) == ["leak=allow"]
    assert checks("leak")[0].open(exchange_of(("user", "hi"))) is None


async def test_held_characters_are_noted_for_the_receipt() -> None:
    """The most that was held at one time."""
    exchange = exchange_of(("user", "hi"))
    await through(exchange, checks("private"), answer(["a ", "bob@exam", "ple.org "]))
    assert exchange.held_chars == len("bob@exam")
