"""The official `google-genai` SDK, unmodified, over a real socket: against a real llama.cpp server behind the gateway, through
translation, and as it is to a scripted server that speaks this API itself."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from google import genai
from google.genai import errors, types
from pydantic import BaseModel

from gateway.admission.config import KeyEntry, KeyFile
from gateway.admission.keyring import hash_of, new_key, write_key_file
from gateway.demo.fleet import Fleet
from gateway.faults.server import FaultServer
from gateway.faults.steps import Finish, Reasoning, Text, Tool, Usage
from tests.fixtures.fleet import Background, Serve, Served

PNG = b"\x89PNG\r\n\x1a\n" + bytes(16)


class Person(BaseModel):
    adult: bool


WEATHER = types.FunctionDeclaration(
    name="get_weather",
    description="The weather in a city.",
    parameters=types.Schema(type=types.Type.OBJECT, properties={"city": types.Schema(type=types.Type.STRING)}, required=["city"]),
)  # fmt: skip
TOOLS = [types.Tool(function_declarations=[WEATHER])]
SCRIPTED = ("native", "org/native:v1", "limited", "broken", "cut", "fault:error-midway")


@pytest.fixture(scope="module")
def faults(background: Background) -> FaultServer:
    server = FaultServer()
    background.run(server.start())
    return server


@pytest.fixture(scope="module")
def gateway(serve: Serve, fleet: Fleet, faults: FaultServer) -> Served:
    """The demo's models; scripted ones at a server of this API, and `chat` at one of OpenAI's."""
    models = {
        name: {"targets": [{"provider": "google", "model": name.rpartition("/")[2]}], "retry": {"attempts": 1}}
        for name in SCRIPTED
    }
    models["waits"] = {"targets": [{"provider": "google", "model": "waits"}], "keepalive": "20ms"}
    models["chat"] = {"targets": [{"provider": "faults", "model": "chat"}], "retry": {"attempts": 1}}
    return serve(
        {
            "providers": {
                **fleet.providers,
                "faults": {"type": "openai-compatible", "base_url": faults.base_url},
                "google": {"type": "gemini", "api_key": "AIza-own", "base_url": f"{faults.url}/v1beta"},
            },
            "models": {**fleet.models, **models},
        }
    )


@pytest.fixture(autouse=True)
def script(faults: FaultServer) -> None:
    faults.script("native", ["You said: ", "hello there", Usage(9, 5, 4)])
    faults.script("native:v1", ["versioned"])


def client_of(url: str, key: str = "-") -> genai.Client:
    return genai.Client(api_key=key, http_options=types.HttpOptions(base_url=url, timeout=30_000))


@pytest.fixture
def client(gateway: Served) -> genai.Client:
    return client_of(gateway.url)


BOTH = pytest.mark.parametrize("model", ["demo", "native"])


@BOTH
def test_an_answer(client: genai.Client, model: str) -> None:
    """`generate_content` gives a typed answer with text, finish reason and usage, translated or not."""
    made = client.models.generate_content(model=model, contents="hello there")
    assert made.text == "You said: hello there"
    assert made.model_version == model
    assert made.response_id
    (candidate,) = made.candidates or []
    assert candidate.finish_reason == types.FinishReason.STOP
    usage = made.usage_metadata
    assert usage is not None
    assert usage.total_token_count == (usage.prompt_token_count or 0) + (usage.candidates_token_count or 0) > 0


@BOTH
def test_a_stream(client: genai.Client, model: str) -> None:
    """A stream's pieces join to the text; the last tells the reason; the usage comes with it, or after."""
    chunks = list(client.models.generate_content_stream(model=model, contents="hello there"))
    assert "".join(chunk.text or "" for chunk in chunks) == "You said: hello there"
    reasons = [c.finish_reason for chunk in chunks for c in chunk.candidates or [] if c.finish_reason]
    assert reasons == [types.FinishReason.STOP]
    assert {chunk.model_version for chunk in chunks} == {model}
    assert len({chunk.response_id for chunk in chunks}) == 1
    assert chunks[-1].usage_metadata is not None


@pytest.mark.parametrize("stream", [False, True])
async def test_the_async_client_asks_side_by_side(gateway: Served, stream: bool) -> None:
    """Eight questions at once each get their own words."""
    client = client_of(gateway.url)
    models = client.aio.models

    async def one(number: int) -> str:
        asked: Any = {"model": "demo", "contents": f"number {number}"}
        if not stream:
            return (await models.generate_content(**asked)).text or ""
        return "".join([chunk.text or "" async for chunk in await models.generate_content_stream(**asked)])

    said = await asyncio.gather(*(one(number) for number in range(8)))
    assert said == [f"You said: number {number}" for number in range(8)]


def test_a_chat_keeps_its_history(client: genai.Client) -> None:
    """The SDK's chat helper sends all turns again, and both kinds of turn are understood."""
    chat = client.chats.create(model="demo")
    assert chat.send_message("one").text == "You said: one"
    assert chat.send_message("two").text == "You said: two"
    assert [content.role for content in chat.get_history()] == ["user", "model", "user", "model"]


@pytest.mark.parametrize("stream", [False, True])
def test_tools(client: genai.Client, stream: bool) -> None:
    """A function call comes back whole, with an id and a name; its result is understood in the next turn."""
    config = types.GenerateContentConfig(tools=TOOLS, max_output_tokens=512)
    contents: list[Any] = [types.UserContent("get_weather in Berlin")]
    if stream:
        parts = [
            part
            for chunk in client.models.generate_content_stream(model="demo", contents=contents, config=config)
            for candidate in chunk.candidates or []
            for part in (candidate.content and candidate.content.parts) or []
        ]
    else:
        made = client.models.generate_content(model="demo", contents=contents, config=config)
        assert made.function_calls
        parts = made.candidates[0].content.parts  # type: ignore[index, union-attr, assignment]
    (call,) = [part.function_call for part in parts if part.function_call]
    assert (call.name, isinstance(call.args, dict)) == ("get_weather", True)
    assert call.id
    result = types.Part(
        function_response=types.FunctionResponse(id=call.id, name=call.name, response={"output": "sunny"})
    )
    contents += [types.ModelContent([types.Part(function_call=call)]), types.UserContent([result])]
    after = client.models.generate_content(model="demo", contents=contents, config=config)
    assert "sunny" in (after.text or "")


def test_parallel_calls_and_their_results_by_name(client: genai.Client, faults: FaultServer) -> None:
    """Calls without ids, as this API has them, and results told apart by name, reach an OpenAI-shaped server with ids."""
    faults.script("chat", ["ok"])
    calls = [types.Part(function_call=types.FunctionCall(name=name, args={"n": at})) for at, name in enumerate("fg")]
    results = [types.Part.from_function_response(name=name, response={"output": name.upper()}) for name in "gf"]
    client.models.generate_content(
        model="chat", contents=[types.UserContent("go"), types.ModelContent(calls), types.UserContent(results)]
    )
    sent = faults.requests[-1].messages
    ids = {call["function"]["name"]: call["id"] for call in sent[1]["tool_calls"]}
    assert [(m["tool_call_id"], m["content"]) for m in sent[2:]] == [(ids["g"], "G"), (ids["f"], "F")]


def test_the_sdk_calls_python_functions_itself(client: genai.Client, faults: FaultServer) -> None:
    """Automatic function calling: the SDK declares a Python function, runs the call, sends its result, and gets the answer."""

    def get_weather(city: str) -> str:
        """The weather in a city."""
        return f"sunny in {city}"

    faults.sequence(
        "native", *(_play(items) for items in ([Tool('{"city":"Rome"}', 0, "c1", "get_weather")], ["It is sunny."]))
    )
    config = types.GenerateContentConfig(tools=[get_weather])
    assert client.models.generate_content(model="native", contents="weather?", config=config).text == "It is sunny."
    given = faults.requests[-1].fields["contents"][-1]["parts"][0]["functionResponse"]
    assert (given["name"], given["response"]) == ("get_weather", {"result": "sunny in Rome"})


def _play(items: Any) -> Any:
    from gateway.faults.play import Play

    return Play(items)


def test_system_instruction_and_settings(client: genai.Client, faults: FaultServer) -> None:
    """What is said around the conversation arrives at both kinds of server, each in its own words."""
    config = types.GenerateContentConfig(
        system_instruction="Be brief.", temperature=0.5, top_p=0.9, max_output_tokens=7, stop_sequences=["x"], seed=1
    )
    faults.script("chat", ["ok"])
    client.models.generate_content(model="chat", contents="hi", config=config)
    sent = faults.requests[-1].fields
    assert sent["messages"] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}]
    assert {name: sent[name] for name in ("temperature", "top_p", "max_tokens", "stop", "seed")} == {
        "temperature": 0.5, "top_p": 0.9, "max_tokens": 7, "stop": ["x"], "seed": 1
    }  # fmt: skip
    client.models.generate_content(model="native", contents="hi", config=config)
    native = faults.requests[-1]
    assert native.path == "/v1beta/models/native:generateContent"
    assert native.fields["systemInstruction"]["parts"] == [{"text": "Be brief."}]
    assert native.fields["generationConfig"]["maxOutputTokens"] == 7


def test_images(client: genai.Client, faults: FaultServer) -> None:
    """Inline images arrive as data URLs where they must be translated, and untouched where not; files are named by an error."""
    faults.script("chat", ["a cat"])
    contents: Any = ["what is this?", types.Part.from_bytes(data=PNG, mime_type="image/png")]
    assert client.models.generate_content(model="chat", contents=contents).text == "a cat"
    image = faults.requests[-1].messages[0]["content"][1]
    assert image["image_url"]["url"].startswith("data:image/png;base64,iVBORw0KGgo")
    client.models.generate_content(model="native", contents=contents)
    assert faults.requests[-1].fields["contents"][0]["parts"][1]["inlineData"]["mimeType"] == "image/png"
    file = types.Part.from_uri(file_uri="gs://b/cat.png", mime_type="image/png")
    with pytest.raises(errors.ClientError, match=r"contents\[0\]\.parts\[0\]\.fileData"):
        client.models.generate_content(model="chat", contents=[file])
    client.models.generate_content(model="native", contents=[file])


@pytest.mark.parametrize("how", ["response_schema", "response_json_schema"])
def test_structured_outputs(client: genai.Client, how: str) -> None:
    """A pydantic model as schema, in Google's form or as JSON Schema, gives an object that fits, from a model of random
    weights."""
    schema: Any = Person if how == "response_schema" else Person.model_json_schema()
    config = types.GenerateContentConfig(response_mime_type="application/json", max_output_tokens=200, **{how: schema})
    made = client.models.generate_content(model="noise", contents="a person", config=config)
    assert isinstance(Person.model_validate_json(made.text or ""), Person)
    if how == "response_schema":
        assert isinstance(made.parsed, Person)


@pytest.mark.parametrize("stream", [False, True])
def test_thoughts_are_told_apart(client: genai.Client, faults: FaultServer, stream: bool) -> None:
    """Reasoning of an upstream is a thought and no part of the text, translated or not."""
    for model in ("chat", "native"):
        faults.script(model, [Reasoning("Hm."), Text("Yes.")])
        if stream:
            made = list(client.models.generate_content_stream(model=model, contents="hi"))
        else:
            made = [client.models.generate_content(model=model, contents="hi")]
        parts = [p for one in made for c in one.candidates or [] for p in (c.content and c.content.parts) or []]
        assert "".join(part.text or "" for part in parts if part.thought) == "Hm."
        assert "".join(part.text or "" for part in parts if not part.thought) == "Yes."


def test_ends_that_are_not_ordinary(client: genai.Client, faults: FaultServer) -> None:
    """A length, a filter and a refused prompt each have this API's own word."""
    made = client.models.generate_content(
        model="demo", contents="count to 50", config=types.GenerateContentConfig(max_output_tokens=4)
    )
    assert made.candidates[0].finish_reason == types.FinishReason.MAX_TOKENS  # type: ignore[index]
    faults.script("chat", ["no", Finish("content_filter")])
    made = client.models.generate_content(model="chat", contents="hi")
    assert made.candidates[0].finish_reason == types.FinishReason.SAFETY  # type: ignore[index]
    refused = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "modelVersion": "native"}
    faults.reply("native", 200, refused)
    made = client.models.generate_content(model="native", contents="hi")
    assert made.prompt_feedback is not None
    assert made.prompt_feedback.block_reason == types.BlockedReason.PROHIBITED_CONTENT


def test_tokens_are_counted(client: genai.Client) -> None:
    """A provider of this API counts for itself; for another the gateway estimates."""
    assert client.models.count_tokens(model="native", contents="hello there").total_tokens == 42
    assert (client.models.count_tokens(model="demo", contents="hello there " * 50).total_tokens or 0) > 100


@pytest.mark.parametrize("root", ["", "/gemini"])
def test_models(gateway: Served, root: str) -> None:
    """Aliases in the list, as typed models; one by its name; calls under the alias path too; names with slashes and colons."""
    client = client_of(gateway.url + root)
    names = {model.name for model in client.models.list()}
    assert {"models/demo", "models/noise", "models/org/native:v1"} <= names
    one = client.models.get(model="org/native:v1")
    assert (one.name, one.display_name) == ("models/org/native:v1", "org/native:v1")
    assert "generateContent" in (one.supported_actions or [])
    made = client.models.generate_content(model="models/org/native:v1", contents="hi")
    assert (made.text, made.model_version) == ("versioned", "org/native:v1")
    with pytest.raises(errors.ClientError) as missing:
        client.models.get(model="dmo")
    assert (missing.value.code, missing.value.status) == (404, "NOT_FOUND")


def test_the_stable_version_of_the_api(gateway: Served) -> None:
    """`/v1/models/...` is this API's too, and lists models in the form of who asks."""
    options = types.HttpOptions(base_url=gateway.url, api_version="v1")
    client = genai.Client(api_key="-", http_options=options)
    assert client.models.generate_content(model="demo", contents="hi").text == "You said: hi"
    assert "models/demo" in {model.name for model in client.models.list()}


def test_errors_have_the_sdks_own_types(client: genai.Client, faults: FaultServer) -> None:
    """Each fault raises the exception that an application already handles, with Google's word for it."""

    def ask(model: str, **fields: Any) -> Any:
        return client.models.generate_content(**{"model": model, "contents": "hi", **fields})

    with pytest.raises(errors.ClientError) as missing:
        ask("dmo")
    assert (missing.value.code, missing.value.status) == (404, "NOT_FOUND")
    assert "demo" in str(missing.value.message)
    with pytest.raises(errors.ClientError) as untold:
        ask("demo", config=types.GenerateContentConfig(tools=[types.Tool(google_search=types.GoogleSearch())]))
    assert (untold.value.code, untold.value.status) == (400, "INVALID_ARGUMENT")
    assert "tools[0].googleSearch" in str(untold.value.message)
    faults.reply("broken", 500, {"error": {"code": 500, "message": "boom", "status": "INTERNAL"}})
    with pytest.raises(errors.ServerError) as broken:
        ask("broken")
    assert (broken.value.code, broken.value.status) == (502, "UNAVAILABLE")
    delay = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "3s"}
    faults.reply(
        "limited", 429, {"error": {"code": 429, "message": "quota", "status": "RESOURCE_EXHAUSTED", "details": [delay]}}
    )
    with pytest.raises(errors.ClientError) as limited:
        ask("limited")
    assert (limited.value.code, limited.value.status) == (429, "RESOURCE_EXHAUSTED")
    assert limited.value.response.headers["retry-after"] == "3"
    told = limited.value.details["error"]["details"]
    assert [one["retryDelay"] for one in told if "retryDelay" in one] == ["3s"]
    faults.reply("broken", 400, {"error": {"code": 400, "message": "API key not valid.", "status": "INVALID_ARGUMENT"}})
    with pytest.raises(errors.ServerError):  # the gateway's own key is wrong, not the client's
        ask("broken")
    over = "The input token count (9) exceeds the maximum number of tokens allowed (8)."
    faults.reply("broken", 400, {"error": {"code": 400, "message": over, "status": "INVALID_ARGUMENT"}})
    with pytest.raises(errors.ClientError) as overflow:
        ask("broken")
    assert overflow.value.details["error"]["details"][0]["reason"] == "CONTEXT_LENGTH_EXCEEDED"


def test_an_error_inside_a_stream_is_raised(client: genai.Client, faults: FaultServer) -> None:
    """What breaks after the first piece is an exception in the loop, never a quiet end."""
    faults.script("cut", ["Hel", {"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}}])
    stream = client.models.generate_content_stream(model="cut", contents="hi")
    assert next(stream).text == "Hel"
    with pytest.raises(errors.ServerError):
        next(stream)


async def test_signs_of_life_are_no_part_of_the_answer(
    gateway: Served, faults: FaultServer, background: Background
) -> None:
    """The SDK chokes on comments in a stream; what it gets while it waits it does not notice. The answer comes when a sign has."""
    gate = asyncio.Event()
    faults.script("waits", [gate, "Hel", "lo"])
    client = client_of(gateway.url)
    waiting = asyncio.create_task(client.aio.models.generate_content_stream(model="waits", contents="hi"))
    stream = await waiting  # the head is there with the first sign, and with nothing else yet
    background.loop.call_soon_threadsafe(gate.set)
    assert "".join([chunk.text or "" async for chunk in stream]) == "Hello"


def test_keys(serve: Serve, fleet: Fleet, faults: FaultServer, tmp_path: Path) -> None:
    """A virtual key is an API key to the SDK, as a header or in the URL; wrong or not allowed is told; it never goes upstream."""
    key, id = new_key()
    entry = KeyEntry(id=id, hash=hash_of(key), models=["demo", "native"], rpm=4)
    write_key_file(tmp_path / "keys.yaml", KeyFile(keys=[entry]))
    google = {"type": "gemini", "api_key": "AIza-own", "base_url": f"{faults.url}/v1beta"}
    served = serve(
        {
            "providers": {**fleet.providers, "google": google},
            "models": {**fleet.models, "native": {"targets": [{"provider": "google", "model": "native"}]}},
            "access": {"keys": "keys.yaml"},
        },
        tmp_path,
    )  # type: ignore[call-arg]
    bad = client_of(served.url, "tg_wrong")
    with pytest.raises(errors.ClientError) as wrong:
        bad.models.generate_content(model="demo", contents="hi")
    assert (wrong.value.code, wrong.value.status) == (401, "UNAUTHENTICATED")
    good = client_of(served.url, key)
    assert [model.name for model in good.models.list()] == ["models/demo", "models/native"]
    assert good.models.generate_content(model="native", contents="hi").text == "You said: hello there"
    body = {"contents": [{"parts": [{"text": "hi"}]}]}
    url = f"{served.url}/v1beta/models/native:generateContent"
    assert httpx.post(url, params={"key": key}, json=body).status_code == 200
    assert httpx.get(f"{served.url}/v1beta/models", params={"key": key}).status_code == 200
    assert httpx.get(f"{served.url}/v1beta/models", params={"key": "tg_wrong"}).status_code == 401
    for request in faults.requests[-2:]:
        assert request.header("x-goog-api-key") == "AIza-own"
        assert key not in f"{request.target}{request.headers}{request.body!r}"
    with pytest.raises(errors.ClientError) as forbidden:
        good.models.generate_content(model="noise", contents="hi")
    assert (forbidden.value.code, forbidden.value.status) == (403, "PERMISSION_DENIED")
    for _ in range(4):
        answer = httpx.post(url, params={"key": key}, json=body)
    assert answer.json()["error"]["status"] == "RESOURCE_EXHAUSTED"


def test_vectors(client: genai.Client, faults: FaultServer) -> None:
    """Of several texts at once, from llama.cpp by way of OpenAI's API, and from a server of this one; what only Google's models
    know of a text is named by an error, or passed on."""
    texts: Any = ["one", "two"]
    for model in ("demo-embed", "native"):
        made = client.models.embed_content(model=model, contents=texts)
        one, two = made.embeddings or []
        assert one.values
        assert two.values
        assert len(one.values) == len(two.values)
        assert one.values != two.values
    single = client.models.embed_content(model="demo-embed", contents="one").embeddings or []
    together = client.models.embed_content(model="demo-embed", contents=texts).embeddings or []
    assert single[0].values == pytest.approx(together[0].values, abs=1e-5)
    config = types.EmbedContentConfig(task_type="RETRIEVAL_QUERY", output_dimensionality=8)
    client.models.embed_content(model="native", contents="q", config=config)
    sent = faults.requests[-1].fields["requests"][0]
    assert (sent["model"], sent["taskType"], sent["outputDimensionality"]) == ("models/native", "RETRIEVAL_QUERY", 8)
    with pytest.raises(errors.ClientError, match=r"requests\[0\]\.taskType"):
        client.models.embed_content(model="demo-embed", contents="q", config=config)


# --- other SDKs, asked of a server of this API


def test_openais_sdk_of_a_gemini_server(gateway: Served, faults: FaultServer) -> None:
    """Chat, tools and embeddings of OpenAI's SDK, answered by a server that speaks Gemini's API only."""
    client = openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="-", max_retries=0)
    made = client.chat.completions.create(model="native", messages=[{"role": "user", "content": "hi"}])
    assert made.choices[0].message.content == "You said: hello there"
    assert made.usage is not None
    assert (made.usage.prompt_tokens, made.usage.prompt_tokens_details.cached_tokens) == (9, 4)  # type: ignore[union-attr]
    faults.script("native", [Tool('{"city":"Rome"}', 0, None, "get_weather"), Finish("stop")])
    function = {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}
    said: list[Any] = [{"role": "user", "content": "weather?"}]
    with client.chat.completions.stream(
        model="native", messages=said, tools=[{"type": "function", "function": function}], n=1
    ) as stream:
        choice = stream.get_final_completion().choices[0]
    assert choice.finish_reason == "tool_calls"
    (call,) = choice.message.tool_calls or []
    assert json.loads(call.function.arguments) == {"city": "Rome"}
    said += [
        choice.message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.id, "content": "sunny"},
    ]
    faults.script("native", ["Sunny."])
    client.chat.completions.create(model="native", messages=said)
    sent = faults.requests[-1].fields["contents"]
    assert sent[1]["parts"][0]["functionCall"]["args"] == {"city": "Rome"}
    assert sent[2]["parts"][0]["functionResponse"]["response"] == {"output": "sunny"}


def test_openais_embeddings_of_a_gemini_server(serve: Serve, faults: FaultServer) -> None:
    """Vectors in order, packed as the SDK asks for them or as numbers, under the alias."""
    google = {"type": "gemini", "api_key": "k", "base_url": f"{faults.url}/v1beta"}
    models = {"embed": {"targets": [{"provider": "google", "model": "ok"}]}}
    served = serve({"providers": {"google": google}, "models": models})
    client = openai.OpenAI(base_url=f"{served.url}/v1", api_key="-", max_retries=0)
    packed = client.embeddings.create(model="embed", input=["one", "two"], dimensions=8)
    plain = client.embeddings.create(model="embed", input=["one", "two"], encoding_format="float")
    assert [item.embedding for item in packed.data] == [pytest.approx(item.embedding) for item in plain.data]
    assert packed.data[0].embedding != packed.data[1].embedding
    assert packed.model == "embed"
    assert packed.usage.prompt_tokens > 0
    sent = faults.requests[-2].fields["requests"][0]
    assert sent == {"model": "models/ok", "content": {"parts": [{"text": "one"}]}, "outputDimensionality": 8}
    with pytest.raises(openai.BadRequestError) as ids:
        client.embeddings.create(model="embed", input=[[1, 2]])
    assert ids.value.param == "input"
