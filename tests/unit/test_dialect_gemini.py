"""The Gemini dialect: what is checked and shown of requests, what is translated and what is not, and what errors say."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from gateway.core.errors import BadRequest, RateLimited, Untranslatable, UpstreamLimited
from gateway.core.events import ChoiceFinished, Failed, Finished, Frame, Started, Text, ToolCall, Unknown, Usage
from gateway.core.request import Request
from gateway.core.tokens import media_of, turns_of
from gateway.dialects.gemini_schema import json_schema
from gateway.dialects.gemini_to_neutral import to_neutral
from guardrails.answered.schema_source import wanted
from guardrails.answered.tool_source import tools_of
from tests.fixtures.dialects import (
    ANTHROPIC,
    DIALECTS,
    GEMINI,
    OPENAI,
    TARGET,
    chat,
    content,
    dumps,
    events_of,
    message,
    operation,
    outlet_for,
    payloads,
    pump,
    read_stream,
    sse,
    write,
)

USER = {"role": "user", "parts": [{"text": "hi"}]}
CALLED = {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}]}
IMAGE = {"inlineData": {"mimeType": "image/png", "data": "aGk="}}


# --- requests, read


def slots(request: Request) -> list[tuple[str, str, int, str, str]]:
    return [(slot.role, slot.kind, slot.turn, slot.path, slot.text) for slot in request.slots]


def test_slots_are_all_the_text_in_reading_order() -> None:
    """Every text a model would read is a slot, with who said it and where it stands, in either spelling of the fields."""
    request = content(
        system_instruction={"parts": {"text": "rules"}},
        contents=[
            {"parts": [{"text": "a"}, {"inline_data": {"mime_type": "image/png", "data": "aGk="}}, {"text": "b"}]},
            {"role": "model", "parts": [{"text": "hm", "thought": True}, {"function_call": {"name": "f", "args": {"to": ["x", 1], "me_too": "y"}}}]},
            {"role": "function", "parts": [{"functionResponse": {"name": "f", "response": {"output": "done"}}}]},
            {"role": "model", "parts": [{"executableCode": {"language": "PYTHON", "code": "1+1"}}, {"codeExecutionResult": {"outcome": "OK", "output": "2"}}]},
        ],
    )  # fmt: skip
    assert slots(request) == [
        ("system", "text", 0, "systemInstruction.parts[0].text", "rules"),
        ("user", "text", 0, "contents[0].parts[0].text", "a"),
        ("user", "text", 0, "contents[0].parts[2].text", "b"),
        ("assistant", "text", 1, "contents[1].parts[0].text", "hm"),
        ("assistant", "tool_arguments", 1, "contents[1].parts[1].functionCall.args.to[0]", "x"),
        ("assistant", "tool_arguments", 1, "contents[1].parts[1].functionCall.args.me_too", "y"),
        ("tool", "tool_result", 2, "contents[2].parts[0].functionResponse.response.output", "done"),
        ("assistant", "tool_arguments", 3, "contents[3].parts[0].executableCode.code", "1+1"),
        ("tool", "tool_result", 3, "contents[3].parts[1].codeExecutionResult.output", "2"),
    ]
    for slot in request.slots:
        slot.replace("*")
    assert [text for *_, text in slots(request)] == ["*"] * 9
    assert not {"rules", "hm", "done", "1+1"} & set(dumps(request.body).decode().split('"'))


def test_files_of_plain_text_are_text() -> None:
    """They come as base64; checks read and mask them, other dialects get them as text, and this one's server as a file again."""
    words = "grüße, bob@example.com"
    data = base64.urlsafe_b64encode(words.encode()).decode().rstrip("=")
    blob = {"inlineData": {"mimeType": "text/plain; charset=utf-8", "data": data}}
    given = {"functionResponse": {"name": "f", "response": {}, "parts": [json.loads(json.dumps(blob))]}}
    told = json.loads(json.dumps(blob))
    request = content(
        contents=[{"role": "user", "parts": [{"text": "see"}, blob, IMAGE]}, CALLED, {"parts": [given]}],
        systemInstruction={"parts": [told]},
    )
    files = [slot for slot in request.slots if slot.role == "retrieved"]
    assert [(slot.path, slot.text) for slot in files] == [
        ("systemInstruction.parts[0].inlineData.text", words),
        ("contents[0].parts[1].inlineData.text", words),
        ("contents[2].parts[0].functionResponse.parts[0].inlineData.text", words),
    ]
    for slot in files:
        slot.replace("masked")
    before = dumps(request.body)
    body = json.loads(GEMINI.call(request, TARGET, False, {}).body)
    sent = body["contents"]
    again = {"inlineData": {"mimeType": "text/plain; charset=utf-8", "data": base64.b64encode(b"masked").decode()}}
    assert sent[0]["parts"] == [{"text": "see"}, again, IMAGE]
    assert body["systemInstruction"] == {"parts": [again]}
    assert sent[2]["parts"][0]["functionResponse"]["parts"] == [again]
    assert dumps(request.body) == before
    del request.body["systemInstruction"]
    messages = json.loads(OPENAI.call(request, TARGET, False, {}).body)["messages"]
    assert messages[0]["content"][1] == {"type": "text", "text": "masked"}


@pytest.mark.parametrize("blob", [{"mimeType": "text/plain", "data": "!"}, {"mimeType": "text/plain", "data": "/w=="}, {"mimeType": "image/png", "data": "aGk="}, {"mimeType": "text/plain"}, 5])  # fmt: skip
def test_what_is_no_plain_text_stays_as_it_came(blob: Any) -> None:
    """Another kind of file, no base64, no UTF-8: not ours to read."""
    request = content(contents=[{"parts": [{"text": "a"}, {"inlineData": blob}]}])
    assert len(request.slots) == 1
    assert json.loads(GEMINI.call(request, TARGET, False, {}).body)["contents"][0]["parts"][1] == {"inlineData": blob}
    with pytest.raises(BadRequest) as caught:
        content(contents=[{"parts": [{"inlineData": {"mimeType": "text/plain", "text": "a"}}]}])
    assert caught.value.param == "contents[0].parts[0].inlineData.text"


def test_what_the_url_says_is_in_no_body() -> None:
    """The model and the stream are taken out of the body that goes upstream; what the client wrote stays."""
    request = content(stream=True, labels={"a_b": "c"})
    assert (request.model, request.stream, request.dialect) == ("alias", True, "gemini")
    assert request.body == {"contents": [USER], "labels": {"a_b": "c"}}


def test_only_known_fields_are_respelled() -> None:
    """What nobody here looks at, and what is the client's own, goes upstream as it was written."""
    args = {"my_key": {"inline_data": 1}}
    request = content(
        vendor_field={"a_b": 1},
        contents=[{"role": "model", "parts": [{"function_call": {"name": "f", "args": args, "odd_field": 1}}]}],
        generation_config={"top_k": 1, "odd_field": 2, "response_schema": {"type": "OBJECT", "property_ordering": []}},
    )
    (part,) = request.body["contents"][0]["parts"]
    assert part == {"functionCall": {"name": "f", "args": args, "odd_field": 1}}
    assert request.body["vendor_field"] == {"a_b": 1}
    config = {"topK": 1, "odd_field": 2, "responseSchema": {"type": "OBJECT", "property_ordering": []}}
    assert request.body["generationConfig"] == config


def test_a_count_reads_the_request_inside() -> None:
    """`countTokens` takes contents, or a whole request; both are shown to the checks, and the upstream's model is named."""
    inner = {"model": "models/alias", "contents": [USER], "systemInstruction": {"parts": [{"text": "rules"}]}}
    request = GEMINI.read("count_tokens", {"model": "alias", "generateContentRequest": inner})
    assert [text for *_, text in slots(request)] == ["rules", "hi"]
    call = GEMINI.call(request, TARGET, False, {})
    assert call.path == "/models/upstream-model:countTokens"
    assert json.loads(call.body)["generateContentRequest"]["model"] == "models/upstream-model"


# --- requests, translated


SCHEMA = {"type": "OBJECT", "properties": {"n": {"type": "INTEGER", "nullable": True}, "e": {"type": "STRING", "format": "enum", "enum": ["a"]}}, "propertyOrdering": ["n", "e"], "minProperties": "1"}  # fmt: skip
PLAIN = {"type": "object", "properties": {"n": {"type": ["integer", "null"]}, "e": {"type": "string", "enum": ["a"]}}, "minProperties": 1}  # fmt: skip


def test_googles_schema_becomes_json_schema() -> None:
    """Types in small letters, `nullable` as a type, numbers as numbers; what only orders or decorates is left out."""
    assert json_schema(SCHEMA, "x") == PLAIN
    made = json_schema({"anyOf": [{"type": "STRING"}, {"$ref": "#/$defs/a"}], "defs": {"a": {"type": "NUMBER"}}}, "x")
    assert made == {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/a"}], "$defs": {"a": {"type": "number"}}}
    with pytest.raises(Untranslatable, match=r"x\.items\.odd"):
        json_schema({"type": "ARRAY", "items": {"odd": 1}}, "x")


def test_the_checks_see_googles_schemas_too() -> None:
    """Tool arguments and structured answers are held to the schema, in whichever form it was given."""
    for declared in ({"parameters": SCHEMA}, {"parametersJsonSchema": PLAIN}):
        assert tools_of({"tools": [{"functionDeclarations": [{"name": "f", **declared}]}]}) == {"f": PLAIN}
    for given in ({"responseSchema": SCHEMA}, {"responseJsonSchema": PLAIN}):
        found = wanted({"generationConfig": {"responseMimeType": "application/json", **given}})
        assert found is not None
        assert found.schema == PLAIN


def test_a_conversation_becomes_chat_messages() -> None:
    """Roles, images, calls with made ids and their results by name, errors of functions, tools and settings."""
    request = content(
        systemInstruction={"parts": [{"text": "a"}, {"text": "b"}]},
        contents=[
            {"role": "user", "parts": [{"text": "see"}, IMAGE]},
            {"role": "model", "parts": [{"text": "so", "thought": True}, {"text": "calling"}, {"functionCall": {"name": "f", "args": {"x": 1}}, "thoughtSignature": "c2ln"}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"error": "no"}}}]},
        ],
        tools=[{"functionDeclarations": [{"name": "f", "description": "d", "parameters": SCHEMA}, {"name": "g"}]}],
        toolConfig={"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}},
        generationConfig={"candidateCount": 2, "maxOutputTokens": 5, "responseMimeType": "application/json", "thinkingConfig": {"thinkingLevel": "LOW", "includeThoughts": True}},
        safetySettings=[{"category": "X", "threshold": "BLOCK_NONE"}],
    )  # fmt: skip
    sent = json.loads(OPENAI.call(request, TARGET, False, {}).body)
    assert sent["messages"] == [
        {"role": "system", "content": "a\n\nb"},
        {"role": "user", "content": [{"type": "text", "text": "see"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}]},
        {"role": "assistant", "content": "calling", "tool_calls": [{"id": "call_1_2", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}}]},
        {"role": "tool", "tool_call_id": "call_1_2", "content": "no"},
    ]  # fmt: skip
    assert [tool["function"].get("parameters") for tool in sent["tools"]] == [PLAIN, None]
    assert sent["tool_choice"] == {"type": "function", "function": {"name": "f"}}
    assert (sent["n"], sent["max_tokens"], sent["reasoning_effort"]) == (2, 5, "low")
    assert sent["response_format"] == {"type": "json_object"}


UNTOLD: list[tuple[dict[str, Any], str]] = [
    ({"cachedContent": "cachedContents/1"}, "cachedContent"),
    ({"newField": 1}, "newField"),
    ({"safetySettings": [{"threshold": "BLOCK_LOW_AND_ABOVE"}]}, "safetySettings[0]"),
    ({"tools": [{"googleSearch": {}}]}, "tools[0].googleSearch"),
    ({"toolConfig": {"retrievalConfig": {"x": 1}}}, "toolConfig.retrievalConfig"),
    ({"toolConfig": {"functionCallingConfig": {"mode": "VALIDATED"}}}, "toolConfig.functionCallingConfig.mode"),
    (
        {"toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["a", "b"]}}},
        "toolConfig.functionCallingConfig.allowedFunctionNames",
    ),
    ({"generationConfig": {"responseLogprobs": True}}, "generationConfig.responseLogprobs"),
    ({"generationConfig": {"responseModalities": ["IMAGE"]}}, "generationConfig.responseModalities"),
    ({"generationConfig": {"responseMimeType": "text/x.enum"}}, "generationConfig.responseMimeType"),
    ({"generationConfig": {"topK": 40}}, "generationConfig.topK"),
    ({"generationConfig": {"thinkingConfig": {"thinkingBudget": 9}}}, "generationConfig.thinkingConfig.thinkingBudget"),
    ({"contents": [{"parts": [{"fileData": {"fileUri": "u"}}]}]}, "contents[0].parts[0].fileData"),
    ({"contents": [{"parts": [{"inlineData": {"mimeType": "audio/wav", "data": ""}}]}]}, "contents[0].parts[0].inlineData"),
    ({"contents": [{"parts": [{"newPart": 1}]}]}, "contents[0].parts[0].newPart"),
    ({"contents": [{"parts": [{"functionResponse": {"name": "f", "response": {}}}]}]}, "contents[0].parts[0].functionResponse"),
    ({"contents": [{"parts": [{"functionCall": {"name": "f"}}]}]}, "contents[0].parts[0]"),
    ({"systemInstruction": {"parts": [IMAGE]}}, "systemInstruction.parts[0]"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "param"), UNTOLD, ids=[param for _, param in UNTOLD])
def test_what_cannot_be_said_is_named(fields: dict[str, Any], param: str) -> None:
    """A 400 with the client's own field, also from the writer of the other dialect; to a server of this one it goes as it is."""
    request = content(**fields)
    with pytest.raises(Untranslatable) as caught:
        OPENAI.call(request, TARGET, False, {})
    assert caught.value.param == param
    assert json.loads(GEMINI.call(request, TARGET, False, {}).body) == json.loads(dumps(request.body))


@pytest.mark.parametrize(
    ("request_", "param"),
    [
        (chat(logprobs=True), "logprobs"),
        (chat(parallel_tool_calls=False, tools=[{"type": "function", "function": {"name": "f"}}]), "parallel_tool_calls"),
        (chat(reasoning_effort="xhigh"), "reasoning_effort"),
        (chat(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x/y.png"}}]}]), "messages[0].content[0].image_url"),
        (chat(messages=[{"role": "tool", "tool_call_id": "c", "content": "x"}]), "messages[0]"),
        (message(metadata={"user_id": "u"}, thinking={"type": "enabled", "budget_tokens": 9}), "thinking"),
    ],
)  # fmt: skip
def test_what_this_dialect_cannot_say_is_named_too(request_: Request, param: str) -> None:
    """From the other dialects: the client's own field, not ours."""
    with pytest.raises(Untranslatable) as caught:
        GEMINI.call(request_, TARGET, False, {})
    assert caught.value.param == param


def test_a_chat_becomes_contents() -> None:
    """Strict tools are the mode that validates; calls of other models carry Google's word for unsigned; results name their
    function."""
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}}
    request = chat(
        messages=[
            {"role": "system", "content": "rules"},
            {"role": "user", "content": [{"type": "text", "text": "see"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}]},
            {"role": "assistant", "content": None, "tool_calls": [call, {**call, "id": "c2"}]},
            {"role": "tool", "tool_call_id": "c2", "content": "two"},
            {"role": "tool", "tool_call_id": "c1", "content": "one"},
        ],
        tools=[{"type": "function", "function": {"name": "f", "parameters": PLAIN, "strict": True}}],
        max_tokens=5, stop="x", seed=1, top_p=0.5, n=2, reasoning_effort="low", user="u",
        response_format={"type": "json_schema", "json_schema": {"name": "a", "schema": PLAIN}},
    )  # fmt: skip
    sent = json.loads(GEMINI.call(request, TARGET, False, {}).body)
    made = {"functionCall": {"id": "c1", "name": "f", "args": {"x": 1}}}
    assert sent["contents"] == [
        {"role": "user", "parts": [{"text": "see"}, IMAGE]},
        {"role": "model", "parts": [{**made, "thoughtSignature": "skip_thought_signature_validator"}, {"functionCall": {**made["functionCall"], "id": "c2"}}]},
        {"role": "user", "parts": [{"functionResponse": {"id": at, "name": "f", "response": {"output": text}}} for at, text in (("c2", "two"), ("c1", "one"))]},
    ]  # fmt: skip
    assert sent["systemInstruction"] == {"parts": [{"text": "rules"}]}
    assert sent["tools"] == [{"functionDeclarations": [{"name": "f", "parametersJsonSchema": PLAIN}]}]
    assert sent["toolConfig"] == {"functionCallingConfig": {"mode": "VALIDATED"}}
    assert sent["generationConfig"] == {
        "maxOutputTokens": 5, "stopSequences": ["x"], "seed": 1, "topP": 0.5, "candidateCount": 2,
        "thinkingConfig": {"thinkingLevel": "LOW"}, "responseMimeType": "application/json", "responseJsonSchema": PLAIN,
    }  # fmt: skip


def test_counting_is_translated_both_ways() -> None:
    """An Anthropic client's count is asked of a Gemini server as a whole request, and told in its own words; and the reverse."""
    body = {"model": "alias", "messages": [{"role": "user", "content": "hi"}], "system": "rules"}
    request = ANTHROPIC.read("count_tokens", body)
    sent = json.loads(GEMINI.call(request, TARGET, False, {}).body)["generateContentRequest"]
    assert (sent["model"], sent["systemInstruction"]) == ("models/upstream-model", {"parts": [{"text": "rules"}]})
    frames = pump(GEMINI.inlet(request, False), [b'{"totalTokens":7,"promptTokensDetails":[]}'])
    assert json.loads(write(outlet_for(request), frames)) == {"input_tokens": 7}
    request = GEMINI.read("count_tokens", {"model": "alias", "contents": [USER]})
    frames = pump(ANTHROPIC.inlet(request, False), [b'{"input_tokens":7}'])
    assert json.loads(write(outlet_for(request), frames)) == {"totalTokens": 7}


# --- calls


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("gemini-x", "/models/gemini-x:generateContent"),
        ("models/gemini-x", "/models/gemini-x:generateContent"),
        ("tunedModels/a b", "/tunedModels/a%20b:generateContent"),
        ("publishers/google/models/x@1", "/publishers/google/models/x@1:generateContent"),
    ],
)
def test_the_model_is_in_the_path(model: str, path: str) -> None:
    """Below the base URL, which says what comes before it: a version, or a project at Vertex."""
    target = type(TARGET)(provider="somewhere", model=model)
    assert GEMINI.call(content(), target, False, {}).path == path
    assert GEMINI.call(content(), target, True, {}).path == path.replace(":g", ":streamG") + "?alt=sse"


def test_the_parameter_table_reaches_into_the_config() -> None:
    """By the name of the field and of the object it is in; a drop also allows what could not be translated."""
    table = {
        "drop": ["labels", "generationConfig.topK"],
        "clamp": {"generationConfig.temperature": [None, 1.0]},
        "default": {"generationConfig.maxOutputTokens": 9, "store": False},
        "rename": {"generationConfig.seed": "generationConfig.seed2"},
        "force": {"generationConfig.topP": 0.1},
    }
    request = content(labels={"a": "b"}, generationConfig={"topK": 4, "temperature": 2.0, "seed": 3})
    sent = json.loads(GEMINI.call(request, TARGET, False, table).body)
    assert sent == {
        "contents": [USER],
        "store": False,
        "generationConfig": {"temperature": 1.0, "seed2": 3, "maxOutputTokens": 9, "topP": 0.1},
    }
    assert request.body["generationConfig"]["topK"] == 4
    sent = json.loads(OPENAI.call(request, TARGET, False, {"drop": ["generationConfig.topK"]}).body)
    assert (sent["temperature"], "top_k" in sent) == (2.0, False)


def test_vectors_are_asked_in_one_batch() -> None:
    """What a vector is asked for cannot say is named; legacy completions are not spoken."""
    with pytest.raises(Untranslatable) as caught:
        GEMINI.call(operation("embeddings", input=[1, 2]), TARGET, False, {})
    assert caught.value.param == "input"
    with pytest.raises(Untranslatable, match="has no completions"):
        GEMINI.call(operation("completions", prompt="a"), TARGET, False, {})


@pytest.mark.parametrize("batch", [False, True])
def test_vectors_are_asked_and_told_in_each_dialect(batch: bool) -> None:
    """Texts are slots; a batch, or one text in the older form, is asked of either kind of server and told in the same form."""
    one = {"content": {"parts": [{"text": "a"}]}, "output_dimensionality": 2}
    body = {"requests": [{"model": "models/alias", **one}, one]} if batch else one
    request = GEMINI.read("embeddings", {"model": "alias", **json.loads(json.dumps(body))})
    assert [slot.text for slot in request.slots] == ["a"] * (1 + batch)
    call = GEMINI.call(request, TARGET, False, {})
    assert call.path == f"/models/upstream-model:{'batchEmbedContents' if batch else 'embedContent'}"
    own = json.loads(call.body)
    assert not batch or {each["model"] for each in own["requests"]} == {"models/upstream-model"}
    sent = json.loads(OPENAI.call(request, TARGET, False, {}).body)
    assert sent == {
        "model": "upstream-model",
        "input": ["a"] * (1 + batch),
        "dimensions": 2,
        "encoding_format": "float",
    }
    values = [{"values": [0.5, 1.0]}] * (1 + batch)
    told = {"embeddings": values} if batch else {"embedding": values[0]}
    frames = pump(GEMINI.inlet(request, False), [dumps(told)])
    assert write(outlet_for(request), frames) == dumps(told)
    data = [{"index": at, "embedding": each["values"]} for at, each in enumerate(values)]
    frames = pump(OPENAI.inlet(request, False), [dumps({"data": data[::-1], "usage": {"prompt_tokens": 3}})])
    assert json.loads(write(outlet_for(request), frames)) == {**told, "usageMetadata": {"promptTokenCount": 3}}
    bare = [Frame(frame.events) for frame in frames]
    assert json.loads(write(outlet_for(request), bare)) == {**told, "usageMetadata": {"promptTokenCount": 3}}


@pytest.mark.parametrize(
    ("one", "param"),
    [
        ({"taskType": "RETRIEVAL_QUERY"}, "requests[0].taskType"),
        ({"title": "t"}, "requests[0].title"),
        ({"content": {"parts": [{"text": "a"}, {"text": "b"}]}}, "requests[0].content.parts"),
        ({"content": {"parts": [IMAGE]}}, "requests[0].content.parts"),
        ({"outputDimensionality": 9}, "requests"),
    ],
)
def test_what_vectors_cannot_be_asked_for_elsewhere_is_named(one: dict[str, Any], param: str) -> None:
    """What makes another vector of a text is not left out silently."""
    plain = {"content": {"parts": [{"text": "a"}]}}
    request = GEMINI.read("embeddings", {"model": "alias", "requests": [{**plain, **one}, plain]})
    with pytest.raises(Untranslatable) as caught:
        OPENAI.call(request, TARGET, False, {})
    assert caught.value.param == param


# --- answers


def chunk(*parts: Any, finish: str = "", **more: Any) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": list(parts), "role": "model"}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], "modelVersion": "upstream-model", "responseId": "r", **more}


def test_a_refused_prompt_is_an_answer() -> None:
    """No candidates and a reason why: told as it came, and to others as a filtered answer."""
    body = {"promptFeedback": {"blockReason": "SAFETY"}, "modelVersion": "upstream-model", "responseId": "r"}
    for stream in (False, True):
        request = content(stream=stream)
        data = sse(body, done=False) if stream else dumps(body)
        frames = pump(GEMINI.inlet(request, stream), [data])
        assert type(events_of(frames)[-1]) is Finished
        sent = write(outlet_for(request), frames)
        assert (payloads(sent)[0] if stream else json.loads(sent)) == {**body, "modelVersion": "alias"}
        bare = [Frame(frame.events) for frame in frames]
        sent = write(outlet_for(request), bare)
        told = payloads(sent)[-1] if stream else json.loads(sent)
        assert (told["promptFeedback"], "candidates" in told) == (body["promptFeedback"], False)
        other = json.loads(write(outlet_for(chat()), bare))
        assert other["choices"][0]["finish_reason"] == "content_filter"


def test_fields_that_nobody_knows_are_seen_by_checks() -> None:
    """Parts, and fields of parts, candidates and answers, that no event is made of come as `Unknown`."""
    part = {"text": "a", "partMetadata": {"x": "secret"}}
    frames = read_stream(
        GEMINI, content(), sse(chunk(part, {"newPart": {"y": 1}}, finish="STOP", newTop="z"), done=False)
    )
    unknown = [event.fields["gemini"] for event in events_of(frames) if type(event) is Unknown]
    assert unknown == [
        {"beside": {"partMetadata": {"x": "secret"}}},
        {"part": {"newPart": {"y": 1}}},
        {"chunk": {"newTop": "z"}},
    ]


def test_a_call_without_an_id_gets_one_for_others_only() -> None:
    """Other dialects need one, and the same answer always has the same; this one's client sees what the upstream said."""
    body = chunk({"functionCall": {"name": "f", "args": {"a": 1}}}, finish="STOP")
    frames = pump(GEMINI.inlet(content(), False), [dumps(body)])
    (call,) = [event for event in events_of(frames) if type(event) is ToolCall]
    assert call.id
    assert events_of(pump(GEMINI.inlet(content(), False), [dumps(body)]))[1] == call
    bare = [Frame(frame.events) for frame in frames]
    told = json.loads(write(outlet_for(content()), bare))["candidates"][0]["content"]["parts"]
    assert told == [{"functionCall": {"name": "f", "args": {"a": 1}}}]
    made = json.loads(write(outlet_for(chat()), bare))["choices"][0]
    assert (made["message"]["tool_calls"][0]["id"], made["finish_reason"]) == (call.id, "tool_calls")


def test_arguments_that_are_no_object_are_kept() -> None:
    """A call cut short, or of a model astray, is told with its text; nothing is lost and nothing made up."""
    events = [Started("i", "m", 1), ToolCall(0, '{"a": "b', "c", "f"), ChoiceFinished("length"), Finished()]
    told = json.loads(write(outlet_for(content()), [Frame((event,)) for event in events]))["candidates"][0]
    assert told["content"]["parts"] == [
        {"functionCall": {"id": "c", "name": "f", "args": {"INVALID_JSON": '{"a": "b'}}}
    ]
    assert told["finishReason"] == "MAX_TOKENS"


def test_a_finish_reason_is_told_only_when_the_answer_is_whole() -> None:
    """An upstream that told why it ended and then broke off has not ended: no reason goes out before the end is certain."""
    outlet = outlet_for(content(stream=True))
    sent = b"".join(outlet.push(Frame((event,))) for event in (Started("i", "m", 1), Text("a"), ChoiceFinished("stop")))
    assert b"finishReason" not in sent
    assert b'"finishReason":"STOP"' in outlet.push(Frame((Usage(3, 2),))) + outlet.finish()


@pytest.mark.parametrize("data", [b"data: {oops\n\n", b"data: [1]\n\n", b'data: {"candidates":{}}\n\n', b"data: 7\n\n"])
def test_what_cannot_be_read_fails(data: bytes) -> None:
    """One `Failed`, and nothing after it."""
    frames = read_stream(
        GEMINI, content(), sse(chunk({"text": "a"}), done=False) + data + sse(chunk(finish="STOP"), done=False)
    )
    assert [type(event) for event in events_of(frames)][-1] is Failed
    assert sum(type(event) is Failed for event in events_of(frames)) == 1


def test_a_server_that_does_not_stream_is_read_all_the_same() -> None:
    """A whole body where a stream was asked for."""
    frames = pump(GEMINI.inlet(content(stream=True), True), [dumps(chunk({"text": "a"}, finish="STOP"))])
    sent = payloads(write(outlet_for(content(stream=True)), frames))
    assert sent[-1]["candidates"][0]["finishReason"] == "STOP"
    assert "".join(part["text"] for each in sent for part in each["candidates"][0]["content"]["parts"]) == "a"


# --- errors


def test_a_wait_is_told_in_the_body() -> None:
    """Google tells how long to wait in the error's details, and so do we; bounded, because some clients obey."""
    error = {"code": 429, "message": "quota", "status": "RESOURCE_EXHAUSTED", "details": [{"@type": "x/google.rpc.RetryInfo", "retryDelay": "34.5s"}]}  # fmt: skip
    for body in (dumps({"error": error}), dumps([{"error": error}])):
        fault = GEMINI.fault(429, {}, body)
        assert isinstance(fault, UpstreamLimited)
        assert fault.retry_after == 34.5
    assert GEMINI.fault(429, {"retry-after": "2"}, dumps({"error": error})).retry_after == 2
    told = json.loads(GEMINI.error(RateLimited("Slow down.", retry_after=1000.0), "tg-1"))["error"]
    assert (told["code"], told["status"]) == (429, "RESOURCE_EXHAUSTED")
    assert told["details"][0]["metadata"] == {"requestId": "tg-1"}
    assert told["details"][-1]["retryDelay"] == "60s"


@pytest.mark.parametrize(
    ("request_", "param"),
    [
        (chat(stop=True), "stop"),
        (chat(tools=5), "tools"),
        (message(stop_sequences=True), "stop_sequences"),
        (message(tools={}), "tools"),
        (content(generationConfig={"stopSequences": 1}), "generationConfig.stopSequences"),
        (content(tools=[{"functionDeclarations": 1}]), "tools[0].functionDeclarations"),
    ],
)
def test_what_has_another_shape_is_not_translated(request_: Request, param: str) -> None:
    """It is named, in every dialect; none of them falls over it."""
    for dialect in (OPENAI, ANTHROPIC, GEMINI):
        if dialect.name != request_.dialect:
            with pytest.raises(Untranslatable) as caught:
                dialect.call(request_, TARGET, False, {})
            assert caught.value.param == param


# --- what else looks at a body


def test_turns_and_media_are_found() -> None:
    """Planning counts turns and images of this dialect as of any other."""
    result = {"functionResponse": {"name": "f", "response": {}, "parts": [IMAGE]}}
    request = content(contents=[USER, CALLED, {"role": "user", "parts": [result, IMAGE, {"text": "a"}]}])
    assert [media_of(turn) for turn in turns_of(request)] == [0, 0, 2]
    assert to_neutral(request.body).turns[-1].role == "user"
    assert set(DIALECTS) == {"openai", "anthropic", "responses", "gemini"}
