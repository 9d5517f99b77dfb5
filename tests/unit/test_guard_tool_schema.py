"""Calls of tools: what runs was given by the request and fits its schema, or nothing runs."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.core.errors import CheckFailed
from gateway.core.events import Blocked, ChoiceFinished, Event, Finished, Reasoning, Started, Text, ToolCall
from gateway.core.units import Duration
from guardrails.answered.tool_source import tools_of
from guardrails.build import build
from guardrails.config import GuardrailConfig
from tests.fixtures.guard_world import arguments_of, blocked, exchange_of, through

SCHEMA = {
    "type": "object",
    "properties": {"to": {"type": "string"}, "cc": {"type": "array", "items": {"type": "string"}}},
    "required": ["to"],
    "additionalProperties": False,
}
CHAT = {"tools": [{"type": "function", "function": {"name": "send", "parameters": SCHEMA}}]}
MESSAGES = {"tools": [{"name": "send", "input_schema": SCHEMA}]}
RESPONSES = {"tools": [{"type": "function", "name": "send", "parameters": SCHEMA, "strict": True}]}
LEGACY = {"functions": [{"name": "send", "parameters": SCHEMA}]}


def repairing(**more: Any) -> GuardrailConfig:
    """Its time is no part of what is tested here: a machine that pauses for longer than the default would fail the test."""
    return GuardrailConfig(use="tool_schema", on=["output"], deadline=Duration(10.0), **more)


CONFIG = {
    "mend": repairing(action="repair", then="retry", on_error="closed"),
    "block": repairing(action="block", on_error="closed"),
    "full": repairing(action="block", stream="full", on_error="closed"),
    "watch": repairing(action="flag"),
    "open": repairing(action="block", on_error="open"),
}


def calls(*arguments: str, name: str = "send", finish: str = "tool_calls", pieces: int = 5) -> list[Event]:
    """An answer of calls whose arguments come in pieces."""
    out: list[Event] = [Started("r", "m", 1)]
    for at, raw in enumerate(arguments):
        out.append(ToolCall(at, "", f"c{at}", name))
        out += [ToolCall(at, raw[place : place + pieces]) for place in range(0, len(raw), pieces)]
    return [*out, ChoiceFinished(finish), Finished()]


async def checked(
    events: list[Event], name: str = "mend", body: dict[str, Any] | None = None, stream: bool = True
) -> tuple[list[Event], list[tuple[str, int, str]]]:
    exchange = exchange_of(("user", "hi"), body=CHAT if body is None else body, stream=stream)
    out = await through(exchange, build(CONFIG, [name]).checks, events)
    return out, [(v.action, v.count, v.reason) for v in exchange.verdicts]


@pytest.mark.parametrize("body", [CHAT, MESSAGES, RESPONSES, LEGACY], ids=["chat", "messages", "responses", "legacy"])
@pytest.mark.parametrize("stream", [True, False])
async def test_a_call_that_fits_goes_out_as_it_came(body: dict[str, Any], stream: bool) -> None:
    """In every dialect's way of giving tools, streamed and whole; its pieces stay its pieces."""
    events = calls('{"to": "bob", "cc": []}')
    out, verdicts = await checked(events, body=body, stream=stream)
    assert all(a is b for a, b in zip(out[:-1], events[:-1], strict=True))
    assert verdicts == [("allow", 0, "")]


@pytest.mark.parametrize("body", [CHAT, MESSAGES, RESPONSES, LEGACY], ids=["chat", "messages", "responses", "legacy"])
@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ('{"cc": []}', "missing_key>missing_key"),
        ('{"to": 5}', "wrong_type>wrong_type"),
        ('{"to": "bob", "bcc": "eve"}', "extra_key>extra_key"),
        ("send it to bob", "not_json>not_json"),
        ('{"to": "bo', "unclosed>unclosed"),
        ("", "empty>empty"),
    ],
)
async def test_nothing_of_a_call_that_does_not_fit_goes_out(body: dict[str, Any], raw: str, reason: str) -> None:
    """Nothing is released, so that the model can be asked again; the flaw has a name and no content."""
    out, verdicts = await checked(calls(raw), body=body)
    found = blocked(out)
    assert [type(event) for event in out] == [Started, Blocked]
    assert found is not None
    assert [remedy.kind for remedy in found.remedies] == ["retry"]
    assert "bob" not in found.message
    assert verdicts == [("block", 1, reason)]


async def test_slips_in_arguments_are_mended() -> None:
    """One event with the id and the name, then the choice's end; the other call as it came."""
    out, verdicts = await checked(calls("{'to': 'bob',}", '{"to": "eve"}'))
    assert out[1] == ToolCall(0, '{"to": "bob"}', "c0", "send")
    assert arguments_of(out[2:]) == '{"to": "eve"}'
    assert verdicts == [("repair", 1, "malformed>ok")]
    out, verdicts = await checked(calls("{'to': 'bob',}"), "block")
    assert blocked(out) is not None
    assert verdicts == [("block", 1, "malformed>malformed")]


@pytest.mark.parametrize("raw", ['{"to": "bo', '{"to": "bob"', '{"to": "bob", "cc": ["a"', ""])
async def test_a_call_cut_by_the_token_limit_never_runs(raw: str) -> None:
    """It is told apart from a malformed one, is not mended, and is not asked for again with the same limit."""
    out, verdicts = await checked(calls('{"to": "ann"}', raw, finish="length"))
    found = blocked(out)
    assert found is not None
    assert arguments_of(out) == ""
    assert found.remedies == ()
    assert verdicts == [("block", 1, "truncated>truncated")]


async def test_a_whole_call_before_the_cut_is_judged_by_itself() -> None:
    """Only the last call can have been cut: another one's slip is a slip."""
    _, verdicts = await checked(calls("{'to': 'ann'}", '{"to": "bob"}', finish="length"))
    assert verdicts == [("repair", 1, "malformed>ok")]


async def test_a_tool_that_was_not_given_is_not_called() -> None:
    """Its name, which is the model's invention, is not repeated."""
    out, verdicts = await checked(calls('{"to": "bob"}', name="delete_all"))
    found = blocked(out)
    assert found is not None
    assert "delete_all" not in found.message
    assert verdicts == [("block", 1, "unknown_tool>unknown_tool")]
    _, verdicts = await checked(calls("{}"), body={"messages": []})
    assert verdicts == [("block", 1, "unknown_tool>unknown_tool")]


async def test_one_bad_call_stops_the_others_of_its_choice() -> None:
    """They are one plan; none of them has left."""
    out, verdicts = await checked(calls('{"to": "ann"}', '{"to": 1}'))
    assert arguments_of(out) == ""
    assert verdicts == [("block", 1, "wrong_type>wrong_type")]


async def test_a_tool_without_arguments_may_be_called_with_none() -> None:
    """Anthropic's streams say nothing at all where the arguments are empty."""
    body = {"tools": [{"name": "send", "input_schema": {"type": "object", "properties": {}}}]}
    _, verdicts = await checked(calls(""), body=body)
    assert verdicts == [("allow", 0, "")]


async def test_tools_without_a_schema_take_what_they_take() -> None:
    """Custom tools take free text; only that they exist is looked at."""
    body = {"tools": [{"type": "custom", "custom": {"name": "send"}}, {"type": "web_search"}]}
    assert tools_of(body) == {"send": None, "web_search": None}
    _, verdicts = await checked(calls("to bob"), body=body)
    assert verdicts == [("allow", 0, "")]


async def test_order_is_kept_and_text_before_a_call_is_out_at_once() -> None:
    """In mode `window` only the calls wait, and what comes after them; in `full` everything does."""
    events: list[Event] = [
        Started("r", "m", 1),
        Reasoning("hm"),
        Text("Let me see."),
        ToolCall(0, '{"to": 1}', "a", "send"),
    ]
    ends: list[Event] = [Text("more"), ChoiceFinished("tool_calls"), Finished()]
    out, _ = await checked([*events, *ends])
    assert [type(event) for event in out] == [Started, Reasoning, Text, Blocked]
    out, _ = await checked([*events, *ends], "full")
    assert [type(event) for event in out] == [Started, Blocked]
    good = [*events[:3], ToolCall(0, '{"to": "x"}', "a", "send"), *ends]
    for name in ("block", "full"):
        out, _ = await checked(good, name)
        assert [type(event) for event in out] == [type(event) for event in good]


async def test_a_flag_holds_nothing() -> None:
    """Every event goes on as it came, and the verdict says what was wrong."""
    events = calls('{"to": 1}')
    out, verdicts = await checked(events, "watch")
    assert all(a is b for a, b in zip(out[:-1], events[:-1], strict=True))
    assert verdicts == [("flag", 1, "wrong_type>wrong_type")]


@pytest.mark.parametrize("name", ["block", "open"])
async def test_a_schema_that_cannot_be_applied_is_not_scanned(name: str) -> None:
    """Closed: the call may not go. Open: it does, and the verdict does not say allow."""
    body = {"tools": [{"name": "send", "input_schema": {"$ref": "#"}}]}
    exchange = exchange_of(("user", "hi"), body=body)
    events = calls('{"to": "bob"}')
    if name == "block":
        with pytest.raises(CheckFailed):
            await through(exchange, build(CONFIG, [name]).checks, events)
    else:
        assert arguments_of(await through(exchange, build(CONFIG, [name]).checks, events)) == '{"to": "bob"}'
        assert exchange.degraded == ["guardrail:open"]
    assert [(v.action, v.reason) for v in exchange.verdicts] == [("not_scanned", "schema")]


async def test_arguments_without_end_are_not_scanned() -> None:
    """What is held is bounded."""
    events: list[Event] = [Started("r", "m", 1), *(ToolCall(0, "x" * 100_000, "c", "send") for _ in range(12))]
    exchange = exchange_of(("user", "hi"), body=CHAT)
    with pytest.raises(CheckFailed):
        await through(exchange, build(CONFIG, ["block"]).checks, events)
    assert [(v.action, v.reason) for v in exchange.verdicts] == [("not_scanned", "too_long")]


async def test_what_is_held_is_noted_for_the_receipt() -> None:
    """Characters and time, of streams; what is not streamed waits for its end anyway."""
    for stream in (True, False):
        exchange = exchange_of(("user", "hi"), body=CHAT, stream=stream)
        await through(exchange, build(CONFIG, ["mend"]).checks, calls('{"to": "bob"}'))
        assert exchange.held_chars == (len('{"to": "bob"}') if stream else 0)
        assert bool(exchange.held) is stream
