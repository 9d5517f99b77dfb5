"""Bedrock's Converse API: what it is asked for clients of each dialect, and what its answers become."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import (
    ContextOverflow,
    GatewayFault,
    StreamCut,
    Untranslatable,
    UpstreamFailed,
    UpstreamLimited,
    UpstreamRefusedUs,
    UpstreamRejected,
    UpstreamTimeout,
)
from gateway.core.events import ChoiceFinished, Event, Failed, Finished, Reasoning, Started, Text, ToolCall, Usage
from gateway.core.plan import Target
from gateway.core.request import Request
from gateway.core.response import fold
from gateway.dialects.registry import upstream_dialects
from tests.fixtures.dialects import DIALECTS, LAW, chat, events_of, exchange_of, message, pump
from tests.fixtures.eventstream import event, exception
from tests.fixtures.eventstream import message as wire

CONVERSE = upstream_dialects()["converse"]
TARGET = Target(provider="aws", model="eu.anthropic.claude-x-v1:0")
THINKER = Target(provider="aws", model="m", capabilities=frozenset({"tools", "reasoning"}))
PIXEL = "aGVsbG8="
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def asked(request: Request, target: Target = TARGET, *, stream: bool = False, **params: Any) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(CONVERSE.call(request, target, stream, params).body)
    return body


def responses(**fields: Any) -> Request:
    return DIALECTS["responses"].read("chat", {"model": "alias", "input": "hi", **fields})


# --- what it is asked


def test_the_model_is_in_the_path() -> None:
    """Ids and ARNs are percent-encoded, and a stream has its own path and type."""
    arn = Target(provider="aws", model="arn:aws:bedrock:us-east-1:123456789012:inference-profile/x")
    call = CONVERSE.call(chat(), arn, False, {})
    assert call.path == "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Ainference-profile%2Fx/converse"
    call = CONVERSE.call(chat(), TARGET, True, {})
    assert call.path.endswith("v1%3A0/converse-stream")
    assert call.headers["accept"] == "application/vnd.amazon.eventstream"
    assert "model" not in json.loads(call.body)


def test_a_conversation_with_tools_and_images_is_told() -> None:
    """Instructions, sampling, images as bytes, parallel calls with their results in one turn, and the choice of a tool."""
    request = chat(
        messages=[
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [
                {"type": "text", "text": "What is it like?"},
                {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{PIXEL}"}},
            ]},
            {"role": "assistant", "content": None, "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Bern"}'}},
                {"id": "c2", "type": "function", "function": {"name": "weather", "arguments": ""}},
            ]},
            {"role": "tool", "tool_call_id": "c1", "content": "sun"},
            {"role": "tool", "tool_call_id": "c2", "content": ""},
            {"role": "user", "content": "And?"},
        ],
        tools=[
            {"type": "function", "function": {"name": "weather", "description": "d", "parameters": SCHEMA, "strict": True}},
            {"type": "function", "function": {"name": "time"}},
        ],
        tool_choice="required", max_tokens=50, temperature=0.5, top_p=0.9, stop=["END"], user="u-1",
        reasoning_effort="low",
    )  # fmt: skip
    assert asked(request) == {
        "system": [{"text": "Be brief."}],
        "messages": [
            {"role": "user", "content": [
                {"text": "What is it like?"}, {"image": {"format": "jpeg", "source": {"bytes": PIXEL}}},
            ]},
            {"role": "assistant", "content": [
                {"toolUse": {"toolUseId": "c1", "name": "weather", "input": {"city": "Bern"}}},
                {"toolUse": {"toolUseId": "c2", "name": "weather", "input": {}}},
            ]},
            {"role": "user", "content": [
                {"toolResult": {"toolUseId": "c1", "content": [{"text": "sun"}]}},
                {"toolResult": {"toolUseId": "c2", "content": []}},
                {"text": "And?"},
            ]},
        ],
        "inferenceConfig": {"maxTokens": 50, "temperature": 0.5, "topP": 0.9, "stopSequences": ["END"]},
        "toolConfig": {
            "tools": [
                {"toolSpec": {"name": "weather", "description": "d", "inputSchema": {"json": SCHEMA}, "strict": True}},
                {"toolSpec": {"name": "time", "inputSchema": {"json": {"type": "object", "properties": {}}}}},
            ],
            "toolChoice": {"any": {}},
        },
        "outputConfig": {"effort": "low"},
    }  # fmt: skip


def test_structured_output_is_a_schema_in_a_text() -> None:
    """Converse takes the schema as JSON in a string; any JSON object without a schema it cannot promise."""
    wanted = {"type": "json_schema", "json_schema": {"name": "place", "schema": SCHEMA, "strict": True}}
    said = asked(chat(response_format=wanted))["outputConfig"]["textFormat"]
    assert said["type"] == "json_schema"
    assert said["structure"]["jsonSchema"]["name"] == "place"
    assert json.loads(said["structure"]["jsonSchema"]["schema"]) == SCHEMA
    with pytest.raises(Untranslatable) as caught:
        asked(chat(response_format={"type": "json_object"}))
    assert caught.value.param == "response_format"


def test_each_clients_dialect_says_the_same() -> None:
    """One question in each dialect is one Converse request."""
    want = {"system": [{"text": "S"}], "messages": [{"role": "user", "content": [{"text": "hi"}]}]}
    limit = {"inferenceConfig": {"maxTokens": 9}}
    said = [{"role": "system", "content": "S"}, {"role": "user", "content": "hi"}]
    assert asked(chat(messages=said, max_tokens=9)) == {**want, **limit}
    assert asked(message(system="S")) == {**want, **limit}
    assert asked(responses(instructions="S", max_output_tokens=9)) == {**want, **limit}
    google = {
        "model": "alias", "contents": [{"role": "user", "parts": [{"text": "hi"}]}],
        "systemInstruction": {"parts": [{"text": "S"}]}, "generationConfig": {"maxOutputTokens": 9},
    }  # fmt: skip
    assert asked(DIALECTS["gemini"].read("chat", google)) == {**want, **limit}


TOOL = {"type": "function", "function": {"name": "t", "parameters": SCHEMA}}
CALLED = [
    {"role": "user", "content": "hi"},
    {
        "role": "assistant",
        "tool_calls": [{"id": "c", "type": "function", "function": {"name": "t", "arguments": "{}"}}],
    },
    {"role": "tool", "tool_call_id": "c", "content": "x"},
]


@pytest.mark.parametrize(
    ("request_", "param"),
    [
        (chat(seed=1), "seed"),
        (chat(frequency_penalty=0.1), "frequency_penalty"),
        (chat(logprobs=True), "logprobs"),
        (message(top_k=4), "top_k"),
        (chat(tools=[TOOL], parallel_tool_calls=False), "parallel_tool_calls"),
        (chat(tools=[TOOL], tool_choice="none", messages=CALLED), "tool_choice"),
        (responses(text={"format": {"type": "json_object"}}), "text.format"),
        (
            chat(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x/y.png"}}]}]),
            "messages[0].content[0].image_url",
        ),
        (
            chat(messages=[{"role": "user", "content": [
                {"type": "image_url", "image_url": {"url": f"data:image/tiff;base64,{PIXEL}"}}
            ]}]),
            "messages[0].content[0].image_url",
        ),
    ],
)  # fmt: skip
def test_what_it_cannot_say_names_the_clients_field(request_: Request, param: str) -> None:
    """Nothing is left out in silence."""
    with pytest.raises(Untranslatable) as caught:
        asked(request_)
    assert caught.value.param == param


def test_an_operator_may_drop_and_force() -> None:
    """Dropping allows what could not be translated; forcing adds a model's own fields."""
    more = {"additionalModelRequestFields": {"top_k": 4}}
    said = asked(chat(seed=1), drop=["seed"], force=more)
    assert said["additionalModelRequestFields"] == {"top_k": 4}


def test_no_tools_is_no_tools() -> None:
    """`tool_choice: none` before any call leaves the tools out: there is no such choice there."""
    assert "toolConfig" not in asked(chat(tools=[TOOL], tool_choice="none"))
    named = asked(chat(tools=[TOOL], tool_choice={"type": "function", "function": {"name": "t"}}))
    assert named["toolConfig"]["toolChoice"] == {"tool": {"name": "t"}}


def test_sealed_thoughts_go_back_to_a_model_that_thinks() -> None:
    """A target that is said to reason gets its signed thinking back where it stood; any other, and unsigned, is spared."""
    request = message(
        messages=[
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "hm", "signature": "sig"},
                {"type": "redacted_thinking", "data": "b64"},
                {"type": "thinking", "thinking": "ours", "signature": ""},
                {"type": "text", "text": "Let me look."},
                {"type": "thinking", "thinking": "so", "signature": "sig2"},
                {"type": "tool_use", "id": "c", "name": "t", "input": {}},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "c", "is_error": True, "content": "no"}
            ]},
        ],
        tools=[{"name": "t", "input_schema": SCHEMA}],
    )  # fmt: skip
    calls = [{"text": "Let me look."}, {"toolUse": {"toolUseId": "c", "name": "t", "input": {}}}]
    said = asked(request, THINKER)["messages"]
    assert said[1]["content"] == [
        {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "sig"}}},
        {"reasoningContent": {"redactedContent": "b64"}},
        calls[0],
        {"reasoningContent": {"reasoningText": {"text": "so", "signature": "sig2"}}},
        calls[1],
    ]
    assert said[2]["content"] == [{"toolResult": {"toolUseId": "c", "content": [{"text": "no"}], "status": "error"}}]
    assert asked(request)["messages"][1]["content"] == calls


def test_it_has_chat_alone() -> None:
    """Embeddings are another API of Bedrock's."""
    with pytest.raises(Untranslatable):
        CONVERSE.call(DIALECTS["openai"].read("embeddings", {"model": "m", "input": "x"}), TARGET, False, {})


# --- what it answers

USAGE = {
    "inputTokens": 10, "outputTokens": 7, "totalTokens": 67, "cacheReadInputTokens": 30, "cacheWriteInputTokens": 20,
}  # fmt: skip
COUNTED = Usage(input_tokens=60, output_tokens=7, cached_tokens=30, cache_write_tokens=20, raw=USAGE)
WHOLE = {
    "output": {"message": {"role": "assistant", "content": [
        {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "sig"}}},
        {"text": "Let me look."},
        {"toolUse": {"toolUseId": "c1", "name": "weather", "input": {"city": "Bern"}}},
        {"toolUse": {"toolUseId": "c2", "name": "time", "input": {}}},
    ]}},
    "stopReason": "tool_use", "usage": USAGE, "metrics": {"latencyMs": 5},
}  # fmt: skip


def block(at: int, delta: dict[str, Any]) -> bytes:
    return event("contentBlockDelta", {"contentBlockIndex": at, "delta": delta, "p": "abcd"})


STREAM = [
    event("messageStart", {"role": "assistant"}),
    block(0, {"reasoningContent": {"text": "h"}}),
    block(0, {"reasoningContent": {"text": "m"}}),
    block(0, {"reasoningContent": {"signature": "sig"}}),
    event("contentBlockStop", {"contentBlockIndex": 0}),
    block(1, {"text": "Let me "}),
    block(1, {"text": "look."}),
    event("contentBlockStop", {"contentBlockIndex": 1}),
    event("contentBlockStart", {"contentBlockIndex": 2, "start": {"toolUse": {"toolUseId": "c1", "name": "weather"}}}),
    block(2, {"toolUse": {"input": '{"city":'}}),
    block(2, {"toolUse": {"input": '"Bern"}'}}),
    event("contentBlockStop", {"contentBlockIndex": 2}),
    event("contentBlockStart", {"contentBlockIndex": 3, "start": {"toolUse": {"toolUseId": "c2", "name": "time"}}}),
    event("contentBlockStop", {"contentBlockIndex": 3}),
    event("messageStop", {"stopReason": "tool_use"}),
    event("metadata", {"usage": USAGE, "metrics": {"latencyMs": 5}}),
]


def stream(pieces: Sequence[bytes]) -> list[Event]:
    return events_of(pump(CONVERSE.inlet(chat(), True), pieces))


def whole(body: dict[str, Any]) -> list[Event]:
    return events_of(pump(CONVERSE.inlet(chat(), False), [json.dumps(body).encode()]))


def failure(events: Sequence[Event]) -> GatewayFault:
    last = events[-1]
    assert isinstance(last, Failed)
    assert isinstance(last.error, GatewayFault)
    assert not any(isinstance(each, Finished) for each in events)
    return last.error


def test_streamed_and_whole_are_one_answer() -> None:
    """Reasoning with its seal, text, parallel calls, the reason, and every class of tokens; folded they are equal."""
    streamed, at_once = fold(stream(STREAM)), fold(whole(WHOLE))
    assert streamed == at_once
    assert streamed.complete
    choice = streamed.choices[0]
    assert (choice.reasoning, choice.text, choice.finish) == ("hm", "Let me look.", "tool_calls")
    assert choice.extra == {"anthropic": {"signatures": ["sig"]}}
    calls = [(call.id, call.name, json.loads(call.arguments)) for call in choice.calls.values()]
    assert calls == [("c1", "weather", {"city": "Bern"}), ("c2", "time", {})]
    assert streamed.usage == COUNTED


@LAW
@given(st.lists(st.integers(0, 10**6), max_size=30))
def test_chunking_changes_nothing(cuts: list[int]) -> None:
    """The same events come whatever the network cuts."""
    data = b"".join(STREAM)
    at = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    assert stream([data[a:b] for a, b in zip(at, at[1:], strict=False)]) == stream(STREAM)


def test_no_cut_looks_whole() -> None:
    """Cut anywhere before its stop reason, and anywhere within a message, a stream ends as cut."""
    data = b"".join(STREAM)
    told = len(data) - len(STREAM[-1])
    for end in range(len(data)):
        events = stream([data[:end]])
        if end == told:  # the reason is out and only the usage is missing
            assert isinstance(events[-1], Finished)
        else:
            assert isinstance(failure(events), StreamCut), end


@pytest.mark.parametrize(
    ("reason", "canonical"),
    [
        ("end_turn", "stop"), ("stop_sequence", "stop"), ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"), ("tool_use", "tool_calls"),
        ("guardrail_intervened", "content_filter"), ("content_filtered", "content_filter"), ("new_word", "new_word"),
    ],
)  # fmt: skip
def test_stop_reasons(reason: str, canonical: str) -> None:
    """Each in the canonical word; a guardrail's intervention is a content filter's ending."""
    events = stream([*STREAM[:8], event("messageStop", {"stopReason": reason}), STREAM[-1]])
    assert [each.reason for each in events if isinstance(each, ChoiceFinished)] == [canonical]
    assert [e.reason for e in whole({**WHOLE, "stopReason": reason}) if isinstance(e, ChoiceFinished)] == [canonical]


@pytest.mark.parametrize("reason", ["malformed_model_output", "malformed_tool_use"])
def test_a_malformed_answer_is_a_failure(reason: str) -> None:
    """What the provider itself calls malformed is not handed on as an answer."""
    assert "malformed" in failure(stream([*STREAM[:8], event("messageStop", {"stopReason": reason})])).message
    assert isinstance(failure(whole({**WHOLE, "stopReason": reason})), UpstreamFailed)


@pytest.mark.parametrize(
    ("kind", "words", "fault"),
    [
        ("internalServerException", "secret detail", UpstreamFailed),
        ("modelStreamErrorException", "secret detail", UpstreamFailed),
        ("serviceUnavailableException", "secret detail", UpstreamFailed),
        ("throttlingException", "secret detail", UpstreamLimited),
        ("modelTimeoutException", "secret detail", UpstreamTimeout),
        ("validationException", "temperature: range 0 to 1", UpstreamRejected),
        ("validationException", "Input is too long for requested model.", ContextOverflow),
    ],
)
def test_an_exception_in_the_stream_is_a_fault(kind: str, words: str, fault: type[GatewayFault]) -> None:
    """At the head of a stream or in its middle; only what the client did wrong is told in the provider's words."""
    for before in ([], STREAM[:7]):
        error = failure(stream([*before, exception(kind, words)]))
        assert type(error) is fault
        assert "secret" not in error.message


def test_an_error_message_is_a_fault() -> None:
    """The framing's own errors have their words in headers."""
    headers = {":message-type": "error", ":error-code": "InternalFailure", ":error-message": "secret"}
    assert isinstance(failure(stream([wire(headers, b"")])), UpstreamFailed)


@pytest.mark.parametrize(
    "bad",
    [
        b"HTTP/1.1 502 Bad Gateway\r\n\r\n",
        event("contentBlockDelta", {"contentBlockIndex": 0}),
        event("contentBlockDelta", {"contentBlockIndex": 0, "delta": []}),
        event("messageStop", {}),
        wire({":message-type": "event", ":event-type": "messageStop"}, b"{not json"),
        wire({":message-type": "exception", ":exception-type": "x"}, b"{not json"),
    ],
)
def test_what_makes_no_sense_is_a_failure(bad: bytes) -> None:
    """Damaged frames and unknown shapes end the answer with an error, and nothing is read after them."""
    events = stream([*STREAM[:7], bad, *STREAM[7:]])
    assert isinstance(failure(events), UpstreamFailed)


def test_a_whole_answer_in_place_of_a_stream_is_read() -> None:
    """A proxy that does not stream gives JSON; its answer is the same."""
    assert fold(stream([json.dumps(WHOLE).encode()])) == fold(whole(WHOLE))


def test_what_nobody_knows_is_kept_for_checks() -> None:
    """Server tools, citations and new kinds of blocks are no calls of the client's tools and no text, and not lost."""
    odd = {"toolUse": {"toolUseId": "s", "name": "nova_code", "input": {}, "type": "server_tool_use"}}
    cited = {"citationsContent": {"content": [{"text": "So."}], "citations": [{"title": "T"}]}}
    body = {**WHOLE, "output": {"message": {"content": [odd, cited, {"video": {}}]}}, "stopReason": "end_turn"}
    choice = fold(whole(body)).choices[0]
    assert (choice.text, choice.calls) == ("So.", {})
    assert [next(iter(fields["converse"])) for fields in choice.unknown] == ["toolUse", "citations", "video"]
    begun = event("contentBlockStart", {"contentBlockIndex": 0, "start": odd})
    events = stream([STREAM[0], begun, block(0, {"toolUse": {"input": "{}"}}), *STREAM[-2:]])
    assert not any(isinstance(each, ToolCall) for each in events)


def test_each_clients_dialect_is_answered() -> None:
    """One Converse answer as clients of three dialects see it: text, calls, reasoning, its seal, counts, ending."""
    seen = {}
    for request in (chat(), message(), responses()):
        outlet = DIALECTS[request.dialect].outlet(exchange_of(request))
        out = b"".join(outlet.push(frame) for frame in pump(CONVERSE.inlet(request, True), STREAM)) + outlet.finish()
        seen[request.dialect] = json.loads(out)
    choice = seen["openai"]["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] == "Let me look."
    assert [call["function"]["name"] for call in choice["message"]["tool_calls"]] == ["weather", "time"]
    assert seen["openai"]["usage"]["prompt_tokens_details"] == {"cached_tokens": 30}
    anthropic = seen["anthropic"]
    assert [each["type"] for each in anthropic["content"]] == ["thinking", "text", "tool_use", "tool_use"]
    assert anthropic["content"][0] == {"type": "thinking", "thinking": "hm", "signature": "sig"}
    assert anthropic["stop_reason"] == "tool_use"
    assert anthropic["usage"]["input_tokens"] == 10
    assert anthropic["usage"]["cache_read_input_tokens"] == 30
    kinds = [item["type"] for item in seen["responses"]["output"]]
    assert kinds == ["reasoning", "message", "function_call", "function_call"]


@pytest.mark.parametrize(
    ("status", "name", "body", "fault"),
    [
        (400, "ValidationException", {"message": "The model id is wrong"}, UpstreamRejected),
        (400, "ValidationException:http://x/", {"message": "Input is too long for requested model."}, ContextOverflow),
        (400, "ValidationException", {"message": "Too many input tokens. Max: 1"}, ContextOverflow),
        (400, "ServiceQuotaExceededException", {"message": "secret"}, UpstreamLimited),
        (403, "AccessDeniedException", {"Message": "secret"}, UpstreamRefusedUs),
        (403, "", {"__type": "com.amazon.coral#ExpiredTokenException", "message": "secret"}, UpstreamRefusedUs),
        (404, "ResourceNotFoundException", {"message": "no such model"}, UpstreamRejected),
        (408, "ModelTimeoutException", {"message": "secret"}, UpstreamTimeout),
        (424, "ModelErrorException", {"message": "secret"}, UpstreamFailed),
        (429, "ThrottlingException", {"message": "secret"}, UpstreamLimited),
        (429, "ModelNotReadyException", {}, UpstreamLimited),
        (503, "ServiceUnavailableException", {"message": "secret"}, UpstreamFailed),
        (500, "", None, UpstreamFailed),
    ],
)
def test_errors_by_their_name(status: int, name: str, body: Any, fault: type[GatewayFault]) -> None:
    """The exception's name says more than its status, and only the client's own mistakes keep the provider's words."""
    headers = {"X-Amzn-ErrorType": name, "retry-after": "7"} if name else {}
    made = CONVERSE.fault(status, headers, json.dumps(body).encode() if body is not None else b"<html>")
    assert type(made) is fault
    assert "secret" not in made.message
    if fault is UpstreamLimited:
        assert made.retry_after == 7


def test_the_operators_account_is_not_told() -> None:
    """An ARN in a rejection keeps its resource and loses its account."""
    words = "arn:aws:bedrock:us-east-1:123456789012:provisioned-model/x is not ready"
    told = CONVERSE.fault(400, {"x-amzn-errortype": "ValidationException"}, json.dumps({"message": words}).encode())
    assert told.message == "arn:aws:bedrock:us-east-1:***:provisioned-model/x is not ready"


def test_events_begin_with_started() -> None:
    """Also when the first message of a stream is no `messageStart`."""
    kinds = [type(each) for each in stream(STREAM[1:])]
    assert kinds[0] is Started
    assert kinds.count(Started) == 1
    assert {Reasoning, Text, ToolCall, Usage} <= set(kinds)
