"""Anthropic streams: laws over random messages, cut at random places; and both ways across to the other dialect."""

from __future__ import annotations

import itertools
import json
import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.events import ChoiceFinished, Finished, Frame, Reasoning, Started, Text, ToolCall, Usage
from gateway.core.response import Response, fold
from tests.fixtures.dialects import (
    ANTHROPIC,
    LAW,
    OPENAI,
    TARGET,
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
from tests.properties.test_dialect_openai import FULL, JSON, TEXT, cut, mixed

Block = dict[str, Any]
REASONS = ["end_turn", "max_tokens", "stop_sequence", "tool_use", "refusal", "pause_turn", "odd_word"]
CANONICAL = {"end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "tool_use": "tool_calls", "refusal": "content_filter"}  # fmt: skip
INPUT = st.dictionaries(FULL, TEXT | st.integers(0, 9), max_size=2)


@st.composite
def blocks(draw: st.DrawFn) -> list[Block]:
    """The content of one message, as it is when it is not streamed."""
    kinds = st.sampled_from(["text", "thinking", "tool_use", "redacted_thinking", "server_tool_use", "result"])
    made: list[Block] = []
    for number, kind in enumerate(draw(st.lists(kinds, max_size=5))):
        if kind == "text":
            block: Block = {"type": "text", "text": draw(TEXT)}
            if draw(st.booleans()):
                block["citations"] = [{"type": "char_location", "cited_text": draw(TEXT)}]
        elif kind == "thinking":
            block = {"type": "thinking", "thinking": draw(TEXT), "signature": draw(FULL)}
        elif kind == "result":
            block = {"type": "web_search_tool_result", "tool_use_id": "s", "content": [{"url": draw(TEXT)}]}
        elif kind == "redacted_thinking":
            block = {"type": kind, "data": draw(FULL)}
        else:
            block = {"type": kind, "id": f"tu_{number}", "name": "f", "input": draw(INPUT)}
            if draw(st.booleans()):
                block["caller"] = {"type": "direct"}
        made.append(block)
    return made


@st.composite
def messages(draw: st.DrawFn) -> Block:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "upstream-model",
        "content": draw(blocks()),
        "stop_reason": draw(st.sampled_from(REASONS)),
        "stop_sequence": draw(st.none() | FULL),
        "usage": {"input_tokens": 4, "cache_read_input_tokens": 2, "output_tokens": draw(st.integers(1, 9))},
        **draw(st.sampled_from([{}, {"container": {"id": "c"}}])),
    }


def split(text: str, rng: random.Random) -> list[str]:
    edges = sorted({0, len(text), *(rng.randrange(len(text) + 1) for _ in range(rng.choice([0, 1, 3])))})
    return [text[a:b] for a, b in itertools.pairwise(edges)]


def deltas(block: Block, rng: random.Random) -> tuple[Block, list[Block]]:
    """How a block begins, and what is added to it."""
    kind = block["type"]
    if kind == "text":
        start = {"type": kind, "text": ""}
        added = [{"type": "text_delta", "text": piece} for piece in split(block["text"], rng)]
        return start, added + [{"type": "citations_delta", "citation": each} for each in block.get("citations", ())]
    if kind == "thinking":
        added = [{"type": "thinking_delta", "thinking": piece} for piece in split(block["thinking"], rng)]
        return {**block, "thinking": "", "signature": ""}, [
            *added,
            {"type": "signature_delta", "signature": block["signature"]},
        ]
    if kind in ("tool_use", "server_tool_use"):
        text = dumps(block["input"]).decode() if block["input"] else ""
        pieces = ["", *split(text, rng)]
        return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
    return block, []


def streamed(body: Block, seed: int) -> list[Block]:
    """The events that stream this message."""
    rng = random.Random(seed)
    usage = {**body["usage"], "output_tokens": 1}
    head = {**body, "content": [], "stop_reason": None, "stop_sequence": None, "usage": usage}
    out: list[Block] = [{"type": "message_start", "message": head}]
    for index, block in enumerate(body["content"]):
        start, added = deltas(block, rng)
        out.append({"type": "content_block_start", "index": index, "content_block": start})
        out += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in added]
        out.append({"type": "content_block_stop", "index": index})
    stop = {"stop_reason": body["stop_reason"], "stop_sequence": body["stop_sequence"]}
    told = rng.choice([body["usage"], {"output_tokens": body["usage"]["output_tokens"]}])
    out.append({"type": "message_delta", "delta": stop, "usage": told})
    out.append({"type": "message_stop"})
    return out


def with_pings(events: list[Block], seed: int) -> list[Block]:
    rng = random.Random(seed)
    return [each for event in events for each in ([event, {"type": "ping"}] if rng.random() < 0.2 else [event])]


@LAW
@given(messages(), st.integers(0, 99), st.integers(0, 999))
def test_chunking_changes_no_frame(body: Block, how: int, seed: int) -> None:
    """Frames, events and raw bytes alike, do not depend on how the stream's bytes were cut."""
    data = named(*with_pings(streamed(body, how), seed))
    assert pump(ANTHROPIC.inlet(message(), True), cut(data, seed)) == read_stream(ANTHROPIC, message(), data)


@LAW
@given(messages(), st.integers(0, 99))
def test_a_folded_stream_is_the_body_not_streamed(body: Block, how: int) -> None:
    """Blocks, their order and all their fields: the folded stream is the message the upstream would have sent whole."""
    frames = read_stream(ANTHROPIC, message(), named(*streamed(body, how)))
    assert json.loads(write(outlet_for(message()), frames)) == {**body, "model": "alias"}
    whole = pump(ANTHROPIC.inlet(message(), False), [dumps(body)])
    assert write(outlet_for(message()), whole) == dumps({**body, "model": "alias"})
    assert content(fold(events_of(whole))) == content(fold(events_of(frames)))


def content(response: Response) -> Any:
    """What a folded answer says, without the fields only its own dialect knows."""
    choice = response.choices.get(0)
    made = choice and [(call.id, call.name, json.loads(call.arguments)) for _, call in sorted(choice.calls.items())]
    usage = response.usage
    counts = usage and (usage.input_tokens, usage.output_tokens, usage.cached_tokens)
    said = choice and (choice.text or "", choice.reasoning or "", made, choice.finish, choice.unknown)
    return response.id, response.complete, said, counts


@LAW
@given(messages(), st.integers(0, 99), st.integers(0, 999))
def test_what_is_written_reads_back_the_same(body: Block, how: int, seed: int) -> None:
    """Relayed, encoded or any mixture of both: the stream a client gets says the same answer under the alias."""
    request = message(stream=True)
    frames = read_stream(ANTHROPIC, request, named(*streamed(body, how)))
    data = write(outlet_for(request), mixed(frames, seed))
    again = fold(events_of(read_stream(ANTHROPIC, request, data)))
    assert content(again) == content(fold(events_of(frames)))
    assert again.model == "alias"
    obey_the_rules(data)


@LAW
@given(messages(), st.integers(0, 99), st.integers(0, 999))
def test_folding_takes_any_mixture_too(body: Block, how: int, seed: int) -> None:
    """Texts, calls and the end are the same in the folded message whichever frames a check has changed."""
    frames = read_stream(ANTHROPIC, message(), named(*streamed(body, how)))
    folded = json.loads(write(outlet_for(message()), mixed(frames, seed)))
    for kind in ("tool_use", "server_tool_use", "redacted_thinking"):
        assert [b for b in folded["content"] if b["type"] == kind] == [b for b in body["content"] if b["type"] == kind]
    for kind, name in (("text", "text"), ("thinking", "thinking")):
        assert joined(folded, kind, name) == joined(body, kind, name)
    assert {name: folded[name] for name in folded if name != "content"} == {
        name: "alias" if name == "model" else body[name] for name in body if name != "content"
    }


def joined(body: Block, kind: str, name: str) -> str:
    return "".join(block[name] for block in body["content"] if block["type"] == kind)


def obey_the_rules(data: bytes) -> None:
    """Named events; one start, one end; blocks one after the other, each opened and closed once; no `[DONE]`."""
    blocks_ = data.decode().split("\n\n")
    assert blocks_.pop() == ""
    events = []
    for block in blocks_:
        name, line = block.split("\n")
        event = json.loads(line.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        events.append(event)
    assert [event["type"] for event in events[:1] + events[-2:]] == ["message_start", "message_delta", "message_stop"]
    assert events[0]["message"]["model"] == "alias"
    open_, signed, expected = False, False, 0
    for event in events[1:-2]:
        if event["type"] == "content_block_start":
            assert not open_
            assert event["index"] == expected
            open_, signed = True, False
        else:
            assert open_
            assert event["index"] == expected
            assert not signed or event["type"] == "content_block_stop", "a signature is the last of its block"
            signed = event.get("delta", {}).get("type") == "signature_delta"
            if event["type"] == "content_block_stop":
                open_ = False
                expected += 1
    assert not open_


@LAW
@given(messages(), st.integers(0, 99))
def test_a_clean_stream_is_relayed_byte_for_byte(body: Block, how: int) -> None:
    """But for the model's name, nothing of a clean stream is encoded anew: signatures and redacted thoughts stay exact."""
    events = streamed(body, how)
    request = message(stream=True)
    sent = write(outlet_for(request), read_stream(ANTHROPIC, request, named(*with_pings(events, how))))
    events[0]["message"]["model"] = "alias"
    assert sent == named(*events)


@LAW
@given(messages(), st.integers(0, 99), st.floats(0, 1))
def test_a_cut_stream_never_looks_whole(body: Block, how: int, part: float) -> None:
    """Cut before its stop reason was told, a message has no `Finished`."""
    events = streamed(body, how)
    data = named(*events[:-1])
    kept = data[: int(part * len(data))]
    told = any(each["type"] == "message_delta" for each in parsed(kept))
    frames = pump(ANTHROPIC.inlet(message(), True), [kept])
    assert (events_of(frames)[-1] == Finished()) == told


def parsed(data: bytes) -> list[Block]:
    found = []
    for line in data.split(b"\n"):
        if line.startswith(b"data: "):
            try:
                found.append(json.loads(line[6:]))
            except ValueError:
                break
    return found


# --- across


@st.composite
def answers(draw: st.DrawFn) -> list[Frame]:
    """Frames of an OpenAI upstream: one choice with text, reasoning and calls, one event to a frame."""
    text = [Text(piece) for piece in draw(st.lists(FULL, max_size=3))]
    thought = [Reasoning(piece) for piece in draw(st.lists(FULL, max_size=2))]
    made = []
    for number in range(draw(st.integers(0, 2))):
        whole = dumps(draw(INPUT)).decode()
        made.append(ToolCall(number, "", f"call_{number}", "f"))
        made += [ToolCall(number, piece) for piece in split(whole, random.Random(number))]
    end = [
        ChoiceFinished("tool_calls" if made else draw(st.sampled_from(["stop", "length"]))),
        Usage(5, 6, 2),
        Finished(),
    ]
    return [Frame((event,)) for event in [Started("id_1", "m", 1700000000), *thought, *text, *made, *end]]


@LAW
@given(answers())
def test_an_answer_says_the_same_in_either_dialect(frames: list[Frame]) -> None:
    """Written in one dialect and read back, then in the other and read back: same text, reasoning, calls, end and counts."""
    want = content(fold(events_of(frames)))
    for streaming in (True, False):
        for dialect, request in ((OPENAI, chat), (ANTHROPIC, message)):
            asked = request(
                stream=streaming, **({"stream_options": {"include_usage": True}} if request is chat else {})
            )
            data = write(outlet_for(asked), frames)
            back = pump(dialect.inlet(asked, streaming), [data])
            assert content(fold(events_of(back))) == want
            frames = [Frame(frame.events) for frame in back]


@LAW
@given(messages(), st.integers(0, 99))
def test_an_openai_client_of_an_anthropic_upstream_gets_the_text_and_calls(body: Block, how: int) -> None:
    """What the other dialect has no word for is left out; text and calls are all there, and the reason is its own word."""
    request = chat(stream=True)
    frames = read_stream(ANTHROPIC, request, named(*streamed(body, how)))
    sent = payloads(write(outlet_for(request), frames))
    assert sent.pop() == "[DONE]"
    entries = [entry for each in sent for entry in each["choices"]]
    assert "".join(entry["delta"].get("content") or "" for entry in entries) == joined(body, "text", "text")
    tools = [block for block in body["content"] if block["type"] == "tool_use"]
    pieces = [call for entry in entries for call in entry["delta"].get("tool_calls", ())]
    for number, tool in enumerate(tools):
        whole = "".join(piece["function"]["arguments"] for piece in pieces if piece["index"] == number)
        assert json.loads(whole) == tool["input"]
    reason = body["stop_reason"]
    assert entries[-1]["finish_reason"] == CANONICAL.get(reason, reason)
    assert "anthropic" not in json.dumps(sent)


@LAW
@given(
    st.dictionaries(
        TEXT.filter(lambda n: n not in {"model", "messages", "stream", "max_tokens", "system"}), JSON, max_size=4
    )
)
def test_unknown_request_fields_reach_the_upstream_unchanged(fields: dict[str, Any]) -> None:
    """Same dialect on both sides: everything but `model` and `stream` goes upstream as it came, cache marks in place."""
    system = [{"type": "text", "text": "be kind", "cache_control": {"type": "ephemeral"}}]
    request = message(**fields, system=system, stream=True)
    before = dumps(request.body)
    sent = json.loads(ANTHROPIC.call(request, TARGET, True, {}).body)
    assert dumps(request.body) == before
    assert sent == json.loads(dumps({**request.body, "model": "upstream-model"}))
