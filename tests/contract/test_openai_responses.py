"""The official `openai` SDK's Responses API, unmodified, over a real socket: a real llama.cpp server behind the gateway is
asked for chat completions, and, as the model `native`, in its own responses API."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from gateway.demo.fleet import Fleet
from gateway.faults.server import FaultServer
from tests.fixtures.fleet import Background, Serve, Served


class Person(BaseModel):
    adult: bool


WEATHER: Any = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather in a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    "strict": False,
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
        for name in ("limited", "broken", "overflow", "seen", "fault:error-midway")
    }
    providers = fleet.providers
    (target,) = fleet.models["demo"]["targets"]
    models["native"] = {"targets": [{"provider": "native", "model": target["model"]}]}
    return serve(
        {
            "providers": {
                **providers,
                "native": {**providers[target["provider"]], "native": ["responses"]},
                "faults": {"type": "openai-compatible", "base_url": faults.base_url},
            },
            "models": {**fleet.models, **models},
        }
    )


@pytest.fixture
def client(gateway: Served) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="-", max_retries=0, timeout=30)


BOTH = pytest.mark.parametrize("model", ["demo", "native"])


@BOTH
def test_a_response(client: openai.OpenAI, model: str) -> None:
    """`responses.create` gives a typed response with text, status and usage; nothing is said to be stored."""
    made = client.responses.create(model=model, input="hello there")
    assert made.output_text == "You said: hello there"
    assert (made.object, made.model, made.status, made.error) == ("response", model, "completed", None)
    assert made.to_dict()["store"] is False
    assert made.usage is not None
    assert made.usage.total_tokens == made.usage.input_tokens + made.usage.output_tokens > 0


@BOTH
def test_a_stream(client: openai.OpenAI, model: str) -> None:
    """A stream begins with `response.created`, is numbered without a gap, and ends with `response.completed`."""
    events = list(client.responses.create(model=model, input="hello there", stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert [events[0].type, events[-1].type] == ["response.created", "response.completed"]
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == "You said: hello there"
    (done,) = [event for event in events if event.type == "response.output_text.done"]
    assert done.text == events[-1].response.output_text == "You said: hello there"
    assert len({event.response.id for event in events if hasattr(event, "response")}) == 1


@BOTH
def test_the_stream_helper(client: openai.OpenAI, model: str) -> None:
    """The SDK's own accumulating helper, which checks identities and order, is satisfied with our events."""
    with client.responses.stream(model=model, input="hello") as stream:
        snapshots = [event.snapshot for event in stream if event.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert snapshots[-1] == final.output_text == "You said: hello"


@BOTH
@pytest.mark.parametrize("stream", [False, True])
def test_tools(client: openai.OpenAI, stream: bool, model: str) -> None:
    """A call comes back with its id, name and arguments; its result, beside the items given back, is understood."""
    items: Any = [{"role": "user", "content": "get_weather in Berlin"}]
    if stream:
        with client.responses.stream(model=model, input=items, tools=[WEATHER]) as events:
            made: Any = events.get_final_response()
    else:
        made = client.responses.create(model=model, input=items, tools=[WEATHER])
    (call,) = [item for item in made.output if item.type == "function_call"]
    assert (call.name, call.status) == ("get_weather", "completed")
    assert isinstance(json.loads(call.arguments), dict)
    items += [item.to_dict() for item in made.output]
    items.append({"type": "function_call_output", "call_id": call.call_id, "output": "sunny"})
    after = client.responses.create(model=model, input=items, tools=[WEATHER])
    assert "sunny" in after.output_text


def test_structured_outputs(client: openai.OpenAI) -> None:
    """`parse` with a pydantic model gives an object that fits, from a model of random weights."""
    made = client.responses.parse(model="noise", input="a person", text_format=Person, max_output_tokens=200)
    assert isinstance(made.output_parsed, Person)


@pytest.mark.parametrize("stream", [False, True])
def test_a_length_stop(client: openai.OpenAI, stream: bool) -> None:
    """An answer cut by `max_output_tokens` is incomplete and says why."""
    if stream:
        last: Any = list(client.responses.create(model="demo", input="count to 50", max_output_tokens=16, stream=True))[
            -1
        ]
        assert last.type == "response.incomplete"
        made = last.response
    else:
        made = client.responses.create(model="demo", input="count to 50", max_output_tokens=16)
    assert made.status == "incomplete"
    assert made.incomplete_details.reason == "max_output_tokens"


def test_a_conversation_in_the_input(client: openai.OpenAI, faults: FaultServer) -> None:
    """Instructions, earlier items and images arrive in the chat's shape; encrypted reasoning of another provider does not."""
    faults.script("seen", ["ok"])
    client.responses.create(
        model="seen",
        instructions="Be brief.",
        include=["reasoning.encrypted_content"],
        store=False,
        reasoning={"effort": "low"},
        input=[
            {"role": "user", "content": [{"type": "input_text", "text": "one"}]},
            {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "c2VjcmV0"},
            {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
            {"type": "function_call", "call_id": "c2", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": "r1"},
            {"type": "function_call_output", "call_id": "c2", "output": "r2"},
            {
                "role": "user",
                "content": [{"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "low"}],
            },
        ],
    )
    sent = json.loads(faults.requests[-1].body)
    assert b"c2VjcmV0" not in faults.requests[-1].body
    assert [message["role"] for message in sent["messages"]] == [
        "system", "user", "assistant", "tool", "tool", "user",
    ]  # fmt: skip
    assert [call["id"] for call in sent["messages"][2]["tool_calls"]] == ["c1", "c2"]
    assert sent["messages"][5]["content"][0]["image_url"]["url"] == "data:image/png;base64,AA=="
    assert sent["reasoning_effort"] == "low"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"store": True}, "store"),
        ({"background": True}, "background"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0]"),
        ({"input": [{"role": "nobody", "content": "hi"}]}, "input[0].role"),
        ({"input": [{"type": "local_shell_call", "id": "1"}]}, "input[0]"),
        ({"tools": [WEATHER, {"type": "web_search"}]}, "tools[1]"),
        ({"text": {"verbosity": "low"}}, "text.verbosity"),
        ({"truncation": "auto"}, "truncation"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(client: openai.OpenAI, fields: dict[str, Any], param: str) -> None:
    """What refers to something stored, and what has no counterpart in chat completions, is a 400 that names the field."""
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(**{"model": "demo", "input": "hi", **fields})
    assert refused.value.param == param


def test_errors_have_the_sdks_own_types(client: openai.OpenAI, faults: FaultServer) -> None:
    """Each fault before the first event raises the exception that an application already handles."""
    with pytest.raises(openai.NotFoundError) as missing:
        client.responses.create(model="dmo", input="hi")
    assert (missing.value.code, missing.value.param) == ("model_not_found", "model")
    faults.reply("broken", 500, {"error": {"message": "boom"}})
    with pytest.raises(openai.InternalServerError):
        client.responses.create(model="broken", input="hi", stream=True)
    faults.reply("limited", 429, {"error": {"message": "slow down"}}, retry_after="1")
    with pytest.raises(openai.RateLimitError) as limited:
        client.responses.create(model="limited", input="hi")
    assert limited.value.response.headers["retry-after"] == "1"
    faults.sequence("overflow", "400-context")
    with pytest.raises(openai.BadRequestError) as overflow:
        client.responses.create(model="overflow", input="hi")
    assert overflow.value.code == "context_length_exceeded"


def test_a_stream_that_breaks_is_failed_and_never_completed(client: openai.OpenAI) -> None:
    """What breaks after the first event ends in `response.failed`, with what was said until then."""
    events: list[Any] = list(client.responses.create(model="fault:error-midway", input="hi", stream=True))
    assert events[-1].type == "response.failed"
    assert events[-1].response.error.message
    assert "response.completed" not in {event.type for event in events}
    assert [event.sequence_number for event in events] == list(range(len(events)))
