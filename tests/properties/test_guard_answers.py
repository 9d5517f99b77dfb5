"""Checks that judge answers as answers, as laws: how an answer comes in pieces changes neither what is said of it nor what
is sent of it, and nothing is lost or told twice."""

from __future__ import annotations

import asyncio
from functools import cache

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.core.events import Blocked, ChoiceFinished, Event, Finished, Reasoning, Started, Text, ToolCall
from gateway.core.ports import Transform
from guardrails.build import build
from guardrails.config import GuardrailConfig
from tests.fixtures.guard_world import exchange_of, through

SCHEMA = {"type": "object", "properties": {"to": {"type": "string"}}, "required": ["to"]}
BODY = {
    "response_format": {"type": "json_schema", "json_schema": {"name": "p", "schema": SCHEMA}},
    "tools": [{"type": "function", "function": {"name": "send", "parameters": SCHEMA}}],
}
USES = ["json_schema", "tool_schema", "empty", "refusal", "repetition"]
MENDS = {"json_schema", "tool_schema"}


@cache
def check(use: str, action: str, stream: str | None) -> Transform:
    action = "repair" if action == "block" and use in MENDS else action
    config = GuardrailConfig(use=use, on=["output"], action=action, stream=stream, on_error="closed", deadline=30.0)  # type: ignore[arg-type]
    return build({"c": config}, ["c"]).checks[0]


WORDS = st.lists(
    st.sampled_from(["I'm sorry, but ", "I can't help with that. ", "Here it is. ", " ", "\n", "\u200b", '{"to": "bob"}', "{'to': 'bob',}",
                     "```json\n", "```", "na " * 150, "So: ", "é", "The bridge was opened in 1894. "]),
    max_size=6,
).map("".join)  # fmt: skip
ARGUMENTS = st.sampled_from(['{"to": "bob"}', "{'to': 'bob',}", '{"to": 1}', '{"to": "bo', "", "x"])
PARTS = st.lists(
    st.one_of(st.tuples(st.just("text"), WORDS), st.tuples(st.just("thought"), WORDS), st.tuples(st.just("call"), ARGUMENTS)), max_size=4
)  # fmt: skip


def events(data: st.DataObject, parts: list[tuple[str, str]], finish: str) -> list[Event]:
    """The parts, each cut somewhere."""
    out: list[Event] = [Started("r", "m", 1)]
    for at, (kind, text) in enumerate(parts):
        cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))
        pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        if kind == "call":
            out += [ToolCall(at, "", f"c{at}", "send"), *(ToolCall(at, piece) for piece in pieces)]
        else:
            out += [Text(piece) if kind == "text" else Reasoning(piece) for piece in pieces]
    return [*out, ChoiceFinished(finish), Finished()]


def story(out: list[Event]) -> list[tuple[str, str]]:
    """What came, in order, with pieces of the same thing joined."""
    told: list[tuple[str, str]] = []
    for event in out:
        name = type(event).__name__ + (str(event.call) if type(event) is ToolCall else "")
        text = event.arguments if type(event) is ToolCall else getattr(event, "text", "")
        if told and told[-1][0] == name:
            told[-1] = (name, told[-1][1] + text)
        elif text or type(event) not in (Text, Reasoning):
            told.append((name, text))
    return told


@pytest.mark.parametrize("use", USES)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.data(),
    PARTS,
    st.sampled_from(["stop", "length", "tool_calls", "content_filter"]),
    st.sampled_from([None, "full"]),
)
def test_the_pieces_make_no_difference(
    use: str, data: st.DataObject, parts: list[tuple[str, str]], finish: str, stream: str | None
) -> None:
    """Two ways to cut one answer: the same is sent, in the same order, and the same is said."""

    async def run(action: str) -> None:
        seen = []
        for _ in range(2):
            exchange = exchange_of(("user", "hi"), body=BODY)
            sent = events(data, parts, finish)
            out = await through(exchange, [check(use, action, stream if action == "block" else None)], sent)
            seen.append((story(out), [(v.action, v.count, v.reason) for v in exchange.verdicts]))
            blocked = any(type(event) is Blocked for event in out)
            assert len(exchange.verdicts) == 1
            assert (exchange.verdicts[0].action == "block") is blocked
            if action == "flag" or exchange.verdicts[0].action == "allow":
                assert story(out) == story(sent)
            if blocked and stream == "full":
                assert story(out)[1:-1] == []
        assert seen[0] == seen[1]

    asyncio.run(run("block"))
    asyncio.run(run("flag"))
