"""Structured output: what is mended, what is refused, and what a hostile schema cannot do."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest

from gateway.core.errors import CheckFailed
from gateway.core.events import Blocked, Event, Reasoning, Started, Text, ToolCall
from guardrails.answered.answers import AnswerRules
from guardrails.answered.json_flaws import FLAWS
from guardrails.answered.json_repair import repair
from guardrails.answered.json_schema import CATEGORY, JsonSchema
from guardrails.answered.json_validate import Unusable, Validators
from guardrails.answered.schema_source import wanted
from guardrails.build import build
from guardrails.config import GuardrailConfig
from tests.fixtures.guard_world import answer, blocked, call, exchange_of, text_of, through

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
CONFIG = {
    "json": GuardrailConfig(use="json_schema", on=["output"], action="repair", then="retry", attempts=2, on_error="closed"),
    "strict": GuardrailConfig(use="json_schema", on=["output"], action="block", on_error="closed"),
}  # fmt: skip


def body(schema: Any = PERSON) -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "p", "schema": schema}}}


async def checked(
    text: str, name: str = "json", schema: Any = PERSON, finish: str = "stop"
) -> tuple[list[Event], list[str]]:
    exchange = exchange_of(("user", "hi"), body=body(schema))
    chunks = [text[at : at + 7] for at in range(0, len(text), 7)]
    out = await through(exchange, build(CONFIG, [name]).checks, answer(chunks, finish))
    return out, [verdict.header for verdict in exchange.verdicts]


async def test_a_valid_answer_goes_out_as_it_came() -> None:
    """The upstream's own events, held until the choice ended."""
    out, verdicts = await checked('{"name": "Ann", "age": 3}')
    assert text_of(out) == '{"name": "Ann", "age": 3}'
    assert len([event for event in out if type(event) is Text]) == 4
    assert verdicts == ["json=allow"]


@pytest.mark.parametrize(
    "text",
    [
        'Here you go:\n```json\n{"name": "Ann", "age": 3}\n```\nEnjoy!',
        '{"name": "Ann", "age": 3,}',
        "{'name': 'Ann', 'age': 3}",
        '{"name": "Ann", // who\n "age": 3}',
        '{"name": "Ann", "age": 3',
        '{"name": "Ann", "age": 3}}}',
    ],
)
async def test_slips_are_mended(text: str) -> None:
    """Fences, prose, trailing commas, wrong quotes, comments and missing brackets; the client gets JSON that fits."""
    out, verdicts = await checked(text)
    assert msgspec.json.decode(text_of(out)) == {"name": "Ann", "age": 3}
    assert verdicts == ["json=repair:1"]


@pytest.mark.parametrize("text", ["no JSON here", '{"name": "Ann"}', '{"name": "Ann", "age": "three"}', '{"name":', ""])
async def test_what_cannot_be_mended_asks_for_another_try(text: str) -> None:
    """Nothing is released, so that the spine can dispatch again; the message says where, and quotes nothing."""
    out, verdicts = await checked(text)
    found = blocked(out)
    if not text:
        assert found is None
        return
    assert [type(event) for event in out] == [Started, Blocked]
    assert found is not None
    assert [r.attempts for r in found.remedies] == [2]
    assert found.category == "invalid_json"
    assert "Ann" not in found.message
    assert verdicts == ["json=block:1"]


async def test_block_does_not_mend_and_does_not_retry() -> None:
    """`action: block` takes the answer as it is."""
    out, _ = await checked('{"name": "Ann", "age": 3,}', "strict")
    found = blocked(out)
    assert found is not None
    assert found.remedies == ()


async def test_an_answer_cut_by_length_is_never_made_to_look_whole() -> None:
    """Closing what the token limit cut off would invent an end."""
    out, _ = await checked('{"name": "Ann", "age": 3', finish="length")
    assert blocked(out) is not None


async def test_tool_calls_and_plain_requests_are_not_its_business() -> None:
    """A choice that calls tools says no JSON text; a request that asks for none opens no session."""
    check = build(CONFIG, ["json"]).checks[0]
    assert check.open(exchange_of(("user", "hi"))) is None
    exchange = exchange_of(("user", "hi"), body=body())
    out = await through(exchange, [check], call(['{"a":1}']))
    assert [event for event in out if type(event) is ToolCall]
    assert [verdict.header for verdict in exchange.verdicts] == ["json=allow"]


async def test_a_large_answer_is_judged_off_the_event_loop() -> None:
    """Size does not change the verdict."""
    value = {"name": "x" * 200_000, "age": 1}
    out, verdicts = await checked(msgspec.json.encode(value).decode())
    assert msgspec.json.decode(text_of(out)) == value
    assert verdicts == ["json=allow"]


@pytest.mark.parametrize(
    ("asked", "schema"),
    [
        (body(), PERSON),
        ({"response_format": {"type": "json_object"}}, None),
        ({"text": {"format": {"type": "json_schema", "name": "p", "schema": PERSON}}}, PERSON),
        ({"output_format": {"type": "json_schema", "schema": PERSON}}, PERSON),
        ({"output_config": {"format": {"type": "json_schema", "schema": PERSON}}}, PERSON),
        ({"generationConfig": {"responseMimeType": "application/json", "responseJsonSchema": PERSON}}, PERSON),
    ],
)
def test_the_schema_is_found_in_every_dialects_place(asked: dict[str, Any], schema: Any) -> None:
    """By the shape of the request, so a dialect's name is not needed."""
    found = wanted(asked)
    assert found is not None
    assert found.schema == schema
    assert wanted({"response_format": {"type": "text"}}) is None


def doubling() -> dict[str, Any]:
    """Exponential work in a small schema: each definition asks for the next one twice."""
    names = [f"d{at}" for at in range(40)]
    defs = {
        name: {"allOf": [{"$ref": f"#/$defs/{after}"}] * 2}
        for name, after in zip(names, [*names[1:], "end"], strict=True)
    }
    return {"$defs": {**defs, "end": {}}, "$ref": "#/$defs/d0"}


@pytest.mark.parametrize(
    "schema",
    [
        doubling(),
        {"$ref": "#"},
        {"$ref": "https://schemas.example.org/x.json"},
        {"properties": {"a": {"pattern": "(?=look)"}}},
        {"properties": 5},
        {"description": "x" * 200_000},
    ],
    ids=["exponential", "circular", "remote", "look-ahead", "malformed", "huge"],
)
def test_a_hostile_schema_is_unusable_and_costs_little(schema: dict[str, Any]) -> None:
    """It ends in bounded time with a plain reason; nothing is fetched."""
    start = time.process_time()
    with pytest.raises(Unusable):
        Validators().error(schema, {"a": "b"})
    assert time.process_time() - start < 5


def test_patterns_are_linear() -> None:
    """A pattern that would hang a backtracking engine is answered at once."""
    schema = {"properties": {"a": {"pattern": "^(a+)+$"}}, "patternProperties": {"^(x+)+y$": False}}
    assert Validators().error(schema, {"a": "a" * 5000 + "!"}) == "$.a: pattern"
    assert Validators().error(schema, {"a": "aaa", "xxxy": 1}) != ""
    assert Validators().error(schema, {"a": "aaa"}) == ""


@pytest.mark.parametrize("closed", [True, False])
async def test_a_schema_that_cannot_be_used_is_not_scanned(closed: bool) -> None:
    """Closed: the answer may not pass. Open: it does, unchanged, with a warning, and the verdict does not say allow."""
    with ThreadPoolExecutor(1) as pool:
        check = JsonSchema(AnswerRules(name="j", category=CATEGORY, action="repair", closed=closed, deadline=5.0), pool)
        exchange = exchange_of(("user", "hi"), body=body({"$ref": "#"}))
        if closed:
            with pytest.raises(CheckFailed):
                await through(exchange, [check], answer(['{"a"', ": 1}"]))
        else:
            assert text_of(await through(exchange, [check], answer(['{"a"', ": 1}"]))) == '{"a": 1}'
            assert exchange.degraded == ["guardrail:j"]
    assert [(v.action, v.reason) for v in exchange.verdicts] == [("not_scanned", "schema")]


@pytest.mark.parametrize(
    ("text", "mended"),
    [
        ("[1, 2, 3", "[1, 2, 3]"),
        ('{"a": True, "b": None}', '{"a": true, "b": null}'),
        ('{"a": "line\nbreak"}', '{"a": "line\\nbreak"}'),
        ('{"a": "it\'s \\"so\\""}', '{"a": "it\'s \\"so\\""}'),
        ("nothing", None),
    ],
)
def test_repair(text: str, mended: str | None) -> None:
    """Known slips, and nothing for text that holds no value."""
    assert repair(text) == mended


@pytest.mark.parametrize(
    ("text", "finish", "reason"),
    [
        ('```json\n{"name": "Ann", "age": 3}\n```', "stop", "fenced>ok"),
        ('Sure: {"name": "Ann", "age": 3}', "stop", "prose_around>ok"),
        ('{"name": "Ann", "age": 3} Enjoy!', "stop", "trailing>ok"),
        ('{"name": "Ann", "age": 3,}', "stop", "malformed>ok"),
        ('{"name": "Ann", "age": 3', "stop", "unclosed>ok"),
        ('{"name": "Ann", "age": 3', "length", "truncated>truncated"),
        ('{"name": "Ann"', "stop", "unclosed>missing_key"),
        ('{"name": "Ann"}', "stop", "missing_key>missing_key"),
        ('{"name": "Ann", "age": "3"}', "stop", "wrong_type>wrong_type"),
        ('{"name": "Ann", "age": 3, "sex": "f"}', "stop", "extra_key>extra_key"),
        ("I think so.", "stop", "not_json>not_json"),
        (" \n", "stop", "empty>empty"),
        ("[" * 5000 + "]" * 5000, "stop", "too_deep>too_deep"),
        ('{"name": "Ann", "age": 3}', "stop", ""),
        ('{"name": "Ann", "age": 3}', "length", ""),
    ],
)
async def test_a_flaw_has_a_name_before_and_after_the_repair(text: str, finish: str, reason: str) -> None:
    """The verdict says what was wrong and what was left of it, in a fixed vocabulary; nothing wrong, nothing said."""
    exchange = exchange_of(("user", "hi"), body=body())
    await through(exchange, build(CONFIG, ["json"]).checks, answer([text], finish))
    assert [verdict.reason for verdict in exchange.verdicts] == [reason]
    assert all(word in FLAWS for word in reason.split(">") if word)


@pytest.mark.parametrize(("again", "kinds"), [(None, ["fallback"]), (True, ["retry", "fallback"])])
async def test_a_cut_answer_is_not_asked_for_again_unless_that_is_wanted(again: bool | None, kinds: list[str]) -> None:
    """The same limit would cut it again: `retry` is left out, what asks another model stays."""
    check = GuardrailConfig(
        use="json_schema", on=["output"], action="repair", then=["retry", "fallback"], on_error="closed", retry_truncated=again
    )  # fmt: skip
    exchange = exchange_of(("user", "hi"), body=body())
    out = await through(exchange, build({"j": check}, ["j"]).checks, answer(['{"name": "A'], "length"))
    found = blocked(out)
    assert found is not None
    assert [remedy.kind for remedy in found.remedies] == kinds
    assert "token limit" in found.message


async def test_a_refusal_in_its_own_field_is_told_apart() -> None:
    """It is no JSON, and no slip of the model's either."""
    events = [Started("r", "m", 1), Text("I can't do that.", 0, {"openai": {"refusal": True}}), *answer([])[1:]]
    exchange = exchange_of(("user", "hi"), body=body())
    assert blocked(await through(exchange, build(CONFIG, ["json"]).checks, events)) is not None
    assert exchange.verdicts[0].reason == "refused>refused"


async def test_a_flag_lets_the_answer_by_as_it_comes() -> None:
    """Nothing is held; the flaw is counted all the same."""
    check = GuardrailConfig(use="json_schema", on=["output"], action="flag")
    exchange = exchange_of(("user", "hi"), body=body())
    events = answer(['{"name"', ': "Ann"}'])
    out = await through(exchange, build({"j": check}, ["j"]).checks, events)
    assert all(a is b for a, b in zip(out, events, strict=False))
    assert [(v.action, v.reason) for v in exchange.verdicts] == [("flag", "missing_key>missing_key")]


def test_brackets_without_end_are_mended_in_linear_time() -> None:
    """A text made of the wrong brackets costs what its length costs."""
    start = time.process_time()
    repair("[" * 200_000 + "}" * 200_000)
    assert time.process_time() - start < 3


def test_half_a_call_is_never_closed() -> None:
    """With `close=False` what was left open is no text to run."""
    assert repair('{"path": "/home', close=False) is None
    assert repair('{"path": "/home"', close=False) is None
    assert repair("{'path': '/home',}", close=False) == '{"path": "/home"}'


@pytest.mark.parametrize("stream", [None, "window"])
async def test_reasoning_is_held_so_that_another_try_is_possible(stream: Any) -> None:
    """In mode `full`, the default; in `window` it passes, and so nothing can be asked again."""
    check = GuardrailConfig(
        use="json_schema", on=["output"], action="block", then="retry", stream=stream, on_error="closed"
    )
    exchange = exchange_of(("user", "hi"), body=body())
    events = [Started("r", "m", 1), Reasoning("so"), Text("no"), *answer([])[1:]]
    out = await through(exchange, build({"j": check}, ["j"]).checks, events)
    assert [type(event) for event in out] == [Started, *([Reasoning] if stream else []), Blocked]
    assert exchange.verdicts[0].reason == "not_json>not_json"
