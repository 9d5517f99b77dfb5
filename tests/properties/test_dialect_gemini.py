"""Gemini's answers and requests: laws over random ones, cut at random places; and the ways across to the other dialects."""

from __future__ import annotations

import json
import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.errors import BadRequest, Untranslatable
from gateway.core.events import ChoiceFinished, Failed, Finished, Frame, Reasoning, Started, Text, ToolCall, Usage
from gateway.core.response import Response, fold, unfold
from gateway.core.tokens import estimate
from gateway.dialects import anthropic_to_neutral, gemini_to_neutral, openai_to_neutral
from gateway.dialects.gemini_from_neutral import from_neutral
from gateway.dialects.neutral import Neutral
from guardrails.answered.schema_source import wanted
from guardrails.answered.tool_source import tools_of
from routing.needs import needs
from tests.fixtures.dialects import (
    ANTHROPIC,
    GEMINI,
    LAW,
    OPENAI,
    TARGET,
    chat,
    content,
    dumps,
    events_of,
    message,
    outlet_for,
    payloads,
    pump,
    read_stream,
    sse,
    write,
)
from tests.properties.test_dialect_anthropic import INPUT, answers, split
from tests.properties.test_dialect_openai import FULL, JSON, TEXT, cut, mixed

Body = dict[str, Any]
WORDS = ["STOP", "MAX_TOKENS", "SAFETY", "RECITATION", "MALFORMED_FUNCTION_CALL", "ODD_WORD"]
USAGE = {"promptTokenCount": 9, "cachedContentTokenCount": 4, "candidatesTokenCount": 5, "thoughtsTokenCount": 2, "totalTokenCount": 16}  # fmt: skip


@st.composite
def parts(draw: st.DrawFn) -> list[Body]:
    """The parts of one candidate, as they are when it is not streamed: no two texts of one kind stand side by side."""
    kinds = st.sampled_from(["text", "thought", "call", "code", "image", "signed"])
    made: list[Body] = []
    for number, kind in enumerate(draw(st.lists(kinds, max_size=5))):
        part: Body = {"text": draw(FULL)}
        if kind == "thought":
            part["thought"] = True
        elif kind == "signed":
            part["thoughtSignature"] = "c2ln"
        elif kind == "call":
            identity = {"id": f"c{number}"} if draw(st.booleans()) else {}
            part = {"functionCall": {**identity, "name": "f", "args": draw(INPUT)}}
            if draw(st.booleans()):
                part["thoughtSignature"] = "c2ln"
        elif kind == "code":
            part = {"executableCode": {"language": "PYTHON", "code": draw(TEXT)}}
        elif kind == "image":
            part = {"inlineData": {"mimeType": "image/png", "data": "aGk="}}
        if made and kind in ("text", "thought") and made[-1].keys() == part.keys():
            made[-1]["text"] += part["text"]
        else:
            made.append(part)
    return made


@st.composite
def bodies(draw: st.DrawFn) -> Body:
    candidates = []
    for index in range(draw(st.integers(1, 2))):
        more = draw(st.sampled_from([{}, {"safetyRatings": [{"category": "X", "probability": "LOW"}]}, {"groundingMetadata": {"webSearchQueries": ["q"]}}]))  # fmt: skip
        said = draw(parts()) or [{"text": "a"}]
        word = draw(st.sampled_from(WORDS))
        candidates.append({"content": {"parts": said, "role": "model"}, "index": index, "finishReason": word, **more})
    top = draw(st.sampled_from([{}, {"createTime": "2026-01-01T00:00:00Z"}, {"newField": {"x": 1}}]))
    return {
        "candidates": candidates,
        "usageMetadata": USAGE,
        "modelVersion": "upstream-model",
        "responseId": "r1",
        **top,
    }


def streamed(body: Body, seed: int) -> list[Body]:
    """The chunks that stream this answer: texts in pieces, all else whole, usage in each, the end in the last."""
    rng = random.Random(seed)
    series = []
    for candidate in body["candidates"]:
        pieces = []
        for part in candidate["content"]["parts"]:
            if "text" in part and "thoughtSignature" not in part:
                pieces += [{**part, "text": piece} for piece in split(part["text"], rng)]
            else:
                pieces.append(part)
        head = {"index": candidate["index"]}
        made = [{"content": {"parts": [piece], "role": "model"}, **head} for piece in pieces]
        more = {name: value for name, value in candidate.items() if name not in ("content", "index")}
        last = {"content": {"parts": [{"text": ""}], "role": "model"}} if rng.random() < 0.5 else {}
        series.append([*made, {**last, **head, **more}])
    top = {name: value for name, value in body.items() if name not in ("candidates", "usageMetadata")}
    chunks = []
    while any(series):
        one = rng.choice([each for each in series if each]).pop(0)
        chunks.append({"candidates": [one], "usageMetadata": {"promptTokenCount": 9, "totalTokenCount": 9}, **top})
    chunks[-1]["usageMetadata"] = USAGE
    return chunks


def chunks_of(body: Body, seed: int) -> bytes:
    return sse(*streamed(body, seed), done=False)


def said(response: Response) -> Any:
    """What a folded answer says, without the fields only its own dialect knows."""
    usage = response.usage
    counts = usage and (usage.input_tokens, usage.output_tokens, usage.cached_tokens, usage.reasoning_tokens)
    choices = {
        index: (
            choice.text or "",
            choice.reasoning or "",
            [(call.id, call.name, json.loads(call.arguments)) for _, call in sorted(choice.calls.items())],
            choice.finish,
            [fields for fields in choice.unknown if "chunk" not in fields["gemini"]],  # said again in each
        )
        for index, choice in response.choices.items()
    }
    return response.id, response.complete, choices, counts


def asked(body: Body, *, stream: bool = False) -> Any:
    return content(stream=stream, generationConfig={"candidateCount": len(body["candidates"])})


@LAW
@given(bodies(), st.integers(0, 99), st.integers(0, 999))
def test_chunking_changes_no_frame(body: Body, how: int, seed: int) -> None:
    """Frames, events and raw bytes alike, do not depend on how the stream's bytes were cut."""
    data = chunks_of(body, how)
    assert pump(GEMINI.inlet(asked(body), True), cut(data, seed)) == read_stream(GEMINI, asked(body), data)


@LAW
@given(bodies(), st.integers(0, 99))
def test_a_folded_stream_is_the_body_not_streamed(body: Body, how: int) -> None:
    """Parts, their order and all their fields: the folded stream is the answer the upstream would have sent whole."""
    frames = read_stream(GEMINI, asked(body), chunks_of(body, how))
    assert json.loads(write(outlet_for(asked(body)), frames)) == {**body, "modelVersion": "alias"}
    whole = pump(GEMINI.inlet(asked(body), False), [dumps(body)])
    assert write(outlet_for(asked(body)), whole) == dumps({**body, "modelVersion": "alias"})
    assert said(fold(events_of(whole))) == said(fold(events_of(frames)))


@LAW
@given(bodies(), st.integers(0, 99))
def test_what_is_folded_unfolds_to_the_same(body: Body, how: int) -> None:
    """fold(unfold(r)) == r, for what this dialect reads."""
    folded = fold(events_of(read_stream(GEMINI, asked(body), chunks_of(body, how))))
    assert fold(unfold(folded)) == folded


@LAW
@given(bodies(), st.integers(0, 99), st.integers(0, 999))
def test_what_is_written_reads_back_the_same(body: Body, how: int, seed: int) -> None:
    """Relayed, encoded or any mixture of both: the stream a client gets says the same answer under the alias."""
    request = asked(body, stream=True)
    frames = read_stream(GEMINI, request, chunks_of(body, how))
    data = write(outlet_for(request), mixed(frames, seed))
    again = fold(events_of(read_stream(GEMINI, request, data)))
    before = fold(events_of(frames))
    assert (again.model, again.complete) == ("alias", True)
    assert [said(again)[0], said(again)[3]] == [said(before)[0], said(before)[3]]
    for index, choice in before.choices.items():
        assert again.choices[index].text == choice.text
        assert again.choices[index].reasoning == choice.reasoning
        assert again.choices[index].finish == choice.finish
        assert [c.arguments for c in again.choices[index].calls.values()] == [
            c.arguments for c in choice.calls.values()
        ]
        assert [u for u in again.choices[index].unknown if "part" in u["gemini"]] == [u for u in choice.unknown if "part" in u["gemini"]]  # fmt: skip


@LAW
@given(bodies(), st.integers(0, 99))
def test_a_clean_stream_is_relayed_byte_for_byte(body: Body, how: int) -> None:
    """But for the model's name, nothing of a clean stream is encoded anew: signatures of thought stay exact."""
    request = asked(body, stream=True)
    chunks = [chunk for chunk in streamed(body, how) if events_of(read_stream(GEMINI, request, sse(chunk, done=False)))]
    sent = write(outlet_for(request), read_stream(GEMINI, request, sse(*chunks, done=False)))
    assert sent == sse(*({**chunk, "modelVersion": "alias"} for chunk in chunks), done=False)


@LAW
@given(bodies(), st.integers(0, 99), st.floats(0, 1))
def test_a_cut_stream_never_looks_whole(body: Body, how: int, part: float) -> None:
    """Cut before each candidate has told its finish reason, an answer has no `Finished`."""
    data = chunks_of(body, how)
    kept = data[: int(part * len(data))]
    events = events_of(pump(GEMINI.inlet(asked(body), True), [kept]))
    told = {event.choice for event in events if type(event) is ChoiceFinished}
    assert (events[-1] == Finished()) == (len(told) == len(body["candidates"]))


# --- across


@LAW
@given(answers())
def test_an_answer_says_the_same_in_each_dialect(frames: list[Frame]) -> None:
    """Written in one dialect and read back, then in the next and read back: same text, reasoning, calls, end and counts."""
    want = said(fold(events_of(frames)))
    for streaming in (True, False):
        for dialect, request in ((OPENAI, chat), (GEMINI, content), (ANTHROPIC, message), (GEMINI, content)):
            options = {"stream_options": {"include_usage": True}} if request is chat else {}
            one = request(stream=streaming, **options)
            back = pump(dialect.inlet(one, streaming), [write(outlet_for(one), frames)])
            assert said(fold(events_of(back))) == want
            frames = [Frame(frame.events) for frame in back]


@LAW
@given(bodies(), st.integers(0, 99))
def test_an_openai_client_of_a_gemini_upstream_gets_the_text_and_calls(body: Body, how: int) -> None:
    """What the other dialect has no word for is left out; text and calls are all there, in each choice."""
    request = chat(stream=True, n=len(body["candidates"]))
    frames = read_stream(GEMINI, request, chunks_of(body, how))
    sent = payloads(write(outlet_for(request), frames))
    assert sent.pop() == "[DONE]"
    for candidate in body["candidates"]:
        index, told = candidate["index"], candidate["content"]["parts"]
        entries = [entry for each in sent for entry in each["choices"] if entry["index"] == index]
        text = "".join(part["text"] for part in told if "text" in part and not part.get("thought"))
        assert "".join(entry["delta"].get("content") or "" for entry in entries) == text
        calls = [call for entry in entries for call in entry["delta"].get("tool_calls", ())]
        wanted = [part["functionCall"]["args"] for part in told if "functionCall" in part]
        assert [json.loads(call["function"]["arguments"]) for call in calls] == wanted
        assert all(call["id"] for call in calls)
        if wanted and candidate["finishReason"] == "STOP":
            assert entries[-1]["finish_reason"] == "tool_calls"
    assert "gemini" not in json.dumps(sent)


@LAW
@given(st.lists(st.tuples(st.sampled_from([0, 0, 1]), FULL), min_size=1, max_size=12), st.integers(0, 99))
def test_calls_whose_pieces_alternate_are_told_whole(pieces: list[tuple[int, str]], seed: int) -> None:
    """Two calls of an OpenAI upstream, fragment by fragment in any order: each is one part with all its arguments."""
    wholes = [dumps({"a": "".join(text for at, text in pieces if at == call)}).decode() for call in (0, 1)]
    rng = random.Random(seed)
    left = [[ToolCall(call, piece) for piece in split(wholes[call], rng)] for call in (0, 1)]
    events: list[Any] = [Started("i", "m", 1), ToolCall(0, "", "c0", "f"), ToolCall(1, "", "c1", "g")]
    while any(left):
        events.append(rng.choice([one for one in left if one]).pop(0))
    events += [ChoiceFinished("tool_calls"), Usage(1, 1), Finished()]
    request = content(stream=True)
    sent = payloads(write(outlet_for(request), [Frame((event,)) for event in events]))
    found = [part["functionCall"] for each in sent for part in each["candidates"][0]["content"]["parts"] if "functionCall" in part]  # fmt: skip
    assert found == [{"id": f"c{at}", "name": "fg"[at], "args": json.loads(wholes[at])} for at in (0, 1)]


# --- requests


@st.composite
def requests(draw: st.DrawFn) -> Body:
    """What can be said in every dialect."""
    contents: list[Body] = []
    for number in range(draw(st.integers(1, 3))):
        said = [{"text": text} for text in draw(st.lists(FULL, min_size=1, max_size=2))]
        if draw(st.booleans()):
            said.append({"inlineData": {"mimeType": "image/png", "data": "aGk="}})
        contents.append({"role": "user", "parts": said})
        calls = [{"functionCall": {"id": f"c{number}{at}", "name": "f", "args": draw(INPUT)}} for at in range(draw(st.integers(0, 2)))]  # fmt: skip
        contents.append({"role": "model", "parts": [{"text": draw(FULL)}, *calls]})
        if calls:
            contents.append({"role": "user", "parts": [{"functionResponse": {"id": f"c{number}{at}", "name": "f", "response": {"output": draw(FULL)}}} for at in range(len(calls))]})  # fmt: skip
    body: Body = {"contents": contents}
    if draw(st.booleans()):
        body["systemInstruction"] = {"parts": [{"text": draw(FULL)}]}
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    body["tools"] = [{"functionDeclarations": [{"name": "f", "description": "d", "parametersJsonSchema": schema}]}]
    mode = draw(st.sampled_from(["AUTO", "ANY", "NONE"]))
    body["toolConfig"] = {"functionCallingConfig": {"mode": mode}}
    config = {"temperature": 0.5, "topP": 0.9, "maxOutputTokens": 7, "stopSequences": ["x"]}
    if draw(st.booleans()):
        config |= {"responseMimeType": "application/json", "responseJsonSchema": schema}
    if draw(st.booleans()):
        config["thinkingConfig"] = {"thinkingLevel": draw(st.sampled_from(["LOW", "HIGH"]))}
    body["generationConfig"] = config
    return body


def meaning(neutral: Neutral) -> Any:
    """A canonical request without the client's own names for things, and ids by the order in which they appear."""
    made = json.loads(json.dumps(_plain([neutral.system, neutral.turns, neutral.tools, neutral.tool_choice])))
    wanted = neutral.response_format
    return (
        made, neutral.max_tokens, neutral.stop, neutral.effort, neutral.params, wanted and wanted.schema, neutral.n
    )  # fmt: skip


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "__struct_fields__"):
        dropped = ("path", "strict")
        return {name: _plain(getattr(value, name)) for name in value.__struct_fields__ if name not in dropped}
    return value


@LAW
@given(requests())
def test_a_request_means_the_same_after_it_was_translated(body: Body) -> None:
    """Into each other dialect and back: the same instructions, turns, calls, results, tools and settings."""
    request = content(**body)
    want = meaning(gemini_to_neutral.to_neutral(request.body))
    own = from_neutral(gemini_to_neutral.to_neutral(request.body))
    assert meaning(gemini_to_neutral.to_neutral(content(**own).body)) == want
    for dialect, to_neutral in ((OPENAI, openai_to_neutral.to_neutral), (ANTHROPIC, anthropic_to_neutral.to_neutral)):
        said = json.loads(dialect.call(request, TARGET, False, {}).body)
        there = dialect.read("chat", json.loads(json.dumps(said)))
        back = json.loads(GEMINI.call(there, TARGET, False, {}).body)
        assert meaning(gemini_to_neutral.to_neutral(content(**back).body)) == want
        assert meaning(to_neutral(said)) == want


@LAW
@given(
    st.dictionaries(TEXT.filter(lambda n: n not in {"model", "contents", "stream"} and "_" not in n), JSON, max_size=4)
)
def test_unknown_request_fields_reach_the_upstream_unchanged(fields: Body) -> None:
    """Same dialect on both sides: the body goes upstream as it came; the model and the stream are in the path."""
    request = content(**fields, cachedContent="cachedContents/1", stream=True)
    before = dumps(request.body)
    call = GEMINI.call(request, TARGET, True, {})
    assert dumps(request.body) == before
    assert json.loads(call.body) == json.loads(before)
    assert call.path == "/models/upstream-model:streamGenerateContent?alt=sse"


_CAMEL = ["systemInstruction", "generationConfig", "inlineData", "mimeType", "functionCall", "functionResponse", "functionDeclarations", "parametersJsonSchema", "toolConfig", "functionCallingConfig", "maxOutputTokens", "stopSequences", "responseMimeType", "responseJsonSchema", "topP", "thinkingConfig", "thinkingLevel"]  # fmt: skip


@LAW
@given(requests())
def test_both_spellings_of_a_field_are_one(body: Body) -> None:
    """`system_instruction` is read, checked and translated as `systemInstruction` is; what is the client's own is not touched."""
    text = json.dumps(body)
    for name in _CAMEL:
        snake = "".join(f"_{c.lower()}" if c.isupper() else c for c in name)
        text = text.replace(f'"{name}":', f'"{snake}":')
    one, other = content(**body), content(**json.loads(text))
    assert other.body == one.body
    assert [(s.path, s.text, s.role, s.kind) for s in other.slots] == [
        (s.path, s.text, s.role, s.kind) for s in one.slots
    ]


def test_reasoning_is_told_as_thought() -> None:
    """A thought of another provider is a part marked so, before the answer."""
    events = [Started("i", "m", 1), Reasoning("hm"), Text("ok"), ChoiceFinished("stop"), Finished()]
    told = json.loads(write(outlet_for(content()), [Frame((event,)) for event in events]))
    assert told["candidates"][0]["content"]["parts"] == [{"text": "hm", "thought": True}, {"text": "ok"}]


# --- whatever comes


FULL_REQUEST: Body = {
    "system_instruction": {"parts": {"text": "a"}},
    "contents": [
        {"role": "user", "parts": [{"text": "a"}, {"inline_data": {"mime_type": "image/png", "data": "aGk="}}]},
        {"role": "model", "parts": [{"functionCall": {"id": "c", "name": "f", "args": {"a": ["b"]}}, "thoughtSignature": "c2ln"}]},
        {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"output": "x"}, "parts": [{"inlineData": {"mimeType": "image/png", "data": "aGk="}}]}}]},
    ],
    "tools": [{"functionDeclarations": [{"name": "f", "description": "d", "parameters": {"type": "OBJECT", "properties": {"a": {"type": "ARRAY", "items": {"type": "STRING"}, "minItems": "1"}}}}]}],
    "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}},
    "safetySettings": [{"category": "X", "threshold": "BLOCK_NONE"}],
    "generationConfig": {"temperature": 1, "topP": 1, "maxOutputTokens": 9, "stopSequences": ["x"], "candidateCount": 1, "responseMimeType": "application/json", "responseSchema": {"anyOf": [{"type": "STRING"}]}, "thinkingConfig": {"thinkingLevel": "LOW"}},
}  # fmt: skip
EMBED: Body = {"requests": [{"content": {"parts": [{"text": "a"}]}, "outputDimensionality": 2}]}


def places(node: Any) -> list[tuple[Any, Any]]:
    """Every (holder, key) in it."""
    found: list[tuple[Any, Any]] = []
    stack = [node]
    while stack:
        holder = stack.pop()
        for key, item in holder.items() if isinstance(holder, dict) else enumerate(holder):
            found.append((holder, key))
            if isinstance(item, dict | list):
                stack.append(item)
    return found


def named(refused: BadRequest) -> None:
    assert refused.param


@settings(LAW, max_examples=200)
@given(st.data())
def test_no_request_is_too_strange(data: st.DataObject) -> None:
    """Anything in any place is read or refused by name, and so is its translation; nothing else is ever raised."""
    operation, body = data.draw(st.sampled_from([("chat", FULL_REQUEST), ("embeddings", EMBED)]))
    body = json.loads(json.dumps(body))
    for _ in range(data.draw(st.integers(1, 2))):
        holder, key = data.draw(st.sampled_from(places(body)))
        holder[key] = data.draw(JSON | st.sampled_from([None, "", 0, True, [], {}, [[]], [{}], {"text": 1}, 1.5]))
    try:
        request = GEMINI.read(operation, {"model": "alias", **body})
    except BadRequest as refused:
        named(refused)
        return
    estimate(request)
    needs(request)
    wanted(request.body)
    tools_of(request.body)
    for dialect in (OPENAI, ANTHROPIC, GEMINI):
        try:
            dialect.call(request, TARGET, False, {})
        except Untranslatable as untold:
            named(untold)


@settings(LAW, max_examples=200)
@given(st.data(), bodies(), st.booleans())
def test_no_answer_is_too_strange(data: st.DataObject, body: Body, stream: bool) -> None:
    """Anything in any place of an answer is told, or is one failure of the upstream; nothing else is ever raised."""
    body = json.loads(json.dumps(body))
    holder, key = data.draw(st.sampled_from(places(body)))
    holder[key] = data.draw(JSON | st.sampled_from([None, "", 0, True, [], {}, [[]], [{}], {"text": 1}, 1.5]))
    for request in (content(stream=stream), chat(stream=stream), message(stream=stream)):
        frames = pump(GEMINI.inlet(request, stream), [sse(body, done=False) if stream else dumps(body)])
        events = events_of(frames)
        assert type(events[-1]) in (Finished, Failed)
        if type(events[-1]) is Finished:
            for told in (frames, [Frame(frame.events) for frame in frames]):
                write(outlet_for(request), told)
