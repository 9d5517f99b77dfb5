"""The official `anthropic` SDK, unmodified, over a real socket, against a real llama.cpp server behind the gateway: through
translation to chat completions, and as it is to the server's own messages API."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import anthropic
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


WEATHER: Any = {
    "name": "get_weather",
    "description": "The weather in a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


@pytest.fixture(scope="module")
def faults(background: Background) -> FaultServer:
    server = FaultServer()
    background.run(server.start())
    return server


def config(fleet: Fleet, faults: FaultServer) -> dict[str, Any]:
    """The demo's models, a `native` one that is asked in this dialect, and models that fail as scripted."""
    models = {
        name: {"targets": [{"provider": "faults", "model": name}], "retry": {"attempts": 1}}
        for name in ("limited", "broken", "busy", "recovers", "overflow", "fault:error-midway")
    }
    (target,) = fleet.models["demo"]["targets"]
    base = fleet.providers[target["provider"]]["endpoints"][0]
    return {
        "providers": {
            **fleet.providers,
            "faults": {"type": "openai-compatible", "base_url": faults.base_url},
            "messages": {"type": "anthropic", "base_url": base, "api_key": "-"},
        },
        "models": {
            **fleet.models,
            **models,
            "native": {"targets": [{"provider": "messages", "model": target["model"]}]},
        },
    }


@pytest.fixture(scope="module")
def gateway(serve: Serve, fleet: Fleet, faults: FaultServer) -> Served:
    return serve(config(fleet, faults))


@pytest.fixture
def client(gateway: Served) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=gateway.url, api_key="-", max_retries=0, timeout=30)


def ask(text: str) -> Any:
    return [{"role": "user", "content": text}]


def text_of(message: Any) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


BOTH = pytest.mark.parametrize("model", ["demo", "native"])


@BOTH
def test_a_message(client: anthropic.Anthropic, model: str) -> None:
    """`messages.create` gives a typed message with text, stop reason and usage, translated or not."""
    made = client.messages.create(model=model, max_tokens=64, messages=ask("hello there"))
    assert text_of(made) == "You said: hello there"
    assert (made.type, made.role, made.model, made.stop_reason) == ("message", "assistant", model, "end_turn")
    assert made.usage.input_tokens > 0
    assert made.usage.output_tokens > 0
    assert made._request_id


@BOTH
def test_a_stream(client: anthropic.Anthropic, model: str) -> None:
    """A stream begins with `message_start`, ends with `message_stop`, and its deltas join to the text."""
    events = list(client.messages.create(model=model, max_tokens=64, messages=ask("hello there"), stream=True))
    kinds = [event.type for event in events if event.type != "ping"]
    assert kinds[0] == "message_start"
    assert kinds[-2:] == ["message_delta", "message_stop"]
    assert "".join(e.delta.text for e in events if e.type == "content_block_delta") == "You said: hello there"
    (start,) = [event for event in events if event.type == "message_start"]
    assert start.message.model == model


@BOTH
def test_the_stream_helper(client: anthropic.Anthropic, model: str) -> None:
    """The SDK's own accumulating helper is satisfied with our events, and counts the tokens told."""
    with client.messages.stream(model=model, max_tokens=64, messages=ask("hello")) as stream:
        said = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert said == text_of(final) == "You said: hello"
    assert final.stop_reason == "end_turn"
    assert final.usage.output_tokens > 0


async def test_the_async_client_streams_side_by_side(gateway: Served) -> None:
    """Eight streams at once each get their own words."""
    async with anthropic.AsyncAnthropic(base_url=gateway.url, api_key="-", max_retries=0) as client:

        async def one(number: int) -> str:
            async with client.messages.stream(model="demo", max_tokens=64, messages=ask(f"number {number}")) as stream:
                return "".join([piece async for piece in stream.text_stream])

        said = await asyncio.gather(*(one(number) for number in range(8)))
    assert said == [f"You said: number {number}" for number in range(8)]


@BOTH
@pytest.mark.parametrize("stream", [False, True])
def test_tools(client: anthropic.Anthropic, stream: bool, model: str) -> None:
    """A tool call comes back with its id, name and input; its result is understood in the next turn."""
    messages: Any = [*ask("get_weather in Berlin")]
    if stream:
        with client.messages.stream(model=model, max_tokens=512, messages=messages, tools=[WEATHER]) as events:
            made = events.get_final_message()
    else:
        made = client.messages.create(model=model, max_tokens=512, messages=messages, tools=[WEATHER])
    assert made.stop_reason == "tool_use"
    (call,) = [block for block in made.content if block.type == "tool_use"]
    assert call.name == "get_weather"
    assert isinstance(call.input, dict)
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}
    messages += [{"role": "assistant", "content": made.content}, {"role": "user", "content": [result]}]
    after = client.messages.create(model=model, max_tokens=512, messages=messages, tools=[WEATHER])
    assert "sunny" in text_of(after)


def test_a_system_prompt_reaches_the_model(client: anthropic.Anthropic, faults: FaultServer) -> None:
    """`system`, as text or as blocks with cache marks, arrives as the first message at an OpenAI-shaped upstream."""
    faults.script("busy", ["ok"])
    blocks: Any = [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]
    for system in ("Be brief.", blocks):
        client.messages.create(model="busy", max_tokens=8, system=system, messages=ask("hi"))
        assert b'{"role":"system","content":"Be brief."}' in faults.requests[-1].body


def test_structured_outputs(client: anthropic.Anthropic) -> None:
    """`parse` with a pydantic model gives an object that fits, from a model of random weights."""
    made = client.messages.parse(model="noise", max_tokens=200, messages=ask("a person"), output_format=Person)
    assert isinstance(made.parsed_output, Person)


def test_a_length_stop(client: anthropic.Anthropic) -> None:
    """An answer cut by `max_tokens` says so."""
    made = client.messages.create(model="demo", max_tokens=4, messages=ask("count to 50"))
    assert made.stop_reason == "max_tokens"


@pytest.mark.parametrize("root", ["", "/anthropic"])
def test_models(gateway: Served, root: str) -> None:
    """Aliases in the list, as typed models; one by its id; under the alias path too."""
    client = anthropic.Anthropic(base_url=gateway.url + root, api_key="-", max_retries=0)
    assert {"demo", "noise", "native"} <= {model.id for model in client.models.list()}
    one = client.models.retrieve("demo")
    assert (one.type, one.id, one.display_name) == ("model", "demo", "demo")
    with pytest.raises(anthropic.NotFoundError):
        client.models.retrieve("dmo")


def test_errors_have_the_sdks_own_types(client: anthropic.Anthropic, faults: FaultServer) -> None:
    """Each fault raises the exception that an application already handles, with this dialect's word for it."""

    def create(model: str, **fields: Any) -> Any:
        return client.messages.create(**{"model": model, "max_tokens": 8, "messages": ask("hi"), **fields})

    with pytest.raises(anthropic.NotFoundError) as missing:
        create("dmo")
    assert kind_of(missing.value) == "not_found_error"
    assert "demo" in str(missing.value)
    with pytest.raises(anthropic.BadRequestError) as wrong:
        create("demo", messages=[])
    assert kind_of(wrong.value) == "invalid_request_error"
    with pytest.raises(anthropic.BadRequestError) as untold:
        create("demo", thinking={"type": "enabled", "budget_tokens": 1024})
    assert "thinking" in str(untold.value)
    faults.reply("broken", 500, {"error": {"message": "boom"}})
    with pytest.raises(anthropic.InternalServerError) as broken:
        create("broken")
    assert kind_of(broken.value) == "api_error"
    faults.reply("limited", 429, {"error": {"message": "slow down"}}, retry_after="1")
    with pytest.raises(anthropic.RateLimitError) as limited:
        create("limited")
    assert limited.value.response.headers["retry-after"] == "1"
    faults.sequence("overflow", "400-context")
    with pytest.raises(anthropic.BadRequestError) as overflow:
        create("overflow")
    assert overflow.value.request_id


def kind_of(error: anthropic.APIStatusError) -> str:
    body: Any = error.body
    return str(body["error"]["type"])


def test_an_error_inside_a_stream_is_raised(client: anthropic.Anthropic) -> None:
    """What breaks after the first event is an exception in the loop, never a quiet end."""
    with pytest.raises(anthropic.APIError):
        list(client.messages.create(model="fault:error-midway", max_tokens=8, messages=ask("hi"), stream=True))


def test_the_sdks_retries_reach_us(gateway: Served, faults: FaultServer) -> None:
    """The SDK retries what we tell it to; the second try answers."""
    faults.sequence("recovers", answer(500, {"error": {"message": "once"}}), Play(["fine"]))
    client = anthropic.Anthropic(base_url=gateway.url, api_key="-", max_retries=2)
    made = client.messages.with_raw_response.create(model="recovers", max_tokens=8, messages=ask("hi"))
    assert text_of(made.parse()) == "fine"
    assert made.retries_taken == 1


def test_keys(serve: Serve, fleet: Fleet, tmp_path: Path) -> None:
    """A virtual key is an API key to the SDK, as key or as bearer token; wrong or not allowed has its own exception."""
    key, id = new_key()
    write_key_file(tmp_path / "keys.yaml", KeyFile(keys=[KeyEntry(id=id, hash=hash_of(key), models=["demo"], rpm=2)]))
    served = serve({"providers": fleet.providers, "models": fleet.models, "access": {"keys": "keys.yaml"}}, tmp_path)  # type: ignore[call-arg]
    with pytest.raises(anthropic.AuthenticationError):
        anthropic.Anthropic(base_url=served.url, api_key="tg_wrong", max_retries=0).models.list()
    good = anthropic.Anthropic(base_url=served.url, api_key=key, max_retries=0)
    assert [model.id for model in good.models.list()] == ["demo"]
    assert text_of(good.messages.create(model="demo", max_tokens=64, messages=ask("hi"))) == "You said: hi"
    bearer = anthropic.Anthropic(base_url=served.url, auth_token=key, max_retries=0)
    with pytest.raises(anthropic.PermissionDeniedError):
        bearer.messages.create(model="noise", max_tokens=8, messages=ask("hi"))
    with pytest.raises(anthropic.RateLimitError) as limited:
        good.messages.create(model="demo", max_tokens=8, messages=ask("again"))
    assert float(limited.value.response.headers["retry-after"]) >= 1


def test_tokens_are_counted(client: anthropic.Anthropic, fleet: Fleet) -> None:
    """A provider of this dialect counts for itself; for another the gateway estimates, and says so."""
    told: Any = {"system": "Be brief.", "messages": ask("hello there " * 50), "tools": [WEATHER]}
    exact = client.messages.count_tokens(model="native", **told)
    rough = client.messages.count_tokens(model="demo", **told)
    made = client.messages.create(model="native", max_tokens=1, **told)
    assert exact.input_tokens == made.usage.input_tokens + (made.usage.cache_read_input_tokens or 0)
    assert "estimated" not in exact.to_dict()
    assert rough.to_dict()["estimated"] is True
    assert rough.input_tokens > 100
    with pytest.raises(anthropic.NotFoundError):
        client.messages.count_tokens(model="dmo", **told)
    with pytest.raises(anthropic.BadRequestError):
        client.messages.count_tokens(model="demo", messages=[])
