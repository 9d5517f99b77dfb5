"""Responses from an upstream that has the API itself: relayed as they came, and encoded anew where a check had a say."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import pytest

from gateway.core.errors import Untranslatable
from gateway.core.events import Blocked, Event, Failed, Finished, Frame, Reasoning, Text, ToolCall, Unknown, Usage
from gateway.core.ports import Outlet
from gateway.core.request import Request
from gateway.core.response import fold
from tests.fixtures.dialects import (
    DIALECTS,
    TARGET,
    chat,
    dumps,
    events_of,
    exchange_of,
    named,
    payloads,
    pump,
    read_stream,
    write,
)

RESPONSES = DIALECTS["responses"]
HEAD = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1700000001,
    "model": "upstream-model",
    "new_field": {"a": 1},
}
USAGE = {
    "input_tokens": 9,
    "input_tokens_details": {"cached_tokens": 4},
    "output_tokens": 5,
    "output_tokens_details": {"reasoning_tokens": 2},
    "total_tokens": 14,
}
THOUGHT = {
    "id": "rs_1",
    "type": "reasoning",
    "summary": [{"type": "summary_text", "text": "hm"}],
    "encrypted_content": "E",
}
SEARCH = {"id": "ws_1", "type": "web_search_call", "status": "completed", "action": {"query": "q"}}
PART = {"type": "output_text", "text": "Hello", "annotations": [], "logprobs": []}
SAID = {"id": "msg_1", "type": "message", "status": "completed", "role": "assistant", "content": [PART]}
CALL = {
    "id": "fc_1",
    "type": "function_call",
    "status": "completed",
    "call_id": "c1",
    "name": "f",
    "arguments": '{"a":1}',
}
PATCH = {"id": "ctc_1", "type": "custom_tool_call", "status": "completed", "call_id": "c2", "name": "p", "input": "+x"}
ITEMS = [THOUGHT, SEARCH, SAID, CALL, PATCH]


def request(**fields: Any) -> Request:
    return RESPONSES.read("chat", {"model": "alias", "input": "hi", "stream": True, **fields})


def outlet(**fields: Any) -> Outlet:
    return RESPONSES.outlet(exchange_of(request(**fields)))


def body(status: str = "completed", **fields: Any) -> dict[str, Any]:
    return {**HEAD, "status": status, "error": None, "output": ITEMS, "usage": USAGE, **fields}


def stream() -> list[dict[str, Any]]:
    """One response with every kind of item, as OpenAI streams it."""
    wires: list[dict[str, Any]] = [
        {"type": "response.created", "response": body("in_progress", output=[], usage=None)},
        {"type": "response.in_progress", "response": body("in_progress", output=[], usage=None)},
    ]
    deltas: list[Sequence[dict[str, Any]]] = [
        [{"type": "response.reasoning_summary_text.delta", "delta": "hm", "summary_index": 0}],
        [{"type": "response.web_search_call.searching"}],
        [
            {"type": "response.content_part.added", "content_index": 0, "part": {**PART, "text": ""}},
            {"type": "response.output_text.delta", "content_index": 0, "delta": "Hel", "logprobs": []},
            {"type": "response.output_text.delta", "content_index": 0, "delta": "lo", "logprobs": []},
            {"type": "response.output_text.done", "content_index": 0, "text": "Hello", "logprobs": []},
            {"type": "response.content_part.done", "content_index": 0, "part": PART},
        ],
        [{"type": "response.function_call_arguments.delta", "delta": '{"a":1}'}],
        [{"type": "response.custom_tool_call_input.delta", "delta": "+x"}],
    ]
    empty = {"summary": [], "content": [], "arguments": "", "input": ""}
    for index, (item, inner) in enumerate(zip(ITEMS, deltas, strict=True)):
        begun = {name: empty.get(name, value) for name, value in item.items() if name != "encrypted_content"}
        wires.append({"type": "response.output_item.added", "output_index": index, "item": begun})
        wires += [{**wire, "item_id": item["id"], "output_index": index} for wire in inner]
        wires.append({"type": "response.output_item.done", "output_index": index, "item": item})
    wires.append({"type": "response.completed", "response": body()})
    return [{**wire, "sequence_number": number} for number, wire in enumerate(wires)]


def under_our_name(wires: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same with the alias where the upstream says its model's name."""
    return [
        {**wire, "response": {**wire["response"], "model": "alias"}} if "response" in wire else wire for wire in wires
    ]


def written(events: Iterable[Event]) -> list[Event]:
    """Without what is only there for checks to see, and has no place in an answer that is written anew."""
    return [event for event in events if type(event) is not Unknown or "item" in event.fields["responses"]]


def test_events_of_a_stream_and_of_a_body_are_the_same() -> None:
    """Folded, both ways of telling an answer are one answer, with every item in it."""
    frames = read_stream(RESPONSES, request(), named(*stream()))
    whole = pump(RESPONSES.inlet(request(), False), [dumps(body())])
    events = events_of(frames)
    assert fold(written(events)) == fold(written(events_of(whole)))
    assert [type(event) for event in events[-2:]] == [Usage, Finished]
    assert Unknown({"responses": {"item": SEARCH}}) in events
    assert any(type(event) is Reasoning and event.extra and "sealed" in event.extra["responses"] for event in events)


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_a_clean_stream_is_relayed_as_it_came(size: int) -> None:
    """Every event arrives as it left, unknown fields, numbers and encrypted reasoning too, in any chunking."""
    data = named(*stream())
    frames = pump(RESPONSES.inlet(request(), True), [data[at : at + size] for at in range(0, len(data), size)])
    assert write(outlet(), frames) == named(*under_our_name(stream()))


def test_a_clean_body_is_relayed_as_it_came() -> None:
    """A client that does not stream gets the upstream's own bytes, with our name of the model."""
    frames = pump(RESPONSES.inlet(request(stream=False), False), [dumps(body())])
    assert write(outlet(stream=False), frames) == dumps({**body(), "model": "alias"})


def altered(frames: Sequence[Frame], change: Any) -> list[Frame]:
    """As a check would have it: changed frames lose their bytes, and swallowed ones do not come."""
    out = []
    for frame in frames:
        events = tuple(changed for event in frame.events if (changed := change(event)) is not None)
        if events:
            out.append(frame if events == frame.events else Frame(events, None, frame.dialect))
    return out


@pytest.mark.parametrize("put", ["***", None])
def test_what_a_check_took_out_is_nowhere_in_the_stream(put: str | None) -> None:
    """A text that was masked, or swallowed, is not told again by the events that end its item and the response."""

    def change(event: Event) -> Event | None:
        if type(event) is Text and event.text == "lo":
            return msgspec.structs.replace(event, text=put) if put else None
        return event

    data = write(outlet(), altered(read_stream(RESPONSES, request(), named(*stream())), change))
    assert b"Hello" not in data
    wires = payloads(data)
    assert [wire["sequence_number"] for wire in wires] == list(range(len(wires)))
    assert wires[-1]["type"] == "response.completed"
    said = "Hel" + (put or "")
    output = wires[-1]["response"]["output"]
    assert [item["type"] for item in output] == [item["type"] for item in ITEMS]
    assert output[2]["content"][0]["text"] == said
    assert (output[0], output[1]) == (THOUGHT, SEARCH)
    assert (output[3]["arguments"], output[4]["input"]) == ('{"a":1}', "+x")
    assert wires[-1]["response"]["usage"] == USAGE
    assert {wire["response"]["id"] for wire in wires if "response" in wire} == {"resp_1"}


def test_a_call_altered_at_its_first_piece_keeps_what_was_sealed_before() -> None:
    """A check that changes arguments late in an answer leaves what is out already as it was."""

    def change(event: Event) -> Event:
        if type(event) is ToolCall and event.arguments.startswith("{"):
            return msgspec.structs.replace(event, arguments='{"a":2}')
        return event

    wires = payloads(write(outlet(), altered(read_stream(RESPONSES, request(), named(*stream())), change)))
    output = wires[-1]["response"]["output"]
    assert output[:3] == ITEMS[:3]
    assert output[3] == {**CALL, "arguments": '{"a":2}'}


def test_a_block_after_relayed_events_closes_what_is_open() -> None:
    """A check's stop in the middle of a relayed item ends item and response under the ids that were told."""
    frames = read_stream(RESPONSES, request(), named(*stream()))
    until = next(at for at, frame in enumerate(frames) if any(type(event) is Text for event in frame.events))
    out = outlet()
    wires = payloads(b"".join(map(out.push, frames[: until + 1])) + out.block(Blocked("x", "x")))
    last = wires[-1]
    assert (last["type"], last["response"]["id"]) == ("response.incomplete", "resp_1")
    assert last["response"]["output"][2]["id"] == "msg_1"
    assert last["response"]["output"][2]["content"][0]["text"] == "Hel"
    assert [wire["sequence_number"] for wire in wires] == list(range(len(wires)))


def test_a_servers_own_reasoning_is_never_called_a_summary() -> None:
    """What a server of this dialect called its reasoning stays that, encoded anew, whatever the client asked for."""
    asked = RESPONSES.read("chat", {"model": "alias", "input": "hi", "reasoning": {"summary": "auto"}})
    thought = {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]}
    body = {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "status": "completed",
        "model": "m",
        "output": [thought],
    }
    (frame,) = pump(RESPONSES.inlet(asked, False), [dumps(body)])
    (made,) = payloads(b"data: " + write(RESPONSES.outlet(exchange_of(asked)), [Frame(frame.events)]))
    assert made["output"][0]["content"] == thought["content"]
    assert made["output"][0]["summary"] == []


def test_a_stream_without_numbers_is_given_some() -> None:
    """Servers that leave out what the API requires are written anew, and then it is there."""
    bare = [{n: v for n, v in wire.items() if n != "sequence_number"} for wire in stream()]
    wires = payloads(write(outlet(), read_stream(RESPONSES, request(), named(*bare))))
    assert [wire["sequence_number"] for wire in wires] == list(range(len(wires)))
    said = [item["content"][0]["text"] for item in wires[-1]["response"]["output"] if item["type"] == "message"]
    assert said == ["Hello"]


@pytest.mark.parametrize(
    "last",
    [
        {
            "type": "response.failed",
            "response": {**HEAD, "status": "failed", "error": {"code": "server_error", "message": "x"}},
        },
        {"type": "error", "code": "server_error", "message": "x", "param": None},
        None,
    ],
)
def test_a_stream_that_fails_or_is_cut_is_never_whole(last: dict[str, Any] | None) -> None:
    """Failed, an error event, or no end at all: the last event is `Failed`, and nothing is finished."""
    wires = [*stream()[:8], *([last] if last else [])]
    events = events_of(read_stream(RESPONSES, request(), named(*wires)))
    assert type(events[-1]) is Failed
    assert Finished() not in events


def test_the_request_goes_on_as_it_came() -> None:
    """Unknown tools, items and encrypted reasoning reach the upstream; only another provider's reasoning does not."""
    own = {"type": "reasoning", "id": "rs_local_tg-1_0", "summary": []}
    sent = [{"role": "user", "content": "hi"}, own, THOUGHT, SEARCH, {"type": "invented_tomorrow", "x": 1}]
    tools = [{"type": "web_search"}, {"type": "custom", "name": "p", "format": {"type": "grammar"}}]
    fields = {"tools": tools, "include": ["reasoning.encrypted_content"], "store": False, "text": {"verbosity": "low"}}
    asked = request(input=sent, **fields)
    call = RESPONSES.call(asked, TARGET, True, {})
    assert (call.path, json.loads(call.body)) == (
        "/responses",
        {"model": "upstream-model", "input": [sent[0], *sent[2:]], "stream": True, **fields},
    )
    assert asked.body["input"] == sent
    with pytest.raises(Untranslatable):
        RESPONSES.call(chat(), TARGET, True, {})


def test_a_cut_anywhere_is_never_a_whole_answer() -> None:
    """Cut at each byte: without its last event's JSON the answer ends in `Failed`; what was relayed has no terminal event."""
    data = named(*stream())
    whole = data.rindex(b"}") + 1
    for cut in range(0, len(data), 3):
        frames = pump(RESPONSES.inlet(request(), True), [data[:cut]])
        assert (Finished() in events_of(frames)) is (cut >= whole), cut
        if cut < whole:
            assert type(frames[-1].events[-1]) is Failed
            out = outlet()
            sent = b"".join([out.push(frame) for frame in frames[:-1]])
            assert b"response.completed" not in sent
