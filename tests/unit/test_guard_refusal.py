"""Refusals: found by their words at the beginning, by their field or by the end's reason; and nothing else is one."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from guardrails.answered.refusal import SHORT, opening
from guardrails.answered.refusal_rules import LANGUAGES, OPENING, read_rules, refuses
from guardrails.build import build
from guardrails.config import GuardrailConfig
from tests.fixtures.guard_world import answer, blocked, exchange_of, text_of, through

CONFIG = {
    "no": GuardrailConfig(use="refusal", on=["output"], action="block", then=["fallback"], on_error="closed"),
    "full": GuardrailConfig(
        use="refusal", on=["output"], action="block", then="retry", stream="full", on_error="closed"
    ),
    "watch": GuardrailConfig(use="refusal", on=["output"], action="flag"),
}
START = Started("r", "m", 1)
LONG = "The bridge was opened in 1894 after eight years of work. It carries a road and two footways across the river. "


def rows() -> list[tuple[str, str, str]]:
    text = (Path(__file__).parents[1] / "data" / "refusals.tsv").read_text("utf-8")
    lines = [line.split("\t") for line in text.splitlines() if not line.startswith("#")]
    return [(label, language, words.replace("\\n", "\n")) for label, language, words in lines]


async def checked(
    events: list[Event], name: str = "no", stream: bool = True
) -> tuple[list[Event], list[tuple[str, str]]]:
    exchange = exchange_of(("user", "hi"), stream=stream)
    out = await through(exchange, build(CONFIG, [name]).checks, events)
    return out, [(v.action, v.reason) for v in exchange.verdicts]


def test_the_rules_know_their_own_examples() -> None:
    """Of the list in tests/data: nearly all refusals, no near-miss. It is the list that they were made with."""
    found = {row: refuses(row[2]) for row in rows()}
    missed = [row[2] for row, language in found.items() if row[0] == "refusal" and not language]
    wrong = [row[2] for row, language in found.items() if row[0] == "other" and language]
    refusals = sum(row[0] == "refusal" for row in found)
    hits = refusals - len(missed)
    figures = (
        f"recall {hits}/{refusals} = {hits / refusals:.3f}, precision {hits}/{hits + len(wrong)}; {missed} {wrong}"
    )
    assert hits / refusals >= 0.95, figures
    assert not wrong, figures


def test_a_dozen_languages_have_examples_and_rules() -> None:
    """Both of each: no language is there by its name only."""
    shown = {language for label, language, _ in rows() if label == "refusal"}
    assert shown == set(LANGUAGES)
    assert len(shown) >= 12
    assert all(refuses(words) == language for label, language, words in rows() if label == "refusal" and refuses(words))


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_nothing_of_a_refusal_goes_out(size: int, stream: bool) -> None:
    """However it comes; so another model can be asked."""
    text = "I'm sorry, but I can't help with that. If you like, ask me about bridges. " + LONG
    out, verdicts = await checked(answer([text[at : at + size] for at in range(0, len(text), size)]), stream=stream)
    found = blocked(out)
    assert [type(event) for event in out] == [Started, Blocked]
    assert found is not None
    assert [remedy.kind for remedy in found.remedies] == ["fallback"]
    assert verdicts == [("block", "en")]


async def test_only_the_opening_is_held() -> None:
    """It goes out as it came once two sentences are read, and from then on nothing waits."""
    events: list[Event] = [START, *map(Text, LONG.split(" ")), Text("More"), ChoiceFinished("stop"), Finished()]
    pieces = [Text(f"{word} ") for word in LONG.split(" ")]
    events = [START, *pieces, Text("More"), ChoiceFinished("stop"), Finished()]
    early, _ = await checked(events[:8])
    assert early == [START]
    out, verdicts = await checked(events)
    assert all(a is b for a, b in zip(out[:-1], events[:-1], strict=True))
    assert verdicts == [("allow", "")]
    exchange = exchange_of(("user", "hi"))
    await through(exchange, build(CONFIG, ["no"]).checks, events)
    assert 0 < exchange.held_chars <= len(LONG)


@given(st.text("aI .!?\ncan't help with that。", max_size=400), st.text(max_size=50))
def test_the_opening_does_not_depend_on_what_comes_after_it(text: str, more: str) -> None:
    """Once it is known it stays the same, and it is bounded."""
    found = opening(text)
    if found is not None:
        assert opening(text + more) == found
        assert SHORT <= len(found) <= OPENING
    assert opening("x" * (OPENING + 1)) == "x" * OPENING


@pytest.mark.parametrize(
    "event",
    [Text("No.", 0, {"openai": {"refusal": True}}), Unknown({"openai": {"refusal": "No."}})],
    ids=["text", "delta"],
)
async def test_the_field_for_refusals_is_one_whatever_it_says(event: Event) -> None:
    """OpenAI's models say it there, in words that no rule need know."""
    out, verdicts = await checked([START, event, ChoiceFinished("stop"), Finished()])
    assert [type(one) for one in out] == [Started, Blocked]
    assert verdicts == [("block", "field")]


async def test_an_end_by_the_provider_is_one_too() -> None:
    """Anthropic's `refusal` and OpenAI's `content_filter` are one reason here; in `full` nothing is out by then."""
    events: list[Event] = [START, Text(LONG * 2), ChoiceFinished("content_filter"), Finished()]
    out, verdicts = await checked(events)
    assert text_of(out) == LONG * 2
    assert type(out[-1]) is Blocked
    assert verdicts == [("block", "finish_reason")]
    out, _ = await checked(events, "full")
    assert [type(event) for event in out] == [Started, Blocked]


async def test_a_tool_call_ends_the_opening_and_reasoning_is_not_read() -> None:
    """Order stays; what a model thinks of declining is no refusal."""
    events: list[Event] = [
        START, Reasoning("I can't help with that."), Text("Let me see."), Reasoning("hm"), ToolCall(0, "{}", "c", "f"),
        ChoiceFinished("tool_calls"), Finished(),
    ]  # fmt: skip
    out, verdicts = await checked(events)
    assert all(a is b for a, b in zip(out[:-1], events[:-1], strict=True))
    assert verdicts == [("allow", "")]
    refused: list[Event] = [START, Text("I can't help with that."), ToolCall(0, "{}", "c", "f")]
    assert [type(event) for event in (await checked(refused))[0]] == [Started, Blocked]


async def test_full_holds_reasoning_and_everything_else() -> None:
    """Up to the end of the choice, in order."""
    events: list[Event] = [START, Reasoning("so"), Text(LONG * 2), ChoiceFinished("stop"), Finished()]
    assert (await checked(events[:3], "full"))[0] == [START]
    assert (await checked(events, "full"))[0] == events


async def test_choices_are_answers_of_their_own_and_a_flag_holds_nothing() -> None:
    """One that declines is a hit, also when it never says that it ended."""
    events: list[Event] = [
        START,
        Text("Sure! ", 0),
        Text("I can't help with that.", 1),
        Text("Here it is.", 0),
        Finished(),
    ]
    assert blocked((await checked(events))[0]) is not None
    out, verdicts = await checked(events, "watch")
    assert all(a is b for a, b in zip(out[:-1], events[:-1], strict=True))
    assert verdicts == [("flag", "en")]
    assert (await checked([START, Text("I"), Failed(ValueError("cut"))]))[1] == []


def test_a_rule_that_cannot_be_read_is_named_by_its_line() -> None:
    """The list is data, and its slips are found when it is read."""
    assert read_rules("@A x\n@A y\nen b{A}") == {"en": ["b(?:x|y)"]}
    with pytest.raises(ValueError, match="line 2"):
        read_rules("# about\nen")
