"""OpenAI streams: laws over random answers, in random spellings, cut at random places."""

from __future__ import annotations

import itertools
import json
import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.events import Finished, Frame, Usage
from gateway.core.response import fold
from gateway.dialects.model_name import ModelName
from tests.fixtures.dialects import (
    LAW,
    OPENAI,
    TARGET,
    chat,
    chunk,
    delta,
    dumps,
    events_of,
    outlet_for,
    payloads,
    pump,
    read_stream,
    sse,
    write,
)

PIECES = [*'ab é😀"\\\n{}[]:', '"model":"upstream-model"', "data: [DONE]\n\n", "\x7f"]
TEXT = st.lists(st.sampled_from(PIECES), max_size=8).map("".join)
FULL = TEXT.filter(bool)
USAGE = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12, "prompt_tokens_details": {"cached_tokens": 3}}


@st.composite
def calls(draw: st.DrawFn) -> list[list[dict[str, Any]]]:
    """Tool calls, each as its series of deltas."""
    made = []
    for number in range(draw(st.integers(0, 3))):
        pieces = draw(st.lists(FULL, max_size=3))
        first = {
            "index": number,
            "id": f"call_{number}",
            "type": "function",
            "function": {"name": "f", "arguments": ""},
        }
        made.append([first, *({"index": number, "function": {"arguments": piece}} for piece in pieces)])
    return made


@st.composite
def choice_deltas(draw: st.DrawFn, index: int) -> list[dict[str, Any]]:
    """One choice's entries, in order: role, reasoning, text, calls, finish."""
    named = draw(st.sampled_from(["reasoning_content", "reasoning"]))
    out = [delta({"role": "assistant", "content": draw(st.sampled_from(["", None]))}, index)]
    out += [delta({named: piece}, index) for piece in draw(st.lists(FULL, max_size=2))]
    for piece in draw(st.lists(FULL, max_size=4)):
        more = {"logprobs": {"content": [{"token": piece, "logprob": -0.5}]}} if draw(st.booleans()) else {}
        out.append(delta({"content": piece}, index, **more))
    out += [delta({"tool_calls": [piece]}, index) for series in draw(calls()) for piece in series]
    if draw(st.booleans()):
        out.append(delta({"annotations": [{"type": "url_citation"}]}, index))
    out.append(delta({}, index, draw(st.sampled_from(["stop", "length", "tool_calls", "odd_word"]))))
    return out


@st.composite
def streams(draw: st.DrawFn) -> list[dict[str, Any]]:
    """The chunks of one answer: up to three choices, interleaved; usage nowhere, alone, or with the last choice."""
    series = [draw(choice_deltas(index)) for index in range(draw(st.integers(1, 3)))]
    order = draw(st.randoms(use_true_random=False))
    entries: list[dict[str, Any]] = []
    while any(series):
        mine = order.choice([one for one in series if one])
        entries.append(mine.pop(0))
    top = {"system_fingerprint": "fp_1"} if draw(st.booleans()) else {}
    chunks = [chunk([entry], **top) for entry in entries]
    if draw(st.booleans()):
        chunks[0]["prompt_filter_results"] = [{"model": "upstream-model"}]
    how = draw(st.sampled_from(["none", "alone", "last", "everywhere"]))
    if how == "alone":
        chunks.append(chunk(usage=USAGE, timings={"ms": 3}))
    for at in {"last": [-1], "everywhere": range(len(chunks))}.get(how, ()):
        chunks[at]["usage"] = USAGE
    return chunks


def spelled(chunks: list[dict[str, Any]], seed: int) -> bytes:
    """The chunks as some server might write them."""
    rng = random.Random(seed)
    separators = rng.choice([(",", ":"), (", ", ": "), (" ,", " : ")])
    ascii_only = rng.random() < 0.3
    end = rng.choice(["\n\n", "\r\n\r\n", "\n: keepalive\n\n"])
    texts = [json.dumps(each, separators=separators, ensure_ascii=ascii_only) for each in chunks]
    return b"".join(f"data: {text}{end}".encode() for text in [*texts, "[DONE]"])


def cut(data: bytes, seed: int) -> list[bytes]:
    rng = random.Random(seed)
    edges = sorted({0, len(data), *(rng.randrange(len(data)) for _ in range(rng.choice([1, 5, 40])))})
    return [data[a:b] for a, b in itertools.pairwise(edges)]


def whole_body(chunks: list[dict[str, Any]]) -> dict[str, Any]:
    """What the same server would have answered without streaming, put together by other means than the code's."""
    choices: dict[int, dict[str, Any]] = {}
    body: dict[str, Any] = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1700000001}
    body["model"] = "upstream-model"
    for each in chunks:
        body.update({k: v for k, v in each.items() if k in ("system_fingerprint", "prompt_filter_results", "timings")})
        if each.get("usage"):
            body["usage"] = each["usage"]
        for entry in each["choices"]:
            choice = choices.setdefault(entry["index"], {"index": entry["index"], "message": {"role": "assistant"}})
            message = choice["message"]
            for name, value in entry["delta"].items():
                if name in ("content", "reasoning_content", "reasoning") and value:
                    message[name] = message.get(name, "") + value
                elif name == "annotations":
                    message[name] = value
                elif name == "tool_calls":
                    made = message.setdefault("tool_calls", [])
                    for piece in value:
                        if piece["index"] == len(made):
                            made.append(
                                {k: v for k, v in piece.items() if k != "index"} | {"function": {**piece["function"]}}
                            )
                        else:
                            made[piece["index"]]["function"]["arguments"] += piece["function"]["arguments"]
            if entry.get("logprobs"):
                choice.setdefault("logprobs", {"content": []})["content"] += entry["logprobs"]["content"]
            choice["finish_reason"] = entry["finish_reason"]
    body["choices"] = [choices[index] for index in sorted(choices)]
    return body


def mixed(frames: list[Frame], seed: int) -> list[Frame]:
    """As when checks change some frames and let others pass."""
    rng = random.Random(seed)
    odds = rng.choice([0.0, 0.3, 1.0])
    return [Frame(frame.events) if rng.random() < odds else frame for frame in frames]


@LAW
@given(streams(), st.integers(0, 999), st.integers(0, 999))
def test_chunking_changes_no_frame(chunks: list[dict[str, Any]], spelling: int, seed: int) -> None:
    """Frames, events and raw bytes alike, do not depend on how the stream's bytes were cut."""
    data = spelled(chunks, spelling)
    assert pump(OPENAI.inlet(chat(), True), cut(data, seed)) == read_stream(OPENAI, chat(), data)


@LAW
@given(streams(), st.integers(0, 999))
def test_a_folded_stream_is_the_body_not_streamed(chunks: list[dict[str, Any]], spelling: int) -> None:
    """A client that does not stream gets the same body whether the upstream streamed, or not, or came from events only."""
    body = whole_body(chunks)
    streamed = read_stream(OPENAI, chat(), spelled(chunks, spelling))
    plain = pump(OPENAI.inlet(chat(), False), [dumps(body)])
    folded = json.loads(write(outlet_for(chat()), streamed))
    assert folded == json.loads(write(outlet_for(chat()), [Frame(frame.events) for frame in plain]))
    relayed = json.loads(write(outlet_for(chat()), plain))
    assert relayed == {**body, "model": "alias"}
    for name, value in relayed.items():
        if name != "choices":
            assert folded[name] == value
    for mine, theirs in zip(folded["choices"], relayed["choices"], strict=True):
        assert mine["message"] == {"refusal": None, "content": mine["message"]["content"], **theirs["message"]}
        assert mine["logprobs"] == theirs.get("logprobs")
        assert mine["finish_reason"] == theirs["finish_reason"]


@LAW
@given(streams(), st.integers(0, 999), st.integers(0, 999), st.booleans())
def test_what_is_written_reads_back_the_same(
    chunks: list[dict[str, Any]], spelling: int, seed: int, asked: bool
) -> None:
    """Relayed, encoded or any mixture of both: the stream a client gets says the same answer under the alias."""
    request = chat(stream=True, stream_options={"include_usage": asked})
    frames = read_stream(OPENAI, request, spelled(chunks, spelling))
    data = write(outlet_for(request), mixed(frames, seed))
    again = events_of(read_stream(OPENAI, request, data))
    said = fold(event for event in events_of(frames) if asked or type(event) is not Usage)
    said.model = "alias"
    if not asked:
        again = [event for event in again if type(event) is not Usage]
    assert fold(again) == said


@LAW
@given(streams(), st.integers(0, 999), st.integers(0, 999), st.booleans())
def test_a_stream_keeps_the_rules_strict_clients_hold_it_to(
    chunks: list[dict[str, Any]], spelling: int, seed: int, asked: bool
) -> None:
    """One id, created and model; role first and once; finish once; a call's id, type and name once; usage as asked."""
    request = chat(stream=True, stream_options={"include_usage": asked})
    frames = read_stream(OPENAI, request, spelled(chunks, spelling))
    sent = payloads(write(outlet_for(request), mixed(frames, seed)))
    assert sent.pop() == "[DONE]"
    has_usage = any(each.get("usage") for each in chunks)
    if asked and has_usage:
        assert sent[-1]["choices"] == []
        assert sent.pop()["usage"] == USAGE
    assert {(each["id"], each["created"], each["model"]) for each in sent} == {("chatcmpl-1", 1700000001, "alias")}
    assert all(each["choices"] and not each.get("usage") for each in sent)
    roles: set[int] = set()
    ended: set[int] = set()
    told: set[tuple[int, int]] = set()
    for entry in (entry for each in sent for entry in each["choices"]):
        at = entry["index"]
        assert ("role" in entry["delta"]) == (at not in roles)
        roles.add(at)
        assert at not in ended
        if entry["finish_reason"]:
            ended.add(at)
        for call in entry["delta"].get("tool_calls", ()):
            first = (at, call["index"]) not in told
            told.add((at, call["index"]))
            assert ("id" in call, "type" in call, "name" in call["function"]) == (first, first, first)
    assert ended == roles


@LAW
@given(
    st.dictionaries(st.sampled_from(["model", "id", "x", "choices"]), TEXT | st.dictionaries(st.just("model"), TEXT)),
    FULL,
    FULL,
)
def test_the_alias_takes_the_place_of_the_model_and_of_nothing_else(
    fields: dict[str, Any], upstream: str, alias: str
) -> None:
    """However an object is spelled, its top-level model becomes the alias and every other value stays."""
    for separators in ((",", ":"), (", ", ": "), (" , ", " : ")):
        for ascii_only in (False, True):
            for value in ({**fields, "model": upstream}, {"model": upstream, **fields, "model": upstream}):  # noqa: F601
                raw = json.dumps(value, separators=separators, ensure_ascii=ascii_only).encode()
                assert json.loads(ModelName(alias).put(raw, upstream)) == {**value, "model": alias}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
OWNED = {"model", "messages", "stream", "stream_options", "n", "prediction"}


@LAW
@given(st.dictionaries(TEXT.filter(lambda name: name not in OWNED), JSON, max_size=5), st.booleans())
def test_unknown_request_fields_reach_the_upstream_unchanged(fields: dict[str, Any], stream: bool) -> None:
    """Whatever else a body holds, at the top or in a message, goes upstream as it came; the client's body is not touched."""
    request = chat(**fields, messages=[{"role": "user", "content": "hi", **{f"x-{k}": v for k, v in fields.items()}}])
    before = dumps(request.body)
    sent = json.loads(OPENAI.call(request, TARGET, stream, {}).body)
    assert dumps(request.body) == before
    expected = {**request.body, "model": "upstream-model"}
    if stream:
        expected |= {"stream": True, "stream_options": {"include_usage": True}}
    assert sent == json.loads(dumps(expected))


@LAW
@given(streams(), st.integers(0, 999), st.floats(0, 1))
def test_a_cut_stream_never_looks_whole(chunks: list[dict[str, Any]], spelling: int, part: float) -> None:
    """Cut anywhere before `[DONE]`, a stream is whole only if every choice has ended and no event is torn."""
    data = spelled(chunks, spelling).partition(b"data: [DONE]")[0]
    kept = data[: int(part * len(data))]
    asked = {entry["index"] for each in chunks for entry in each["choices"]}
    found, torn = readable(kept)
    ended = {entry["index"] for each in found for entry in each["choices"] if entry["finish_reason"]}
    frames = pump(OPENAI.inlet(chat(n=len(asked)), True), [kept])
    assert (events_of(frames)[-1] == Finished()) == (ended == asked and not torn)


def readable(data: bytes) -> tuple[list[dict[str, Any]], bool]:
    found = []
    for line in data.replace(b"\r\n", b"\n").split(b"\n"):
        if line.startswith(b"data: "):
            try:
                found.append(json.loads(line[6:]))
            except ValueError:
                return found, True
    return found, False


def test_the_sample_stream_is_relayed_and_not_encoded() -> None:
    """The laws above do not hold by encoding everything: a clean stream's bytes go through with the model changed."""
    chunks = [
        chunk([delta({"role": "assistant", "content": ""})]),
        chunk([delta({"content": "x"}, vendor=1)], odd={"a": 1}),
    ]
    chunks.append(chunk([delta({}, finish="stop")]))
    request = chat(stream=True)
    data = sse(*chunks)
    sent = write(outlet_for(request), read_stream(OPENAI, request, data))
    assert sent == data.replace(b'"upstream-model"', b'"alias"')
