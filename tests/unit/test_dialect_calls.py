"""Upstream calls: the body as the provider's dialect and parameter table want it, and translation between dialects."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from gateway.core.errors import Untranslatable
from gateway.core.request import Request
from tests.fixtures.dialects import ANTHROPIC, OPENAI, TARGET, chat, message, operation


def sent(dialect: Any, request: Request, stream: bool = False, **params: Any) -> dict[str, Any]:
    """The body of the call, which never touches the request's own."""
    before = copy.deepcopy(request.body)
    body: dict[str, Any] = json.loads(dialect.call(request, TARGET, stream, params).body)
    assert request.body == before
    return body


def test_a_call_says_where_and_how() -> None:
    """Path below the base URL, content type, what is accepted; never a compressed reply that we would have to decode."""
    call = OPENAI.call(chat(), TARGET, True, {})
    assert (call.method, call.path, call.stream) == ("POST", "/chat/completions", True)
    assert call.headers == {"content-type": "application/json", "accept": "text/event-stream", "accept-encoding": "identity"}  # fmt: skip
    assert OPENAI.call(operation("completions", prompt="x"), TARGET, False, {}).path == "/completions"
    embed = OPENAI.call(operation("embeddings", input="x"), TARGET, True, {})
    assert (embed.path, embed.stream, json.loads(embed.body)) == ("/embeddings", False, {"model": "upstream-model", "input": "x"})  # fmt: skip
    call = ANTHROPIC.call(message(), TARGET, False, {})
    assert (call.path, call.headers["anthropic-version"], call.headers["accept"]) == ("/messages", "2023-06-01", "application/json")  # fmt: skip
    call.headers["authorization"] = "x"
    assert "authorization" not in ANTHROPIC.call(message(), TARGET, False, {}).headers


def test_the_upstream_is_asked_to_stream_or_not_whatever_the_client_asked() -> None:
    """Streaming is the dispatcher's choice; usage is always asked for, and the client's other stream options stay."""
    request = chat(stream=False, stream_options={"include_usage": False, "x": 1})
    assert sent(OPENAI, request, True)["stream_options"] == {"include_usage": True, "x": 1}
    assert sent(OPENAI, request, True)["stream"] is True
    assert not {"stream", "stream_options"} & sent(OPENAI, request, False).keys()
    assert sent(ANTHROPIC, message(stream=False), True)["stream"] is True
    assert "stream" not in sent(ANTHROPIC, message(stream=True), False)


def test_the_parameter_table() -> None:
    """Drop, rename, default, clamp and force, in that order; numbers only are clamped."""
    request = chat(temperature=1.7, top_p=-1, max_tokens=9, store=True, seed=1, n=True and 2, stop="x")
    table = {
        "drop": ["store", "absent"],
        "rename": {"max_tokens": "max_completion_tokens", "absent": "y"},
        "default": {"seed": 5, "top_k": 40},
        "clamp": {"temperature": [0, 1], "top_p": [0, None], "stop": [0, 1], "n": [None, 1]},
        "force": {"user": "gateway"},
    }
    body = sent(OPENAI, request, **table)
    assert {k: v for k, v in body.items() if k not in ("messages", "model")} == {
        "temperature": 1,
        "top_p": 0,
        "max_completion_tokens": 9,
        "seed": 1,
        "top_k": 40,
        "stop": "x",
        "n": 1,
        "user": "gateway",
    }
    assert sent(OPENAI, chat(a=1, b=2), rename={"a": "b"})["b"] == 2
    assert "stream_options" not in sent(OPENAI, chat(), True, drop=["stream_options"])


TOOLS = [
    {
        "type": "function",
        "function": {"name": "f", "description": "d", "parameters": {"type": "object"}, "strict": True},
    }
]
PIXEL = "iVBORw0KGgo="


def test_an_openai_request_said_in_anthropics_words() -> None:
    """System apart, results of one round in one turn, tools, images, schema, limits: all of it arrives."""
    request = chat(
        messages=[
            {"role": "system", "content": "rules"},
            {"role": "user", "content": [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}", "detail": "low"}}, {"type": "image_url", "image_url": {"url": "https://x/y.png"}}]},
            {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}, {"id": "c2", "type": "function", "function": {"name": "f", "arguments": ""}}]},
            {"role": "tool", "tool_call_id": "c1", "content": "one"},
            {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "two"}, {"type": "text", "text": ""}]},
            {"role": "user", "content": "so?"},
            {"role": "assistant", "content": "so.", "refusal": None},
        ],
        tools=TOOLS, tool_choice="required", parallel_tool_calls=False, max_completion_tokens=50, temperature=0.5, top_p=0.9,
        stop=["END"], user="u1", n=1, logprobs=False, stream=True, stream_options={"include_usage": True}, service_tier="auto",
        presence_penalty=0, reasoning_effort="high", logit_bias=None,
        response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}, "strict": True}},
    )  # fmt: skip
    assert sent(ANTHROPIC, request, True) == {
        "model": "upstream-model",
        "max_tokens": 50,
        "system": "rules",
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "look"}, {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}, {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}}]},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "c1", "name": "f", "input": {"a": 1}}, {"type": "tool_use", "id": "c2", "name": "f", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "one"}, {"type": "tool_result", "tool_use_id": "c2", "content": "two"}]},
            {"role": "user", "content": "so?"},
            {"role": "assistant", "content": "so."},
        ],
        "tools": [{"name": "f", "description": "d", "input_schema": {"type": "object"}, "strict": True}],
        "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
        "temperature": 0.5,
        "top_p": 0.9,
        "stop_sequences": ["END"],
        "metadata": {"user_id": "u1"},
        "output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}, "effort": "high"},
        "stream": True,
    }  # fmt: skip


def test_anthropics_required_limit_has_a_default() -> None:
    """A request without a limit gets the profile's, or 4096."""
    assert sent(ANTHROPIC, chat())["max_tokens"] == 4096
    assert sent(ANTHROPIC, chat(), default={"max_tokens": 100})["max_tokens"] == 100


def test_an_anthropic_request_said_in_openais_words() -> None:
    """Blocks become messages: results first, then what the user says; other providers' thoughts are not replayed."""
    request = message(
        system=[{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}, {"type": "text", "text": "b"}],
        messages=[
            {"role": "user", "content": [{"type": "text", "text": "look", "cache_control": {"type": "ephemeral"}}, {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}]},
            {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "text", "text": "calling"}, {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "r"}], "is_error": True}, {"type": "text", "text": "and?"}]},
            {"role": "assistant", "content": [{"type": "redacted_thinking", "data": "x"}]},
        ],
        tools=[{"name": "f", "description": "d", "input_schema": {"type": "object"}, "cache_control": {"type": "ephemeral"}}],
        tool_choice={"type": "tool", "name": "f", "disable_parallel_tool_use": True},
        stop_sequences=["END"], temperature=0.5, metadata={"user_id": "u1"}, thinking={"type": "disabled"}, stream=True,
        output_config={"effort": "low", "format": {"type": "json_schema", "schema": {"type": "object"}}},
    )  # fmt: skip
    assert sent(OPENAI, request, True) == {
        "model": "upstream-model",
        "messages": [
            {"role": "system", "content": "a\n\nb"},
            {"role": "user", "content": [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}]},
            {"role": "assistant", "content": "calling", "tool_calls": [{"id": "t1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}]},
            {"role": "tool", "tool_call_id": "t1", "content": "r"},
            {"role": "user", "content": "and?"},
        ],
        "max_tokens": 9,
        "temperature": 0.5,
        "stop": ["END"],
        "user": "u1",
        "reasoning_effort": "low",
        "tools": [{"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "parallel_tool_calls": False,
        "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"type": "object"}, "strict": True}},
        "stream": True,
        "stream_options": {"include_usage": True},
    }  # fmt: skip


def user(*parts: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(parts)}]}


def assistant(**fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "assistant", "content": None, **fields}]}


CANNOT_SAY: list[tuple[dict[str, Any], str]] = [
    ({"n": 2}, "n"),
    ({"logprobs": True}, "logprobs"),
    ({"logit_bias": {"1": 1}}, "logit_bias"),
    ({"seed": 7}, "seed"),
    ({"presence_penalty": 0.5}, "presence_penalty"),
    ({"response_format": {"type": "json_object"}}, "response_format"),
    ({"response_format": {"type": "grammar"}}, "response_format"),
    ({"reasoning_effort": "minimal"}, "reasoning_effort"),
    ({"a_vendors_field": {"x": 1}}, "a_vendors_field"),
    ({"functions": [{"name": "f"}]}, "functions"),
    ({"tools": [{"type": "custom", "custom": {"name": "f"}}]}, "tools[0]"),
    ({"tools": TOOLS, "tool_choice": {"type": "allowed_tools"}}, "tool_choice"),
    (user({"type": "input_audio", "input_audio": {}}), "messages[0].content[0]"),
    (user({"type": "image_url", "image_url": {"url": "ftp://x"}}), "messages[0].content[0].image_url.url"),
    (user({"type": "image_url", "image_url": 3}), "messages[0].content[0].image_url.url"),
    ({"messages": [{"role": "user", "name": "Ann", "content": "x"}]}, "messages[0].name"),
    ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
    ({"messages": [{"role": "system", "content": [{"type": "image_url", "image_url": "http://x"}]}]}, "messages[0].content"),
    (assistant(function_call={"name": "f", "arguments": ""}), "messages[0].function_call"),
    (assistant(audio={"id": "a"}), "messages[0].audio"),
    (assistant(tool_calls=[{"type": "custom", "custom": {"name": "f", "input": "x"}}]), "messages[0].tool_calls[0]"),
    (
        assistant(tool_calls=[{"id": "c", "function": {"name": "f", "arguments": "[1]"}}]),
        "messages[0].tool_calls[0].function.arguments",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "param"), CANNOT_SAY, ids=[param for _, param in CANNOT_SAY])
def test_what_anthropic_cannot_say_is_a_400_that_names_it(fields: dict[str, Any], param: str) -> None:
    """Nothing is left out silently: the client hears which of its own fields cannot be translated."""
    with pytest.raises(Untranslatable) as caught:
        sent(ANTHROPIC, chat(**fields))
    assert caught.value.param == param
    assert caught.value.wire.status == 400
    assert sent(OPENAI, chat(**fields))


def test_dropping_a_field_is_how_an_operator_allows_it() -> None:
    """`drop` in the parameter table is applied before translation as well."""
    assert "seed" not in sent(ANTHROPIC, chat(seed=7), drop=["seed"])
    assert sent(OPENAI, message(thinking={"type": "enabled", "budget_tokens": 9}), drop=["thinking"])


CANNOT_SAY_EITHER: list[tuple[dict[str, Any], str]] = [
    ({"top_k": 5}, "top_k"),
    ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "thinking"),
    ({"mcp_servers": [{}]}, "mcp_servers"),
    ({"context_management": {"edits": []}}, "context_management"),
    ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0]"),
    ({"tool_choice": {"type": "odd"}}, "tool_choice"),
    ({"output_config": {"format": {"type": "odd"}}}, "output_config.format"),
    ({"output_config": {"odd": 1}}, "output_config.odd"),
    (user({"type": "document", "source": {"type": "base64", "data": "x"}}), "messages[0].content[0]"),
    (user({"type": "image", "source": {"type": "file", "file_id": "f"}}), "messages[0].content[0].source"),
    (
        user({"type": "tool_result", "tool_use_id": "t", "content": [{"type": "image", "source": {"type": "url", "url": "u"}}]}),
        "messages[0].content[0].content[0]",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "param"), CANNOT_SAY_EITHER, ids=[param for _, param in CANNOT_SAY_EITHER])
def test_what_openai_cannot_say_is_a_400_that_names_it(fields: dict[str, Any], param: str) -> None:
    """The same the other way."""
    with pytest.raises(Untranslatable) as caught:
        sent(OPENAI, message(**fields))
    assert caught.value.param == param
    assert sent(ANTHROPIC, message(**fields))


@pytest.mark.parametrize("name", ["completions", "embeddings"])
def test_an_operation_the_provider_has_not_is_a_400(name: Any) -> None:
    """A target of the other dialect cannot complete or embed; the client is told to choose another model."""
    with pytest.raises(Untranslatable) as caught:
        sent(ANTHROPIC, operation(name, prompt="x", input="x"))
    assert caught.value.param == "model"


def test_thoughts_of_another_provider_are_not_replayed_to_anthropic() -> None:
    """Thinking we translated has no signature; Anthropic would reject the turn, so it is taken out. Signed thinking stays."""
    unsigned = {"type": "thinking", "thinking": "hm", "signature": ""}
    signed = {"type": "thinking", "thinking": "hm", "signature": "s"}
    text = {"type": "text", "text": "x"}
    request = message(
        messages=[
            {"role": "assistant", "content": [unsigned, text]},
            {"role": "assistant", "content": [unsigned]},
            {"role": "assistant", "content": [signed, text]},
            {"role": "user", "content": "q"},
        ]
    )
    assert sent(ANTHROPIC, request)["messages"] == [
        {"role": "assistant", "content": [text]},
        {"role": "assistant", "content": [signed, text]},
        {"role": "user", "content": "q"},
    ]


def test_same_dialect_bodies_keep_their_order() -> None:
    """Fields stay in the order the client wrote them: providers cache prompts by prefix."""
    body = {"messages": [{"role": "user", "content": "x"}], "model": "alias", "zeta": 1, "alpha": {"b": 1, "a": 2}}
    out = OPENAI.call(OPENAI.read("chat", body), TARGET, False, {}).body
    assert (
        out == b'{"messages":[{"role":"user","content":"x"}],"model":"upstream-model","zeta":1,"alpha":{"b":1,"a":2}}'
    )
