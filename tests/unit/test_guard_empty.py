"""Answers that say nothing are no answers, and nothing of them commits the gateway to them."""

from __future__ import annotations

import pytest

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
from gateway.pipeline.seen import CONTENT
from guardrails.build import build
from guardrails.config import GuardrailConfig
from tests.fixtures.guard_world import answer, blocked, exchange_of, through

CONFIG = {
    "empty": GuardrailConfig(use="empty", on=["output"], action="block", then=["retry", "fallback"], on_error="closed"),
    "full": GuardrailConfig(use="empty", on=["output"], action="block", then="retry", stream="full", on_error="closed"),
    "watch": GuardrailConfig(use="empty", on=["output"], action="flag"),
}
START = Started("r", "m", 1)


async def checked(
    events: list[Event], name: str = "empty", stream: bool = True
) -> tuple[list[Event], list[tuple[str, str]]]:
    exchange = exchange_of(("user", "hi"), stream=stream)
    out = await through(exchange, build(CONFIG, [name]).checks, events)
    return out, [(v.action, v.reason) for v in exchange.verdicts]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("chunks", "reason"),
    [([], "no_text"), ([""], "no_text"), ([" ", "\n\t"], "blank"), (["\u200b", "\ufeff\u2060"], "blank"), (["\u3164\u2800\ufe0f"], "blank")],
)  # fmt: skip
async def test_an_answer_without_visible_text_is_empty(chunks: list[str], reason: str, stream: bool) -> None:
    """Nothing that counts as content is sent, so another try is still possible."""
    out, verdicts = await checked(answer(chunks), stream=stream)
    found = blocked(out)
    assert found is not None
    assert not any(type(event) in CONTENT for event in out)
    assert [remedy.kind for remedy in found.remedies] == ["retry", "fallback"]
    assert verdicts == [("block", reason)]


@pytest.mark.parametrize(
    "event",
    [
        Text("."),
        Text("\u200b\n é"),
        Text("👍"),
        ToolCall(0, "{}", "c", "f"),
        Unknown({"openai": {"audio": {"id": "a"}}}),
    ],
    ids=["dot", "accent", "emoji", "call", "unknown"],
)
async def test_the_first_thing_to_see_lets_go_of_all_before_it(event: Event) -> None:
    """In order, and as the same objects; from then on nothing is held."""
    events: list[Event] = [
        START,
        Text(" "),
        Text("", 0, {"openai": {"x": 1}}),
        event,
        Text(" "),
        ChoiceFinished("stop"),
        Finished(),
    ]
    out, verdicts = await checked(events)
    assert all(a is b for a, b in zip(out[:-1], events[:-1], strict=True))
    assert verdicts == [("allow", "")]


async def test_reasoning_alone_is_told_apart_and_so_is_running_out_of_tokens() -> None:
    """What to do about them differs: a token limit that reasoning used up will be used up again."""
    thought: list[Event] = [START, Reasoning("so"), Reasoning(" on")]
    _, verdicts = await checked([*thought, ChoiceFinished("stop"), Finished()])
    assert verdicts == [("block", "reasoning_only")]
    out, verdicts = await checked([*thought, ChoiceFinished("length"), Finished()])
    found = blocked(out)
    assert found is not None
    assert [remedy.kind for remedy in found.remedies] == ["fallback"]
    assert "tokens" in found.message
    assert verdicts == [("block", "cut_in_reasoning")]
    assert (await checked([START, ChoiceFinished("length"), Finished()]))[1] == [("block", "cut")]
    assert (await checked([START, ChoiceFinished("content_filter"), Finished()]))[1] == [("block", "filtered")]


async def test_full_holds_the_reasoning_too() -> None:
    """In mode `window` it passes as it comes; in `full` it waits for the first word."""
    thought: list[Event] = [START, Text(" "), Reasoning("so")]
    assert (await checked(thought))[0] == thought
    assert (await checked(thought, "full"))[0] == [START]
    out, _ = await checked([*thought, ChoiceFinished("stop"), Finished()], "full")
    assert [type(event) for event in out] == [Started, Blocked]
    spoken: list[Event] = [*thought, Text("Yes."), ChoiceFinished("stop"), Finished()]
    assert (await checked(spoken, "full"))[0] == spoken


async def test_one_empty_choice_of_two_is_a_hit() -> None:
    """Each choice is an answer of its own; one that never ends is judged at the end."""
    events: list[Event] = [
        START,
        Text("yes", 0),
        Text(" ", 1),
        ChoiceFinished("stop", 0),
        ChoiceFinished("stop", 1),
        Finished(),
    ]
    assert (await checked(events))[1] == [("block", "blank")]
    assert (await checked([START, Text(" "), Finished()]))[1] == [("block", "blank")]
    assert (await checked([START, Finished()]))[1] == [("block", "no_text")]


async def test_a_flag_holds_nothing_and_a_cut_stream_has_no_verdict() -> None:
    """What was not seen to its end is neither empty nor not."""
    events = answer([" "])
    out, verdicts = await checked(events, "watch")
    assert all(a is b for a, b in zip(out[:-1], events[:-1], strict=True))
    assert verdicts == [("flag", "no_text")]
    assert (await checked([START, Text(" "), Failed(ValueError("cut"))]))[1] == []
