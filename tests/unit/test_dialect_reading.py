"""Requests, read: what is checked, what is shown to the checks, and what an error says."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from gateway.core.errors import BadRequest
from gateway.core.request import Request
from tests.fixtures.dialects import ANTHROPIC, OPENAI, chat, message, operation

USER = {"role": "user", "content": "hi"}

BAD_CHAT: list[tuple[dict[str, Any], str]] = [
    ({"model": None}, "model"),
    ({"model": 3}, "model"),
    ({"model": ""}, "model"),
    ({"model": "m" * 257}, "model"),
    ({"messages": None}, "messages"),
    ({"messages": []}, "messages"),
    ({"messages": "hi"}, "messages"),
    ({"messages": [USER, "hi"]}, "messages[1]"),
    ({"messages": [{"content": "hi"}]}, "messages[0].role"),
    ({"messages": [{"role": ["user"], "content": "hi"}]}, "messages[0].role"),
    ({"messages": [{"role": "robot", "content": "hi"}]}, "messages[0].role"),
    ({"messages": [{"role": "user"}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": ["hi"]}]}, "messages[0].content[0]"),
    ({"messages": [{"role": "user", "content": [{"text": "hi"}]}]}, "messages[0].content[0].type"),
    ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
    ({"messages": [{"role": "user", "content": "hi", "name": 1}]}, "messages[0].name"),
    ({"messages": [{"role": "assistant", "content": None, "tool_calls": {}}]}, "messages[0].tool_calls"),
    ({"messages": [{"role": "assistant", "content": None, "tool_calls": [7]}]}, "messages[0].tool_calls[0]"),
    (
        {"messages": [{"role": "assistant", "content": None, "tool_calls": [{"function": {"arguments": {}}}]}]},
        "messages[0].tool_calls[0].function.arguments",
    ),
    ({"stream": "yes"}, "stream"),
    ({"stream": 1}, "stream"),
    ({"n": 0}, "n"),
    ({"n": 129}, "n"),
    ({"n": True}, "n"),
    ({"n": 1.0}, "n"),
    ({"stream_options": []}, "stream_options"),
    ({"stream_options": {"include_usage": "yes"}}, "stream_options.include_usage"),
    ({"prediction": "x"}, "prediction"),
]


@pytest.mark.parametrize(("fields", "param"), BAD_CHAT, ids=[param for _, param in BAD_CHAT])
def test_a_wrong_field_is_named(fields: dict[str, Any], param: str) -> None:
    """A field of the wrong type is a 400 that names it and never repeats what was in it."""
    with pytest.raises(BadRequest) as caught:
        chat(**fields)
    assert caught.value.param == param
    assert param.partition("[")[0] in caught.value.message
    assert "robot" not in caught.value.message


def slots(request: Request) -> list[tuple[str, str, int, str, str]]:
    return [(slot.role, slot.kind, slot.turn, slot.path, slot.text) for slot in request.slots]


def test_slots_are_all_the_text_in_reading_order() -> None:
    """Every text a model would read is a slot, in reading order, with who said it and where it stands."""
    request = chat(
        messages=[
            {"role": "developer", "content": "rules"},
            {"role": "user", "name": "Ann", "content": [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "u"}}, {"type": "text", "text": "b"}]},
            {"role": "assistant", "content": None, "reasoning_content": "hm", "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}, {"id": "2", "type": "custom", "custom": {"name": "g", "input": "raw"}}]},
            {"role": "tool", "tool_call_id": "1", "name": "f", "content": "result"},
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}], "function_call": {"name": "f", "arguments": "old"}},
            {"role": "function", "name": "f", "content": "old result"},
        ],
        prediction={"type": "content", "content": [{"type": "text", "text": "guess"}]},
    )  # fmt: skip
    assert slots(request) == [
        ("system", "text", 0, "messages[0].content", "rules"),
        ("user", "text", 1, "messages[1].content[0].text", "a"),
        ("user", "text", 1, "messages[1].content[2].text", "b"),
        ("user", "name", 1, "messages[1].name", "Ann"),
        ("assistant", "text", 2, "messages[2].reasoning_content", "hm"),
        ("assistant", "tool_arguments", 2, "messages[2].tool_calls[0].function.arguments", "{}"),
        ("assistant", "tool_arguments", 2, "messages[2].tool_calls[1].custom.input", "raw"),
        ("tool", "tool_result", 3, "messages[3].content", "result"),
        ("assistant", "text", 4, "messages[4].content[0].refusal", "no"),
        ("assistant", "tool_arguments", 4, "messages[4].function_call.arguments", "old"),
        ("tool", "tool_result", 5, "messages[5].content", "old result"),
        ("assistant", "text", 6, "prediction.content[0].text", "guess"),
    ]
    assert [slot.text for slot in request.latest_user()] == ["a", "b", "Ann"]


def test_replacing_a_slot_rewrites_the_body_and_nothing_else() -> None:
    """A slot is a place in the body: replacing every text leaves all other fields as they came."""
    request = chat(
        messages=[{"role": "user", "content": [{"type": "text", "text": "a", "x": 1}]}, USER | {"y": 2}], z=3
    )
    want = copy.deepcopy(request.body)
    want["messages"][0]["content"][0]["text"] = want["messages"][1]["content"] = "X"
    for slot in request.slots:
        slot.replace("X")
    assert request.body == want


def test_the_flags_are_read() -> None:
    """Stream and usage are off unless asked for; null is not asking."""
    plain = chat(stream=None, stream_options=None, n=None)
    assert (plain.stream, plain.include_usage, plain.model, plain.dialect) == (False, False, "alias", "openai")
    asked = chat(stream=True, stream_options={"include_usage": True, "x": 1}, n=128)
    assert (asked.stream, asked.include_usage) == (True, True)


@pytest.mark.parametrize(
    ("given", "texts"),
    [("a", ["a"]), (["a", "b"], ["a", "b"]), ([1, 2], []), ([[1], [2, 3]], [])],
)
@pytest.mark.parametrize("name", ["input", "prompt"])
def test_inputs_and_prompts_come_in_four_shapes(name: str, given: Any, texts: list[str]) -> None:
    """A string, strings, token ids or lists of them; the strings are slots of one turn."""
    request = operation("embeddings" if name == "input" else "completions", **{name: given})
    assert [slot.text for slot in request.slots] == texts
    assert request.latest_user() == request.slots


@pytest.mark.parametrize("given", [None, 5, [], [None], [1, "a", None], ["a", 1], [[1, "a"]], [True]])
@pytest.mark.parametrize("name", ["input", "prompt"])
def test_other_shapes_are_refused(name: str, given: Any) -> None:
    """Anything else is a 400 that names the field or the item."""
    with pytest.raises(BadRequest) as caught:
        operation("embeddings" if name == "input" else "completions", **{name: given})
    assert (caught.value.param or "").startswith(name)


def test_a_completions_suffix_is_text_too() -> None:
    """What follows the gap is the user's text like what precedes it."""
    assert [slot.path for slot in operation("completions", prompt="a", suffix="b").slots] == ["prompt", "suffix"]
    with pytest.raises(BadRequest):
        operation("completions", prompt="a", suffix=3)


BAD_MESSAGE: list[tuple[dict[str, Any], str]] = [
    ({"max_tokens": None}, "max_tokens"),
    ({"max_tokens": -1}, "max_tokens"),
    ({"max_tokens": True}, "max_tokens"),
    ({"system": 3}, "system"),
    ({"system": ["x"]}, "system[0]"),
    ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
    ({"messages": [{"role": "user"}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": [{"type": "text", "text": 1}]}]}, "messages[0].content[0].text"),
    ({"messages": [{"role": "user", "content": [{"type": 1}]}]}, "messages[0].content[0].type"),
    (
        {"messages": [{"role": "user", "content": [{"type": "tool_result", "content": 1}]}]},
        "messages[0].content[0].content",
    ),
    ({"messages": ["hi"]}, "messages[0]"),
    ({"messages": [{"role": "user", "content": ["hi"]}]}, "messages[0].content[0]"),
    (
        {"messages": [{"role": "user", "content": [{"type": "tool_result", "content": ["x"]}]}]},
        "messages[0].content[0].content[0]",
    ),
    ({"stream": "no"}, "stream"),
]


@pytest.mark.parametrize(("fields", "param"), BAD_MESSAGE, ids=[param for _, param in BAD_MESSAGE])
def test_a_wrong_field_of_a_message_request_is_named(fields: dict[str, Any], param: str) -> None:
    """Anthropic requests: a field of the wrong type is a 400 that names it."""
    with pytest.raises(BadRequest) as caught:
        message(**fields)
    assert caught.value.param == param


def test_slots_of_a_message_request() -> None:
    """System, texts, thoughts, every string of a tool's input, results and documents; redacted thoughts stay closed."""
    request = message(
        system=[{"type": "text", "text": "rules", "cache_control": {"type": "ephemeral"}}],
        messages=[
            {"role": "user", "content": [
                {"type": "document", "title": "T", "source": {"type": "text", "media_type": "text/plain", "data": "doc"}},
                {"type": "search_result", "source": "u", "title": "s", "content": [{"type": "text", "text": "found"}]},
                {"type": "image", "source": {"type": "url", "url": "u"}},
                {"type": "text", "text": "q"},
            ]},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "hm", "signature": "s"},
                {"type": "redacted_thinking", "data": "xxx"},
                {"type": "tool_use", "id": "1", "name": "f", "input": {"a": "one", "b": [{"c": "two"}, "three", 4], "d": "four"}},
            ]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": [{"type": "text", "text": "r"}]},
                                         {"type": "tool_result", "tool_use_id": "2", "content": "r2"}]},
        ],
    )  # fmt: skip
    assert slots(request) == [
        ("system", "text", 0, "system[0].text", "rules"),
        ("retrieved", "text", 0, "messages[0].content[0].title", "T"),
        ("retrieved", "text", 0, "messages[0].content[0].source.data", "doc"),
        ("retrieved", "text", 0, "messages[0].content[1].content[0].text", "found"),
        ("user", "text", 0, "messages[0].content[3].text", "q"),
        ("assistant", "text", 1, "messages[1].content[0].thinking", "hm"),
        ("assistant", "tool_arguments", 1, "messages[1].content[2].input.a", "one"),
        ("assistant", "tool_arguments", 1, "messages[1].content[2].input.b[0].c", "two"),
        ("assistant", "tool_arguments", 1, "messages[1].content[2].input.b[1]", "three"),
        ("assistant", "tool_arguments", 1, "messages[1].content[2].input.d", "four"),
        ("tool", "tool_result", 2, "messages[2].content[0].content[0].text", "r"),
        ("tool", "tool_result", 2, "messages[2].content[1].content", "r2"),
    ]


def test_documents_of_every_kind_are_retrieved_text() -> None:
    """Text inside documents and search results, also inside a tool's result, is a slot marked as retrieved."""
    result = {"type": "search_result", "source": "u", "title": "t", "content": [{"type": "text", "text": "found"}]}
    document = {
        "type": "document",
        "context": "c",
        "source": {"type": "content", "content": [{"type": "text", "text": "x"}]},
    }
    plain = {"type": "document", "source": {"type": "content", "content": "y"}}
    pdf = {"type": "document", "source": {"type": "base64", "data": "JVBE"}}
    tool = {"type": "tool_result", "tool_use_id": "1", "content": [result, document, {"type": "image"}]}
    request = message(system="rules", messages=[{"role": "user", "content": [plain, pdf, tool, {"type": "tool_result", "tool_use_id": "2"}]}])  # fmt: skip
    assert [(slot.role, slot.text, slot.path) for slot in request.slots] == [
        ("system", "rules", "system"),
        ("retrieved", "y", "messages[0].content[0].source.content"),
        ("retrieved", "found", "messages[0].content[2].content[0].content[0].text"),
        ("retrieved", "c", "messages[0].content[2].content[1].context"),
        ("retrieved", "x", "messages[0].content[2].content[1].source.content[0].text"),
    ]


def test_a_deeply_nested_tool_input_is_walked_without_recursion() -> None:
    """The client sets the depth of a tool's input, so finding its strings may not use the interpreter's stack."""
    value: Any = "deep"
    for _ in range(5000):
        value = [value]
    block = {"type": "tool_use", "id": "1", "name": "f", "input": {"a": value}}
    assert [slot.text for slot in message(messages=[{"role": "assistant", "content": [block]}]).slots] == ["deep"]


def test_an_operation_the_api_does_not_have_is_a_bad_request() -> None:
    """Anthropic's API has no embeddings."""
    with pytest.raises(BadRequest):
        ANTHROPIC.read("embeddings", {"model": "alias", "input": "x"})
    assert OPENAI.read("embeddings", {"model": "alias", "input": "x"}).stream is False
