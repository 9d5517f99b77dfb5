"""Anthropic answers: what upstreams send, and what clients get of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

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
from gateway.core.response import Response, fold, said, unfold
from tests.fixtures.dialects import (
    ANTHROPIC,
    chat,
    dumps,
    events_of,
    message,
    named,
    outlet_for,
    payloads,
    pump,
    read_stream,
    write,
)

MESSAGE = {"id": "msg_1", "type": "message", "role": "assistant", "model": "upstream-model", "content": [], "stop_reason": None, "stop_sequence": None, "usage": {"input_tokens": 4, "cache_read_input_tokens": 3, "cache_creation_input_tokens": 2, "output_tokens": 1}}  # fmt: skip
START = {"type": "message_start", "message": MESSAGE}
BEGIN = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
HI = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}}
CLOSE = {"type": "content_block_stop", "index": 0}
END = {
    "type": "message_delta",
    "delta": {"stop_reason": "end_turn", "stop_sequence": None},
    "usage": {"output_tokens": 7},
}
STOP = {"type": "message_stop"}
WHOLE = [START, BEGIN, HI, CLOSE, END, STOP]


def read(*objects: Any) -> list[Frame]:
    return read_stream(ANTHROPIC, message(), named(*objects))


def failure(frames: list[Frame]) -> GatewayFault:
    last = events_of(frames)[-1]
    assert type(last) is Failed
    assert isinstance(last.error, GatewayFault)
    return last.error


def test_a_plain_stream_is_plain_events() -> None:
    """Input counts include what was read from and written to the cache; later counts add to earlier ones."""
    events = events_of(read(*WHOLE))
    assert events[0] == Started("msg_1", "upstream-model", 0)
    assert [type(event) for event in events[1:]] == [Usage, Text, ChoiceFinished, Usage, Finished]
    usage = events[-2]
    assert isinstance(usage, Usage)
    assert (usage.input_tokens, usage.cached_tokens, usage.cache_write_tokens, usage.output_tokens) == (9, 3, 2, 7)
    assert usage.raw == {**MESSAGE["usage"], "output_tokens": 7}  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("objects", "kind"),
    [
        ([START, {"type": "error", "error": {"type": "overloaded_error", "message": "x"}}], errors.UpstreamFailed),
        ([START, {"type": "error", "error": {"type": "rate_limit_error", "message": "x"}}], errors.UpstreamLimited),
        ([START, {"type": "error", "error": {"type": "invalid_request_error", "message": "prompt is too long"}}], errors.ContextOverflow),
        ([START, HI], errors.UpstreamFailed),
        ([START, BEGIN, {"type": "content_block_delta", "index": 0}], errors.UpstreamFailed),
        ([START, BEGIN, {"type": "content_block_delta", "index": [], "delta": {}}], errors.UpstreamFailed),
        ([{"type": "message_start"}], errors.UpstreamFailed),
        ([START, BEGIN, HI], errors.StreamCut),
        ([START, BEGIN, HI, CLOSE], errors.StreamCut),
        ([STOP], errors.StreamCut),
        ([], errors.StreamCut),
    ],
)  # fmt: skip
def test_a_broken_stream_ends_in_a_fault(objects: list[Any], kind: type[GatewayFault]) -> None:
    """Whatever an upstream sends, the inlet raises nothing: the last event is `Failed`, and `Finished` never comes."""
    frames = read(*objects)
    assert type(failure(frames)) is kind
    assert Finished() not in events_of(frames)


@pytest.mark.parametrize("payload", [b"{", b"[]", b"null", b'{"type":"\xff"}', b"[DONE]", b"[" * 5000])
def test_an_event_that_cannot_be_read_is_a_fault(payload: bytes) -> None:
    """Including the other dialect's `[DONE]`."""
    data = named(START) + b"event: x\ndata: " + payload + b"\n\n"
    assert type(failure(read_stream(ANTHROPIC, message(), data))) is errors.UpstreamFailed


def test_a_block_nobody_knows_is_bounded() -> None:
    """Pieces of an unknown block are kept until it is whole, up to a bound."""
    inlet = ANTHROPIC.inlet(message(), True)
    inlet.feed(named(START, {"type": "content_block_start", "index": 0, "content_block": {"type": "odd"}}))
    piece = named({"type": "content_block_delta", "index": 0, "delta": {"type": "odd_delta", "odd": "x" * 2**20}})
    frames = [frame for _ in range(10) for frame in inlet.feed(piece)]
    assert type(failure(frames)) is errors.UpstreamFailed
    assert len(frames) == 1


def test_a_json_body_in_place_of_a_stream_is_read_as_one() -> None:
    """A server that ignores `stream` answers all the same, and its errors are errors."""
    body = {**MESSAGE, "content": [{"type": "text", "text": "Hi"}], "stop_reason": "end_turn"}
    frames = pump(ANTHROPIC.inlet(message(), True), [dumps(body)])
    assert fold(events_of(frames)).choices[0].text == "Hi"
    assert [each["type"] for each in payloads(write(outlet_for(message(stream=True)), frames))] == [
        e["type"] for e in WHOLE
    ]
    error = b'{"type":"error","error":{"type":"overloaded_error","message":"x"}}'
    assert type(failure(pump(ANTHROPIC.inlet(message(), True), [error]))) is errors.UpstreamFailed


def test_a_check_that_holds_text_holds_the_block_around_it() -> None:
    """Block starts and ends travel with the text they enclose, so holding a frame never sends half of a block."""
    frames = read(*WHOLE)
    held = [event for frame in frames[1:] for event in frame.events]
    request = message(stream=True)
    outlet = outlet_for(request)
    assert [each["type"] for each in payloads(outlet.push(frames[0]))] == ["message_start"]
    assert outlet.push(Frame(())) == b""
    rest = outlet.push(Frame(tuple(held))) + outlet.finish()
    assert [each["type"] for each in payloads(rest)] == [each["type"] for each in WHOLE[1:]]


def test_a_changed_delta_goes_into_the_block_that_is_open() -> None:
    """A check that changes one delta in the middle: its neighbours are relayed, and the indexes fit."""
    more = [{**HI, "delta": {"type": "text_delta", "text": text}} for text in ("a", "b", "c")]
    frames = read(START, BEGIN, *more, CLOSE, END, STOP)
    frames[2] = Frame((Text("B"),), None, "anthropic")
    data = write(outlet_for(message(stream=True)), frames)
    expected = [{**START, "message": {**MESSAGE, "model": "alias"}}, BEGIN, more[0]]
    expected += [{**HI, "delta": {"type": "text_delta", "text": "B"}}, more[2], CLOSE, END, STOP]
    assert payloads(data) == expected


def test_signed_thoughts_stay_exact_and_folded_ones_are_not_signed() -> None:
    """One thought keeps its signature, also when encoded anew; thoughts that were folded together get none of theirs."""

    def thought(text: str, index: int) -> list[Any]:
        start = {"type": "content_block_start", "index": index, "content_block": {"type": "thinking", "thinking": "", "signature": ""}}  # fmt: skip
        deltas = [{"type": "thinking_delta", "thinking": text}, {"type": "signature_delta", "signature": f"sig-{text}"}]
        stop = {"type": "content_block_stop", "index": index}
        return [start, *({"type": "content_block_delta", "index": index, "delta": d} for d in deltas), stop]

    frames = read(START, *thought("a", 0), *thought("b", 1), END, STOP)
    folded = json.loads(write(outlet_for(message()), [Frame(frame.events) for frame in frames]))
    assert [(b["thinking"], b["signature"]) for b in folded["content"]] == [("a", "sig-a"), ("b", "sig-b")]
    cached = [Frame((event,)) for event in unfold(fold(events_of(frames)))]
    folded = json.loads(write(outlet_for(message()), cached))
    assert [(b["thinking"], b["signature"]) for b in folded["content"]] == [("ab", "")]


@pytest.mark.parametrize(
    ("reason", "tools", "word"),
    [
        ("stop", False, "end_turn"),
        ("stop", True, "tool_use"),
        ("tool_calls", True, "tool_use"),
        ("length", True, "max_tokens"),
        ("content_filter", False, "refusal"),
        ("someones_word", False, "end_turn"),
    ],
)
def test_stop_reasons_of_another_dialect(reason: str, tools: bool, word: str) -> None:
    """Each canonical reason has its word; a plain stop after a tool call is told as `tool_use`, or clients never run it."""
    events: list[Event] = [Started("c", "m", 1)]
    events += [ToolCall(0, "{}", "c", "f")] if tools else [Text("x")]
    events += [ChoiceFinished(reason), Finished()]
    assert json.loads(write(outlet_for(message()), [Frame((e,)) for e in events]))["stop_reason"] == word


def test_usage_of_another_dialect() -> None:
    """Counts are split as Anthropic splits them, and a whole OpenAI usage object is not passed off as one of theirs."""
    usage = Usage(10, 5, 4, 1, raw={"prompt_tokens": 10, "completion_tokens": 5})
    events: list[Event] = [Started("c", "m", 1), Text("x"), ChoiceFinished("stop"), usage, Finished()]
    body = json.loads(write(outlet_for(message()), [Frame((e,)) for e in events]))
    assert body["usage"] == {"input_tokens": 5, "output_tokens": 5, "cache_creation_input_tokens": 1, "cache_read_input_tokens": 4}  # fmt: skip


def test_arguments_that_are_no_json_object_are_kept_under_a_key_of_their_own() -> None:
    """A model cut off inside a call: the folded message is valid and loses nothing of what was said."""
    events: list[Event] = [
        Started("c", "m", 1),
        ToolCall(0, '{"a": "lo', "c", "f"),
        ChoiceFinished("length"),
        Finished(),
    ]
    body = json.loads(write(outlet_for(message()), [Frame((e,)) for e in events]))
    assert body["content"][0]["input"] == {"INVALID_JSON": '{"a": "lo'}


def tool_blocks(data: bytes) -> list[tuple[str, str]]:
    """The name and the arguments of each block of a stream, in order; asserts that blocks come one after the other."""
    found: list[tuple[str, str]] = []
    for event in payloads(data):
        if event["type"] == "content_block_start":
            found.append((event["content_block"]["name"], ""))
            assert event["index"] == len(found) - 1
        elif event["type"] == "content_block_delta":
            assert event["index"] == len(found) - 1
            found[-1] = (found[-1][0], found[-1][1] + event["delta"]["partial_json"])
    return found


ALTERNATING: list[Event] = [
    Started("c", "m", 1), ToolCall(0, '{"a":', "a", "f"), ToolCall(1, '{"b":', "b", "g"), ToolCall(0, "1}"),
    ToolCall(1, "2}"), ChoiceFinished("tool_calls"), Finished(),
]  # fmt: skip


def test_calls_whose_pieces_alternate_come_one_after_the_other() -> None:
    """Blocks do not overlap here, so the pieces of the second call wait for the end of the first."""
    frames = [Frame((event,)) for event in ALTERNATING]
    data = write(outlet_for(message(stream=True)), frames)
    assert tool_blocks(data) == [("f", '{"a":1}'), ("g", '{"b":2}')]
    assert payloads(data)[-1]["type"] == "message_stop"
    body = json.loads(write(outlet_for(message()), frames))
    assert [(block["name"], block["input"]) for block in body["content"]] == [("f", {"a": 1}), ("g", {"b": 2})]


def test_calls_that_come_one_after_the_other_do_not_wait() -> None:
    """The arguments of the first are whole when the second begins, so each piece goes out as it comes."""
    outlet = outlet_for(message(stream=True))
    for event in (Started("c", "m", 1), ToolCall(0, '{"a":1}', "a", "f")):
        outlet.push(Frame((event,)))
    data = outlet.push(Frame((ToolCall(1, '{"b"', "b", "g"),)))
    assert [event["type"] for event in payloads(data)] == [
        "content_block_stop",
        "content_block_start",
        "content_block_delta",
    ]


def test_pieces_for_a_block_that_is_closed_cannot_be_told() -> None:
    """Text came between the pieces of a call, which no message can say: the answer is an error and not a mended one."""
    events: list[Event] = [Started("c", "m", 1), ToolCall(0, "{", "a", "f"), Text("so"), ToolCall(0, "}"), Finished()]
    for stream in (True, False):
        with pytest.raises(UpstreamFailed):
            write(outlet_for(message(stream=stream)), [Frame((event,)) for event in events])


def test_other_choices_have_no_place() -> None:
    """Only the first of several choices is told."""
    events: list[Event] = [Started("c", "m", 1), Text("a"), Text("b", 1), ChoiceFinished("stop"), Finished()]
    body = json.loads(write(outlet_for(message()), [Frame((e,)) for e in events]))
    assert body["content"] == [{"type": "text", "text": "a"}]


def test_foreign_extras_stay_at_home() -> None:
    """Fields of one dialect that ride on events are not told in another."""
    extra = {
        "openai": {"choice": {"logprobs": 1}, "stop": {"stop_reason": "odd"}, "citations": [1], "signatures": ["s"]}
    }
    events: list[Event] = [Started("c", "m", 1, extra), Reasoning("r", 0, extra), Text("a", 0, extra), Unknown(extra)]
    events += [ToolCall(0, "{}", "c", "f", 0, extra), ChoiceFinished("tool_calls", 0, extra), Finished()]
    body = json.loads(write(outlet_for(message()), [Frame((e,)) for e in events]))
    assert body["content"] == [
        {"type": "thinking", "thinking": "r", "signature": ""},
        {"type": "text", "text": "a"},
        {"type": "tool_use", "id": "c", "name": "f", "input": {}},
    ]
    back = {"anthropic": extra["openai"]}
    events = [
        Started("c", "m", 1, back),
        Text("a", 0, back),
        Unknown(back),
        ChoiceFinished("stop", 0, back),
        Finished(),
    ]
    told = write(outlet_for(chat()), [Frame((e,)) for e in events])
    assert json.loads(told)["choices"] == [
        {"index": 0, "message": {"role": "assistant", "content": "a", "refusal": None}, "logprobs": None, "finish_reason": "stop"}
    ]  # fmt: skip


def test_an_error_in_the_stream_is_a_named_event() -> None:
    """`event: error`, and no end of the message after it."""
    outlet = outlet_for(message(stream=True))
    outlet.push(read(*WHOLE)[0])
    assert outlet.fail(UpstreamFailed("It broke.")) == (
        b'event: error\ndata: {"type":"error","error":{"type":"api_error","message":"It broke."},"request_id":"tg-1"}\n\n'
    )


@pytest.mark.parametrize("pushed", [0, 1, 2])
def test_a_stopped_answer_ends_as_a_refusal(pushed: int) -> None:
    """A check that stops an answer closes the open block and ends the message with `refusal`, however far it was."""
    outlet = outlet_for(message(stream=True))
    data = b"".join(outlet.push(frame) for frame in read(*WHOLE)[:pushed]) + outlet.block(Blocked("toxicity", "hate"))
    types = [each["type"] for each in payloads(data)]
    assert types == ["message_start", *(["content_block_start", "content_block_delta", "content_block_stop"] if pushed == 2 else []), "message_delta", "message_stop"]  # fmt: skip
    assert payloads(data)[-2]["delta"]["stop_reason"] == "refusal"
    folding = outlet_for(message())
    for frame in read(*WHOLE)[:pushed]:
        folding.push(frame)
    assert json.loads(folding.block(Blocked("toxicity", "hate")))["stop_reason"] == "refusal"


def test_canned_and_empty_answers() -> None:
    """An answer nobody generated, and one that says nothing, are whole messages."""
    for response in (said("Nine.", id="tg-1", model="alias", created=1), Response(id="x", model="m", complete=True)):
        frames = [Frame((event,)) for event in unfold(response)]
        body = json.loads(write(outlet_for(message()), frames))
        assert (body["type"], body["role"], body["model"], body["stop_reason"]) == ("message", "assistant", "alias", "end_turn")  # fmt: skip
        assert payloads(write(outlet_for(message(stream=True)), frames))[-1] == {"type": "message_stop"}
