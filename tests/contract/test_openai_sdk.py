"""The official `openai` SDK, unmodified, over a real socket, against a real llama.cpp server behind the gateway."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from gateway.admission.config import KeyEntry, KeyFile
from gateway.admission.keyring import hash_of, new_key, write_key_file
from gateway.demo.fleet import Fleet
from gateway.faults.play import Play, answer
from gateway.faults.server import FaultServer
from tests.fixtures.fleet import Background, Serve, Served


class Person(BaseModel):
    adult: bool


WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@pytest.fixture(scope="module")
def faults(background: Background) -> FaultServer:
    server = FaultServer()
    background.run(server.start())
    return server


@pytest.fixture(scope="module")
def gateway(serve: Serve, fleet: Fleet, faults: FaultServer) -> Served:
    models = {
        name: {"targets": [{"provider": "faults", "model": name}], "retry": {"attempts": 1}}
        for name in ("limited", "broken", "cut", "recovers", "overflow", "fault:error-midway")
    }
    return serve(
        {
            "providers": {**fleet.providers, "faults": {"type": "openai-compatible", "base_url": faults.base_url}},
            "models": {**fleet.models, **models},
        }
    )


@pytest.fixture
def client(gateway: Served) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="-", max_retries=0, timeout=30)


def ask(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def test_a_completion(client: openai.OpenAI) -> None:
    """`chat.completions.create` gives a typed completion with text, finish reason and usage."""
    made = client.chat.completions.create(model="demo", messages=ask("hello there"))
    assert made.choices[0].message.content == "You said: hello there"
    assert made.choices[0].finish_reason == "stop"
    assert made.model == "demo"
    assert made.usage is not None
    assert made.usage.total_tokens == made.usage.prompt_tokens + made.usage.completion_tokens


def test_a_stream(client: openai.OpenAI) -> None:
    """A stream's chunks join to the text; ids are stable; usage comes last, for who asked."""
    chunks = list(
        client.chat.completions.create(
            model="demo", messages=ask("hello there"), stream=True, stream_options={"include_usage": True}
        )
    )
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "You said: hello there"
    assert len({c.id for c in chunks}) == 1
    assert {c.model for c in chunks} == {"demo"}
    assert chunks[-1].usage is not None
    assert chunks[-1].choices == []


async def test_the_async_client_streams_side_by_side(gateway: Served) -> None:
    """Eight streams at once each get their own words."""
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="-", max_retries=0) as client:

        async def one(number: int) -> str:
            pieces = []
            async for chunk in await client.chat.completions.create(
                model="demo", messages=ask(f"number {number}"), stream=True
            ):
                pieces.append(chunk.choices[0].delta.content or "")
            return "".join(pieces)

        said = await asyncio.gather(*(one(number) for number in range(8)))
    assert said == [f"You said: number {number}" for number in range(8)]


def test_the_stream_helper(client: openai.OpenAI) -> None:
    """The SDK's own accumulating stream helper is satisfied with our events."""
    with client.chat.completions.stream(model="demo", messages=ask("hello")) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert {"chunk", "content.delta", "content.done"} <= kinds
    assert final.choices[0].message.content == "You said: hello"


@pytest.mark.parametrize("stream", [False, True])
def test_tools(client: openai.OpenAI, stream: bool) -> None:
    """A tool call comes back with its id, name and arguments; its result is understood in the next turn."""
    messages: list[object] = [*ask("get_weather in Berlin")]
    if stream:
        with client.chat.completions.stream(model="demo", messages=messages, tools=[WEATHER]) as events:
            made = events.get_final_completion()
    else:
        made = client.chat.completions.create(model="demo", messages=messages, tools=[WEATHER])
    assert made.choices[0].finish_reason == "tool_calls"
    (call,) = made.choices[0].message.tool_calls
    assert (call.type, call.function.name) == ("function", "get_weather")
    assert isinstance(json.loads(call.function.arguments), dict)
    messages += [
        made.choices[0].message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.id, "content": "sunny"},
    ]
    after = client.chat.completions.create(model="demo", messages=messages, tools=[WEATHER])
    assert "sunny" in (after.choices[0].message.content or "")


def test_structured_outputs(client: openai.OpenAI) -> None:
    """`parse` with a pydantic model gives an object that fits, from a model of random weights."""
    made = client.chat.completions.parse(
        model="noise", messages=ask("a person"), response_format=Person, max_tokens=200
    )
    assert isinstance(made.choices[0].message.parsed, Person)


def test_several_choices_and_log_probabilities(client: openai.OpenAI) -> None:
    """`n` and `logprobs` come back whole: fields we do not own are kept."""
    made = client.chat.completions.create(
        model="demo", messages=ask("hi"), n=2, logprobs=True, top_logprobs=2, extra_body={"cache_prompt": False}
    )
    assert [choice.index for choice in made.choices] == [0, 1]
    assert made.choices[0].logprobs is not None
    assert len(made.choices[0].logprobs.content[0].top_logprobs) == 2


def test_embeddings_and_models(client: openai.OpenAI) -> None:
    """Vectors in order, base64 or float; aliases in the list; one by its id."""
    made = client.embeddings.create(model="demo-embed", input=["one", "two"])
    assert [item.index for item in made.data] == [0, 1]
    assert len(made.data[0].embedding) == len(made.data[1].embedding) > 0
    assert {"demo", "noise", "demo-embed"} <= {model.id for model in client.models.list()}
    assert client.models.retrieve("demo").id == "demo"


def test_legacy_completions(client: openai.OpenAI) -> None:
    """`completions.create` streams and does not."""
    endless: Any = {"model": "noise", "prompt": "a", "max_tokens": 4, "extra_body": {"ignore_eos": True}}
    whole = client.completions.create(**endless)
    assert whole.choices[0].finish_reason == "length"
    pieces = list(client.completions.create(**endless, stream=True))
    assert pieces[-1].choices[0].finish_reason == "length"


def test_errors_have_the_sdks_own_types(client: openai.OpenAI, faults: FaultServer) -> None:
    """Each fault raises the exception that an application already handles."""
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="dmo", messages=ask("hi"))
    assert (missing.value.code, missing.value.param) == ("model_not_found", "model")
    assert "demo" in missing.value.message
    with pytest.raises(openai.BadRequestError) as wrong:
        client.chat.completions.create(model="demo", messages=[])
    assert wrong.value.param == "messages"
    faults.reply("broken", 500, {"error": {"message": "boom"}})
    with pytest.raises(openai.InternalServerError):
        client.chat.completions.create(model="broken", messages=ask("hi"))
    faults.reply("limited", 429, {"error": {"message": "slow down"}}, retry_after="1")
    with pytest.raises(openai.RateLimitError) as limited:
        client.chat.completions.create(model="limited", messages=ask("hi"))
    assert limited.value.response.headers["retry-after"] == "1"
    faults.sequence("overflow", "400-context")
    with pytest.raises(openai.BadRequestError) as overflow:
        client.chat.completions.create(model="overflow", messages=ask("hi"))
    assert overflow.value.code == "context_length_exceeded"


def test_an_error_inside_a_stream_is_raised(client: openai.OpenAI) -> None:
    """What breaks after the first chunk is an exception in the loop, never a quiet end."""
    with pytest.raises(openai.APIError):
        list(client.chat.completions.create(model="fault:error-midway", messages=ask("hi"), stream=True))


def test_the_sdks_retries_reach_us(gateway: Served, faults: FaultServer) -> None:
    """The SDK retries what we tell it to; the second try answers."""
    faults.sequence("recovers", answer(500, {"error": {"message": "once"}}), Play(["fine"]))
    client = openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="-", max_retries=2)
    made = client.chat.completions.with_raw_response.create(model="recovers", messages=ask("hi"))
    assert made.parse().choices[0].message.content == "fine"
    assert made.retries_taken == 1


def test_keys(serve: Serve, fleet: Fleet, tmp_path: object) -> None:
    """A virtual key is an API key to the SDK: wrong is AuthenticationError, not allowed is PermissionDeniedError."""
    from pathlib import Path

    folder = Path(str(tmp_path))
    key, id = new_key()
    write_key_file(folder / "keys.yaml", KeyFile(keys=[KeyEntry(id=id, hash=hash_of(key), models=["demo"], rpm=2)]))
    served = serve({"providers": fleet.providers, "models": fleet.models, "access": {"keys": "keys.yaml"}}, folder)  # type: ignore[call-arg]
    base = f"{served.url}/v1"
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=base, api_key="tg_wrong", max_retries=0).models.list()
    good = openai.OpenAI(base_url=base, api_key=key, max_retries=0)
    assert [model.id for model in good.models.list()] == ["demo"]
    assert good.chat.completions.create(model="demo", messages=ask("hi")).choices[0].message.content == "You said: hi"
    with pytest.raises(openai.PermissionDeniedError):
        good.chat.completions.create(model="noise", messages=ask("hi"))
    with pytest.raises(openai.RateLimitError) as limited:
        good.chat.completions.create(model="demo", messages=ask("again"))
    assert float(limited.value.response.headers["retry-after"]) >= 1
