"""OpenAI answers: what sloppy upstreams send, and what clients get of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from gateway.core import errors
from gateway.core.errors import GatewayFault, UpstreamFailed
from gateway.core.events import (
    Blocked,
    ChoiceFinished,
    Event,
    Failed,
    Finished,
    Frame,
    Reasoning,
    Started,
    Text,
    ToolCall,
    Unknown,
    Usage,
)
from gateway.core.request import Request
from gateway.core.response import fold, said, unfold
from gateway.dialects.sse_parser import MAX_EVENT
from tests.fixtures.dialects import (
    OPENAI,
    chat,
    chunk,
    delta,
    dumps,
    events_of,
    operation,
    outlet_for,
    payloads,
    pump,
    read_stream,
    sse,
    write,
)

ROLE = chunk([delta({"role": "assistant", "content": ""})])
STOP = chunk([delta({}, finish="stop")])
HEAD = Started("chatcmpl-1", "upstream-model", 1700000001)
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


def read(*objects: Any, done: bool = True, request: Request | None = None) -> list[Frame]:
    return read_stream(OPENAI, request or chat(), sse(*objects, done=done))


def failure(frames: list[Frame]) -> GatewayFault:
    last = events_of(frames)[-1]
    assert type(last) is Failed
    assert isinstance(last.error, GatewayFault)
    return last.error


def entries(data: bytes) -> list[dict[str, Any]]:
    return [entry for each in payloads(data) if each != "[DONE]" for entry in each["choices"]]


# --- reading


def test_a_plain_stream_is_plain_events() -> None:
    """Role-only and empty deltas say nothing, so they make no events; every other chunk makes its own."""
    frames = read(ROLE, chunk([delta({"content": "Hi"})]), chunk([delta({"content": ""})]), STOP, chunk(usage=USAGE))
    assert events_of(frames) == [HEAD, Text("Hi"), ChoiceFinished("stop"), Usage(3, 2, raw=USAGE), Finished()]
    assert [frame.raw is not None for frame in frames] == [True, True, True, True, False]


@pytest.mark.parametrize(
    ("objects", "done", "kind"),
    [
        ((ROLE, {"error": {"message": "boom", "code": 500}}), True, errors.UpstreamFailed),
        ((ROLE, b"{nonsense"), True, errors.UpstreamFailed),
        ((ROLE, b'{"choices": "\xff"}'), True, errors.UpstreamFailed),
        ((ROLE, b"[1,2]"), True, errors.UpstreamFailed),
        ((ROLE, b"[" * 5000), True, errors.UpstreamFailed),
        ((ROLE, chunk(["x"])), True, errors.UpstreamFailed),
        ((ROLE, chunk([delta({"content": "x"}, index=-1)])), True, errors.UpstreamFailed),
        ((ROLE, chunk([delta({"content": "x"}, index=10**9)])), True, errors.UpstreamFailed),
        ((ROLE, chunk([{"index": [], "delta": {"content": "x"}}])), True, errors.UpstreamFailed),
        ((ROLE, chunk([delta({"tool_calls": "x"})])), True, errors.UpstreamFailed),
        ((ROLE, chunk([delta({"content": "Hi"})])), False, errors.StreamCut),
        ((ROLE,), False, errors.StreamCut),
        ((), True, errors.StreamCut),
        ((), False, errors.StreamCut),
    ],
)
def test_a_broken_stream_ends_in_a_fault(objects: tuple[Any, ...], done: bool, kind: type[GatewayFault]) -> None:
    """Whatever an upstream sends, the inlet raises nothing: the last event is `Failed`, and `Finished` never comes."""
    frames = read(*objects, done=done)
    assert type(failure(frames)) is kind
    assert Finished() not in events_of(frames)


def test_an_event_without_end_is_refused() -> None:
    """A line longer than the bound is a fault at once, not a growing buffer."""
    inlet = OPENAI.inlet(chat(), True)
    inlet.feed(b"data: ")
    frames = [frame for _ in range(MAX_EVENT // 2**20 + 2) for frame in inlet.feed(b"x" * 2**20)]
    assert type(failure(frames)) is errors.UpstreamFailed
    assert len(frames) == 1
    assert list(inlet.close()) == []


def test_an_error_event_by_name_is_an_error() -> None:
    """`event: error` marks an error also where the payload has no `error` key."""
    frames = read_stream(OPENAI, chat(), b'event: error\ndata: {"message":"slow down","code":429}\n\n')
    assert type(failure(frames)) is errors.UpstreamLimited


def test_a_stream_without_done_is_whole_when_every_choice_has_ended() -> None:
    """Some servers just close. A choice that was asked for and never came is missing all the same."""
    assert events_of(read(ROLE, STOP, done=False))[-1] == Finished()
    assert type(failure(read(ROLE, STOP, done=False, request=chat(n=2)))) is errors.StreamCut
    whole = sse(ROLE, STOP, done=False) + b"data: [DONE]"
    assert events_of(read_stream(OPENAI, chat(), whole))[-1] == Finished()


def test_a_json_body_in_place_of_a_stream_is_read_as_one() -> None:
    """A server that ignores `stream` answers all the same, in one frame, and its errors are errors."""
    body = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}]}  # fmt: skip
    frames = pump(OPENAI.inlet(chat(), True), [b"\n", b" " + dumps(body)])
    assert events_of(frames) == [Started("c", "m", 1), Text("Hi"), ChoiceFinished("stop"), Finished()]
    sent = payloads(write(outlet_for(chat(stream=True)), frames))
    assert [each if each == "[DONE]" else each["object"] for each in sent] == ["chat.completion.chunk"] * 2 + ["[DONE]"]
    assert type(failure(pump(OPENAI.inlet(chat(), True), [b'{"error":{"code":429}}']))) is errors.UpstreamLimited


def test_json_that_only_python_writes_is_read_and_never_relayed() -> None:
    """NaN and halves of surrogate pairs are read leniently, and what the client gets is strict JSON."""
    sloppy = b'{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000001,"model":"upstream-model","choices":[{"index":0,"delta":{"role":"assistant","content":"a\\ud83d"},"logprobs":{"content":[{"logprob":NaN}]},"finish_reason":null}]}'
    frames = read(sloppy, STOP)
    assert frames[0].raw is None
    data = write(outlet_for(chat(stream=True)), frames)
    assert entries(data)[0]["delta"]["content"] == "a�"
    assert entries(data)[0]["logprobs"] == {"content": [{"logprob": None}]}


DRIFT = [{"id": "other"}, {"created": 5}, {"model": "else"}, {"model": None}, {"object": ""}, {"id": None}]


@pytest.mark.parametrize("fields", DRIFT, ids=str)
def test_a_chunk_that_differs_from_the_first_is_encoded_anew(fields: dict[str, Any]) -> None:
    """Clients get one id, created, model and object, whatever the upstream does."""
    odd = {**chunk([delta({"content": "Hi"})], vendor=7), **fields}
    sent = payloads(write(outlet_for(chat(stream=True)), read(ROLE, odd, STOP)))[:-1]
    assert {(each["id"], each["created"], each["model"], each["object"]) for each in sent} == {
        ("chatcmpl-1", 1700000001, "alias", "chat.completion.chunk")
    }
    assert sent[1]["vendor"] == 7


def test_an_answer_without_identity_gets_one() -> None:
    """An upstream that names neither id nor time: the client gets both, the same in every chunk."""
    frames = read({"choices": [delta({"content": "Hi"})]}, {"choices": [delta({}, finish="stop")]})
    sent = payloads(write(outlet_for(chat(stream=True)), frames))[:-1]
    assert {(each["id"], each["created"], each["model"]) for each in sent} == {("chatcmpl-tg-1", 1700000000, "alias")}
    assert entries(write(outlet_for(chat(stream=True)), frames))[0]["delta"] == {"role": "assistant", "content": "Hi"}


def test_azures_first_chunk_waits_for_an_identity() -> None:
    """Filter results on the prompt come before any id; they travel with the first real chunk."""
    first = {"id": "", "object": "", "created": 0, "model": "", "choices": [], "prompt_filter_results": [{"a": 1}]}
    frames = read(first, ROLE, STOP)
    assert events_of(frames)[0] == Started("chatcmpl-1", "upstream-model", 1700000001, {"openai": {"prompt_filter_results": [{"a": 1}]}})  # fmt: skip
    assert json.loads(write(outlet_for(chat()), frames))["prompt_filter_results"] == [{"a": 1}]


def test_a_role_in_every_chunk_is_told_once() -> None:
    """Ollama repeats the role; SDKs that join strings would make `assistantassistant` of it."""
    frames = read(*[chunk([delta({"role": "assistant", "content": piece})]) for piece in "ab"], STOP)
    data = write(outlet_for(chat(stream=True)), frames)
    assert [entry["delta"] for entry in entries(data)] == [{"role": "assistant", "content": "a"}, {"content": "b"}, {}]


def call_piece(**fields: Any) -> dict[str, Any]:
    return chunk([delta({"tool_calls": [fields]})])


def test_repeated_and_null_call_fields_are_left_out() -> None:
    """id, type and name come once: later repeats and nulls break strict clients and never reach them."""
    frames = read(
        ROLE,
        call_piece(index=0, id="c", type="function", function={"name": "f", "arguments": ""}),
        call_piece(index=0, id=None, type="function", function={"name": None, "arguments": "{}"}),
        call_piece(index=0, id="c", type="function", function={"name": "f", "arguments": " "}),
        chunk([delta({}, finish="tool_calls")]),
    )
    calls = [e["delta"]["tool_calls"][0] for e in entries(write(outlet_for(chat(stream=True)), frames)) if "tool_calls" in e["delta"]]  # fmt: skip
    assert calls == [
        {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": ""}},
        {"index": 0, "function": {"arguments": "{}"}},
        {"index": 0, "function": {"arguments": " "}},
    ]


def test_calls_without_an_index_are_told_apart_by_their_ids() -> None:
    """Gemini's endpoint sends whole calls and no index; objects in place of argument strings are encoded."""
    frames = read(
        ROLE,
        chunk(
            [
                delta(
                    {
                        "tool_calls": [
                            {"id": "a", "function": {"name": "f", "arguments": {"x": 1}}},
                            {"id": "b", "function": {"name": "g"}},
                        ]
                    }
                )
            ]
        ),
        call_piece(function={"arguments": "[]"}),
        STOP,
    )
    response = fold(events_of(frames))
    assert {n: (c.id, c.name, c.arguments) for n, c in response.choices[0].calls.items()} == {
        0: ("a", "f", '{"x":1}'),
        1: ("b", "g", "[]"),
    }
    folded = json.loads(write(outlet_for(chat()), frames))
    assert [call["id"] for call in folded["choices"][0]["message"]["tool_calls"]] == ["a", "b"]


def test_a_vendors_fields_on_a_call_survive() -> None:
    """Gemini's thought signatures ride on calls and must come back with them, relayed, encoded or folded."""
    google = {"google": {"thought_signature": "s"}}
    frames = read(ROLE, call_piece(index=0, id="c", type="function", function={"name": "f", "arguments": "{}", "x": 1}, extra_content=google), STOP)  # fmt: skip
    want = {
        "id": "c",
        "type": "function",
        "function": {"name": "f", "arguments": "{}", "x": 1},
        "extra_content": google,
    }
    for source in (frames, [Frame(frame.events) for frame in frames]):
        told = json.loads(write(outlet_for(chat()), source))["choices"][0]["message"]["tool_calls"]
        assert told == [want]
        pieces = entries(write(outlet_for(chat(stream=True)), source))
        assert [e["delta"]["tool_calls"] for e in pieces if "tool_calls" in e["delta"]] == [[{"index": 0, **want}]]


def test_a_repeated_id_without_index_goes_on_with_its_call() -> None:
    """Pieces that carry their call's id instead of its index are joined to it."""
    frames = read(
        ROLE,
        call_piece(id="a", function={"name": "f", "arguments": "{"}),
        call_piece(id="b", function={"name": "g", "arguments": "[]"}),
        call_piece(id="a", function={"arguments": "}"}),
        STOP,
    )
    assert [call.arguments for call in fold(events_of(frames)).choices[0].calls.values()] == ["{}", "[]"]


def test_a_refusal_beside_other_text_is_kept_apart() -> None:
    """Both in one choice: the text is text, the refusal comes back as what it was."""
    frames = read(ROLE, chunk([delta({"content": "Well, "})]), chunk([delta({"refusal": "no."})]), STOP)
    told = json.loads(write(outlet_for(chat()), frames))["choices"][0]["message"]
    assert (told["content"], told["refusal"]) == ("Well, ", "no.")


def test_a_second_finish_reason_is_not_told() -> None:
    """`finish_reason` comes once for each choice, whatever the upstream repeats."""
    data = write(outlet_for(chat(stream=True)), read(ROLE, STOP, STOP))
    assert [entry["finish_reason"] for entry in entries(data)] == [None, "stop"]


def test_a_part_of_unknown_type_is_kept() -> None:
    """A content part no check can read is an unknown delta, and comes back in the same dialect."""
    part = {"type": "odd", "odd": 1}
    frames = read(ROLE, chunk([delta({"content": [part]})]), STOP)
    assert Unknown({"openai": {"content": [part]}}) in events_of(frames)


def test_custom_and_legacy_calls_survive_both_ways() -> None:
    """Free-form tools keep `custom`, the old single call keeps `function_call`, streamed and folded."""
    custom = [
        call_piece(index=0, id="c", type="custom", custom={"name": "sql", "input": "sel"}),
        call_piece(index=0, custom={"input": "ect"}),
    ]
    legacy = [chunk([delta({"function_call": each})]) for each in ({"name": "f", "arguments": "{"}, {"arguments": "}"})]
    for request in (chat(), chat(stream=True)):
        frames = [Frame(frame.events) for frame in read(ROLE, *custom, *legacy, STOP)]
        data = write(outlet_for(request), frames)
        if request.stream:
            data = write(outlet_for(chat()), read_stream(OPENAI, chat(), data))
        told = json.loads(data)["choices"][0]["message"]
        assert told["tool_calls"] == [{"id": "c", "type": "custom", "custom": {"name": "sql", "input": "select"}}]
        assert told["function_call"] == {"name": "f", "arguments": "{}"}


def test_reasoning_keeps_its_fields_name() -> None:
    """`reasoning_content`, `reasoning`, or both alike: one event, given back under the name it came with."""
    for fields in ({"reasoning_content": "hm"}, {"reasoning": "hm"}, {"reasoning": "hm", "reasoning_content": "hm"}):
        frames = read(ROLE, chunk([delta({"content": None, **fields})]), STOP)
        assert [event.text for event in events_of(frames) if type(event) is Reasoning] == ["hm"]
        changed = [Frame(frame.events) for frame in frames]
        delta_ = entries(write(outlet_for(chat(stream=True)), changed))[0]["delta"]
        assert {k: v for k, v in delta_.items() if k != "role"} == fields
        told = json.loads(write(outlet_for(chat()), changed))["choices"][0]["message"]
        assert {k: v for k, v in told.items() if k.startswith("reasoning")} == fields


def test_content_in_parts_is_text_and_reasoning() -> None:
    """Mistral's reasoning models send lists of parts."""
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "Hi"}]
    assert events_of(read(ROLE, chunk([delta({"content": parts})]), STOP))[1:3] == [Reasoning("hm"), Text("Hi")]


def test_a_refusal_is_text_the_checks_see() -> None:
    """A model's refusal is read by the user, so it is text; clients of this dialect get it as `refusal`."""
    frames = read(ROLE, *[chunk([delta({"refusal": piece})]) for piece in ("I ca", "n't")], STOP)
    assert "".join(event.text for event in events_of(frames) if type(event) is Text) == "I can't"
    for source in (frames, [Frame(frame.events) for frame in frames]):
        message = json.loads(write(outlet_for(chat()), source))["choices"][0]["message"]
        assert (message["refusal"], message["content"]) == ("I can't", None)
        pieces = entries(write(outlet_for(chat(stream=True)), source))
        assert "".join(entry["delta"].get("refusal") or "" for entry in pieces) == "I can't"


def test_unknown_deltas_fold_as_the_sdk_would_fold_them() -> None:
    """Strings go on, indexed lists merge item by item, names are not repeated."""
    pieces = [
        {"audio": {"id": "a", "data": "AA"}, "reasoning_details": [{"index": 0, "type": "t", "text": "x"}]},
        {"audio": {"data": "BB"}, "reasoning_details": [{"index": 0, "type": "t", "text": "y"}, {"index": 1, "text": "z"}]},
    ]  # fmt: skip
    frames = read(ROLE, *[chunk([delta(piece)]) for piece in pieces], STOP)
    assert sum(type(event) is Unknown for event in events_of(frames)) == 2
    before = repr(frames)
    for _ in range(2):
        message = json.loads(write(outlet_for(chat()), frames))["choices"][0]["message"]
        assert message["audio"] == {"id": "a", "data": "AABB"}
        assert message["reasoning_details"] == [{"index": 0, "type": "t", "text": "xy"}, {"index": 1, "text": "z"}]
    assert repr(frames) == before


def test_counts_are_read_whatever_the_server_calls_them() -> None:
    """Cached and reasoning tokens by every name in use; nonsense counts are zero."""
    usage = {"prompt_tokens": 10, "completion_tokens": 5.0, "prompt_cache_hit_tokens": 4, "completion_tokens_details": {"reasoning_tokens": 2}}  # fmt: skip
    assert events_of(read(ROLE, STOP, chunk(usage=usage)))[-2] == Usage(10, 5, 4, 0, 2, raw=usage)
    odd = {
        "prompt_tokens": -1,
        "completion_tokens": "x",
        "prompt_tokens_details": None,
        "completion_tokens_details": [],
    }
    assert events_of(read(ROLE, STOP, chunk(usage=odd)))[-2] == Usage(raw=odd)


# --- writing


def test_usage_is_told_once_last_and_only_if_asked() -> None:
    """A stream that was not asked for usage has no chunk without choices; one that was has exactly one, at the end."""
    for objects in ((ROLE, STOP, chunk(usage=USAGE)), (ROLE, {**STOP, "usage": USAGE})):
        for raw in (True, False):
            frames = [frame if raw else Frame(frame.events) for frame in read(*objects)]
            plain = payloads(write(outlet_for(chat(stream=True)), frames))[:-1]
            assert all(each["choices"] and not each.get("usage") for each in plain)
            asked = chat(stream=True, stream_options={"include_usage": True})
            told = payloads(write(outlet_for(asked), frames))[:-1]
            assert [bool(each.get("usage")) for each in told] == [False] * (len(told) - 1) + [True]
            assert (told[-1]["choices"], told[-1]["usage"]) == ([], USAGE)


def test_continuous_usage_is_the_clients_own_wish() -> None:
    """vLLM's `continuous_usage_stats`: a client that asked for usage in every chunk gets it there."""
    options = {"include_usage": True, "continuous_usage_stats": True}
    request = chat(stream=True, stream_options=options)
    frames = read(ROLE | {"usage": USAGE}, STOP | {"usage": USAGE}, request=request)
    told = payloads(write(outlet_for(request), frames))[:-1]
    assert [bool(each.get("usage")) for each in told] == [True, True, True]


def test_an_error_in_the_stream_has_no_done() -> None:
    """After headers are out, an error is one event with `error`, and the stream does not look whole."""
    outlet = outlet_for(chat(stream=True))
    data = b"".join(outlet.push(frame) for frame in read(ROLE)[:1]) + outlet.fail(
        UpstreamFailed("The upstream failed.")
    )
    assert payloads(data)[-1] == {
        "error": {"message": "The upstream failed.", "type": "server_error", "param": None, "code": "upstream_error"}
    }
    assert b"[DONE]" not in data


def test_a_stopped_answer_ends_every_open_choice() -> None:
    """A check that stops an answer ends the choices that have not ended with `content_filter`, and the stream is whole."""
    request = chat(stream=True, n=3, stream_options={"include_usage": True})
    outlet = outlet_for(request)
    frames = read(ROLE, chunk([delta({}, finish="stop")]), chunk([delta({"role": "assistant", "content": "x"}, 1)]), request=request)  # fmt: skip
    data = b"".join(outlet.push(frame) for frame in frames[:-1]) + outlet.block(Blocked("toxicity", "hate"))
    ends = {entry["index"]: entry["finish_reason"] for entry in entries(data) if entry["finish_reason"]}
    assert ends == {0: "stop", 1: "content_filter", 2: "content_filter"}
    assert data.endswith(b"data: [DONE]\n\n")
    folded = outlet_for(chat())
    for frame in frames[:-1]:
        folded.push(Frame(frame.events))
    body = json.loads(folded.block(Blocked("toxicity", "hate")))
    assert [choice["finish_reason"] for choice in body["choices"]] == ["stop", "content_filter"]


def test_a_whole_answer_without_finish_reasons_gets_them() -> None:
    """`[DONE]` came, so the answer is whole; clients wait for a reason, so they get the plain one."""
    calls = ToolCall(0, "{}", "c", "f", 1)
    frames: list[Frame] = [Frame((event,)) for event in (HEAD, Text("Hi"), calls, Finished())]
    assert {e["index"]: e["finish_reason"] for e in entries(write(outlet_for(chat(stream=True)), frames))} == {0: "stop", 1: "tool_calls"}  # fmt: skip
    body = json.loads(write(outlet_for(chat()), frames))
    assert [choice["finish_reason"] for choice in body["choices"]] == ["stop", "tool_calls"]


def test_another_answers_chunks_are_not_relayed_under_the_firsts_id() -> None:
    """A second `Started` in one stream: its text goes on, its id does not."""
    second = [Frame(f.events, f.raw and f.raw.replace(b"chatcmpl-1", b"chatcmpl-2"), f.dialect) for f in read(ROLE, chunk([delta({"content": "b"})]), STOP)]  # fmt: skip
    second[0] = Frame((Started("chatcmpl-2", "upstream-model", 1700000001),), second[0].raw, "openai")
    data = write(outlet_for(chat(stream=True)), [*read(ROLE, chunk([delta({"content": "a"})]))[:-1], *second])
    assert {each["id"] for each in payloads(data)[:-1]} == {"chatcmpl-1"}
    assert "".join(entry["delta"].get("content") or "" for entry in entries(data)) == "ab"


def test_a_canned_answer_in_every_form() -> None:
    """A reply nobody generated, streamed and folded, is one the SDK's own types accept without exception."""
    response = said("We open at nine.", id="tg-1", model="alias", created=1700000000)
    frames = [Frame((event,)) for event in unfold(response)]
    for each in payloads(write(outlet_for(chat(stream=True, stream_options={"include_usage": True})), frames))[:-1]:
        ChatCompletionChunk.model_validate(each, strict=True)
    told = ChatCompletion.model_validate(json.loads(write(outlet_for(chat()), frames)), strict=True)
    assert told.choices[0].message.content == "We open at nine."
    text = Completion.model_validate(
        json.loads(write(outlet_for(operation("completions", prompt="x")), frames)), strict=True
    )
    assert text.choices[0].text == "We open at nine."


def test_the_sdks_types_accept_what_was_encoded() -> None:
    """Every encoded chunk and body validates strictly against the official SDK's types."""
    events: list[Event] = [HEAD, Reasoning("hm"), Text("a"), ToolCall(0, "", "c", "f"), ToolCall(0, "{}"), Text("b", 1)]
    events += [ChoiceFinished("tool_calls"), ChoiceFinished("length", 1), Usage(9, 4, 3, 0, 2), Finished()]
    frames = [Frame((event,)) for event in events]
    sent = payloads(write(outlet_for(chat(stream=True, stream_options={"include_usage": True})), frames))[:-1]
    for each in sent:
        ChatCompletionChunk.model_validate(each, strict=True)
    body = ChatCompletion.model_validate(json.loads(write(outlet_for(chat()), frames)), strict=True)
    assert body.usage is not None
    assert body.usage.prompt_tokens_details is not None
    assert body.usage.prompt_tokens_details.cached_tokens == 3


# --- completions and embeddings


def test_completions_stream_fold_and_relay() -> None:
    """The legacy endpoint: chunks relayed under the alias, folded bodies, and the same text in both."""
    head = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "upstream-model"}
    chunks = [
        {**head, "choices": [{"index": 0, "text": piece, "logprobs": None, "finish_reason": None}]}
        for piece in ("a", "b")
    ]
    chunks.append({**head, "choices": [{"index": 0, "text": "", "logprobs": None, "finish_reason": "length"}]})
    request = operation("completions", prompt="x", stream=True)
    data = sse(*chunks)
    frames = read_stream(OPENAI, request, data)
    assert events_of(frames)[1:] == [Text("a"), Text("b"), ChoiceFinished("length"), Finished()]
    assert write(outlet_for(request), frames) == data.replace(b'"upstream-model"', b'"alias"')
    encoded = write(outlet_for(request), [Frame(frame.events) for frame in frames])
    assert "".join(entry["text"] for entry in entries(encoded)) == "ab"
    folded = json.loads(write(outlet_for(operation("completions", prompt="x")), frames))
    assert folded["choices"] == [{"text": "ab", "index": 0, "logprobs": None, "finish_reason": "length"}]
    whole = dumps({**head, "choices": [{"index": 0, "text": "ab", "logprobs": {"tokens": ["ab"]}, "finish_reason": "stop"}], "usage": USAGE})  # fmt: skip
    plain = pump(OPENAI.inlet(operation("completions", prompt="x"), False), [whole])
    assert write(outlet_for(operation("completions", prompt="x")), plain) == whole.replace(
        b'"upstream-model"', b'"alias"'
    )
    assert "".join(entry["text"] for entry in entries(write(outlet_for(request), plain))) == "ab"


def test_embeddings_are_relayed_and_counted() -> None:
    """Vectors go through byte for byte under the alias; usage is read; an error or another shape is a fault."""
    request = operation("embeddings", input="x")
    body = b'{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.10,-1e-3]}],"model":"upstream-model","usage":{"prompt_tokens":3,"total_tokens":3}}'
    frames = pump(OPENAI.inlet(request, False), [body[:40], body[40:]])
    assert type(events_of(frames)[1]) is Usage
    assert events_of(frames)[1].input_tokens == 3  # type: ignore[attr-defined]
    assert write(outlet_for(request), frames) == body.replace(b'"upstream-model"', b'"alias"')
    nameless = body.replace(b'"model":"upstream-model",', b"")
    assert json.loads(write(outlet_for(request), pump(OPENAI.inlet(request, False), [nameless])))["model"] == "alias"
    for bad in (b'{"error":{"message":"x"}}', b'{"data":5}', b"[]", b"{", b""):
        assert isinstance(failure(pump(OPENAI.inlet(request, False), [bad])), errors.UpstreamFailed)
    with pytest.raises(errors.Internal):
        outlet_for(request).finish()


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"choices":[]}', b'{"choices":[{}]}', b'{"choices":5}', b"\xff"])
def test_a_body_of_another_shape_is_a_fault(body: bytes) -> None:
    """A whole reply that cannot be read is `Failed`, never an empty answer."""
    assert type(failure(pump(OPENAI.inlet(chat(), False), [body]))) is errors.UpstreamFailed


def test_a_body_without_end_is_refused() -> None:
    """A whole reply larger than the bound is a fault as soon as the bound is passed."""
    inlet = OPENAI.inlet(chat(), False)
    piece = b" " * 2**20
    frames = [frame for _ in range(66) for frame in inlet.feed(piece)]
    assert type(failure(frames)) is errors.UpstreamFailed
    assert list(inlet.close()) == []


@pytest.mark.parametrize("content", [7, True, {"text": "secret"}])
def test_content_that_is_no_text_is_an_error(content: Any) -> None:
    """It has no event, so relaying it would send what no check has seen."""
    streamed = read_stream(OPENAI, chat(stream=True), sse(chunk([delta({"content": content})]), STOP))
    whole = {"id": "c", "choices": [{"index": 0, "message": {"content": content}, "finish_reason": "stop"}]}
    for frames in (streamed, pump(OPENAI.inlet(chat(), False), [dumps(whole)])):
        (failed,) = events_of(frames)
        assert type(failed) is Failed
        assert type(failed.error) is UpstreamFailed


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content"])
def test_reasoning_that_is_no_text_is_kept_where_checks_see_it(name: str) -> None:
    """It is unknown, as any field is that we cannot read; it reaches the client only as such."""
    thought = {"steps": ["secret"]}
    whole = {"id": "c", "choices": [{"index": 0, "message": {name: thought}, "finish_reason": "stop"}]}
    frames = pump(OPENAI.inlet(chat(), False), [dumps(whole)])
    assert Unknown({"openai": {name: thought}}) in events_of(frames)
