"""The Responses dialect: what is read of a request, and what an answer becomes."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.core.errors import BadRequest, StreamCut
from gateway.core.events import Blocked, ChoiceFinished, Finished, Frame, Reasoning, Started, Text, ToolCall, Usage
from gateway.core.ports import Outlet
from gateway.core.request import Request
from tests.fixtures.dialects import DIALECTS, TARGET, events_of, exchange_of, payloads, read_stream, sse, write
from tests.fixtures.dialects import chunk as chat_chunk
from tests.fixtures.dialects import delta as chat_delta

RESPONSES = DIALECTS["responses"]
STARTED = Started("chatcmpl-1", "upstream-model", 1700000001)


def request(given: Any = "hi", **fields: Any) -> Request:
    return RESPONSES.read("chat", {"model": "alias", "input": given, **fields})


def outlet(*, stream: bool = True, **fields: Any) -> Outlet:
    return RESPONSES.outlet(exchange_of(request(stream=stream, **fields)))


def test_every_text_is_a_slot_with_its_role_and_place() -> None:
    """Instructions, messages, calls, results and replayed thoughts are all seen by checks, and where they stand."""
    asked = request(
        [
            {"role": "developer", "content": "d"},
            {
                "type": "message",
                "role": "user",
                "content": [{"type": "input_text", "text": "u"}, {"type": "input_image"}],
            },
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "s"}], "encrypted_content": "e"},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": '{"a":1}'},
            {"type": "function_call_output", "call_id": "c", "output": "r"},
            {"type": "custom_tool_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "p"}]},
            {"type": "shell_call_output", "output": [{"stdout": "o", "stderr": ""}]},
            {"type": "invented_tomorrow", "text": "kept"},
        ],
        instructions="i",
    )
    assert [(slot.path, slot.role, slot.kind, slot.text) for slot in asked.slots] == [
        ("instructions", "system", "text", "i"),
        ("input[0].content", "system", "text", "d"),
        ("input[1].content[0].text", "user", "text", "u"),
        ("input[2].summary[0].text", "assistant", "text", "s"),
        ("input[3].arguments", "assistant", "tool_arguments", '{"a":1}'),
        ("input[4].output", "tool", "tool_result", "r"),
        ("input[5].output[0].text", "tool", "tool_result", "p"),
        ("input[6].output[0].stdout", "tool", "tool_result", "o"),
        ("input[6].output[0].stderr", "tool", "tool_result", ""),
    ]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": ["hi"]}, "input[0]"),
        ({"input": [{"type": 1}]}, "input[0].type"),
        ({"input": [{"role": ["user"], "content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "user", "content": 3}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": ["x"]}]}, "input[0].content[0]"),
        ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input[0].content[0].text"),
        ({"input": [{"type": "function_call", "arguments": {}}]}, "input[0].arguments"),
        ({"input": [{"type": "function_call_output"}]}, "input[0].output"),
        ({"instructions": 1}, "instructions"),
        ({"tools": {}}, "tools"),
        ({"text": []}, "text"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"stream": "yes"}, "stream"),
    ],
)
def test_a_wrong_type_is_named(fields: dict[str, Any], param: str) -> None:
    """What we own is checked where it stands; nothing of a wrong shape goes on to fail later."""
    with pytest.raises(BadRequest) as wrong:
        RESPONSES.read("chat", {"model": "alias", "input": "hi", **fields})
    assert wrong.value.param == param


def test_anthropic_can_be_asked_too() -> None:
    """The same items become an Anthropic conversation: results of one round in one turn, calls in one turn."""
    asked = request(
        [
            {"role": "user", "content": "u"},
            {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
            {"type": "function_call", "call_id": "c2", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": "1"},
            {"type": "function_call_output", "call_id": "c2", "output": "2"},
        ]
    )
    call = DIALECTS["anthropic"].call(asked, TARGET, False, {})
    assert [message["role"] for message in payloads(b"data: " + call.body)[0]["messages"]] == [
        "user",
        "assistant",
        "user",
    ]


def test_mixed_pieces_of_two_calls_come_apart() -> None:
    """Pieces of parallel calls that come mixed go each to its own item, one item after the other, as OpenAI sends them; every
    item is done before the end."""
    frames = [
        Frame((STARTED, Reasoning("think"), Text("say"))),
        Frame((ToolCall(0, '{"a"', "c1", "f"), ToolCall(1, "{", "c2", "g"))),
        Frame((ToolCall(0, ":1}"), ToolCall(1, "}"))),
        Frame((ChoiceFinished("tool_calls"), Usage(3, 4), Finished())),
    ]
    wires = payloads(write(outlet(), frames))
    assert [wire["sequence_number"] for wire in wires] == list(range(len(wires)))
    done = [wire["item"] for wire in wires if wire["type"] == "response.output_item.done"]
    last = wires[-1]
    assert last["type"] == "response.completed"
    assert last["response"]["output"] == done
    assert [item["type"] for item in done] == ["reasoning", "message", "function_call", "function_call"]
    assert [item.get("arguments") for item in done[2:]] == ['{"a":1}', "{}"]
    deltas = [(wire["output_index"], wire["delta"]) for wire in wires if wire["type"].endswith("arguments.delta")]
    assert deltas == [(2, '{"a"'), (2, ":1}"), (3, "{"), (3, "}")]
    assert last["response"]["usage"]["total_tokens"] == 7


def test_calls_one_after_the_other_are_not_held_back() -> None:
    """A call whose arguments are whole is over when the next begins, which is then sent as it comes."""
    made = outlet()
    made.push(Frame((STARTED, ToolCall(0, '{"a":1}', "c1", "f"))))
    assert [
        wire["delta"] for wire in payloads(made.push(Frame((ToolCall(1, "{", "c2", "g"),)))) if "delta" in wire
    ] == ["{"]


def test_pieces_that_waited_come_before_what_follows() -> None:
    """Text after mixed calls comes after all of them."""
    frames = [
        Frame((STARTED, ToolCall(0, "{", "c1", "f"), ToolCall(1, "{", "c2", "g"), ToolCall(0, "}"), ToolCall(1, "}"))),
        Frame((Text("so"), ChoiceFinished("stop"), Finished())),
    ]
    output = payloads(write(outlet(), frames))[-1]["response"]["output"]
    assert [item["type"] for item in output] == ["function_call", "function_call", "message"]
    assert [item["arguments"] for item in output[:2]] == ["{}", "{}"]


@pytest.mark.parametrize(
    ("reasoning", "kind"),
    [
        (None, "content"),
        ({"effort": "low"}, "content"),
        ({"summary": None}, "content"),
        ({"summary": "auto"}, "summary"),
    ],
)
def test_thoughts_are_a_summary_for_a_client_that_asked_for_one(reasoning: Any, kind: str) -> None:
    """Clients that show reasoning ask for its summary and read nothing else; for all others it is the model's own."""
    frames = [Frame((STARTED, Reasoning("think"), Text("say"), ChoiceFinished("stop"), Finished()))]
    wires = payloads(write(outlet(reasoning=reasoning), frames))
    thought = wires[-1]["response"]["output"][0]
    assert [part["text"] for part in thought[kind]] == ["think"]
    assert thought["summary" if kind == "content" else "content"] == []
    deltas = [wire["type"] for wire in wires if wire["type"].startswith("response.reasoning") and "delta" in wire]
    assert deltas == [f"response.reasoning_{'summary_text' if kind == 'summary' else 'text'}.delta"]


def test_streamed_and_not_say_the_same() -> None:
    """The body of a client that does not stream is the response that a stream's last event holds."""
    data = sse(chat_chunk([chat_delta({"content": "Hel"})]), chat_chunk([chat_delta({"content": "lo"}, finish="stop")]))
    frames = read_stream(DIALECTS["openai"], request(), data)
    assert type(events_of(frames)[-1]) is Finished
    streamed = payloads(write(outlet(), frames))[-1]["response"]
    (whole,) = payloads(b"data: " + write(outlet(stream=False), frames))
    assert streamed == whole
    assert whole["output"][0]["content"][0]["text"] == "Hello"


def test_a_blocked_stream_is_incomplete_and_holds_what_was_released() -> None:
    """A check's stop closes the open item and names the filter; a cut is failed with the fault's own code."""
    stopped = outlet()
    data = stopped.push(Frame((STARTED, Text("so far")))) + stopped.block(Blocked("toxicity", "toxicity"))
    last = payloads(data)[-1]
    assert (last["type"], last["response"]["incomplete_details"]) == (
        "response.incomplete",
        {"reason": "content_filter"},
    )
    assert last["response"]["output"][0]["content"][0]["text"] == "so far"
    cut = outlet()
    data = cut.push(Frame((STARTED, Text("so far")))) + cut.fail(StreamCut("The stream broke off."))
    last = payloads(data)[-1]
    assert (last["type"], last["response"]["error"]["code"]) == ("response.failed", "stream_cut")
    assert last["response"]["output"][0]["status"] == "incomplete"
