"""Drives the official `openai` SDK: chat completions and responses."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import openai
from driving import Job, Saw, drive
from pydantic import BaseModel


class Person(BaseModel):
    adult: bool


@cache
def opened(base: str, key: str, retries: int, timeout: float) -> openai.OpenAI:
    return openai.OpenAI(base_url=base, api_key=key, max_retries=retries, timeout=timeout)


def client(job: Job) -> openai.OpenAI:
    return opened(job["base"], job["key"], job["retries"], job["timeout"])


def messages(job: Job) -> list[Any]:
    system = [{"role": "system", "content": job["system"]}] if job.get("system") else []
    content: Any = job["prompt"]
    if job.get("image"):
        picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{job['image']}"}}
        content = [{"type": "text", "text": content}, picture]
    return [*system, {"role": "user", "content": content}]


def options(job: Job) -> dict[str, Any]:
    tools = [{"type": "function", "function": tool} for tool in job.get("tools", [])]
    return {"model": job["model"], "extra_body": job.get("extra"), **({"tools": tools} if tools else {})}


def usage_of(usage: Any, before: str, after: str, details: str) -> Saw | None:
    detail = getattr(usage, details, None)
    return usage and {
        "input": getattr(usage, before),
        "output": getattr(usage, after),
        "cached": detail and detail.cached_tokens,
    }


def told(completion: Any) -> Saw:
    choice = completion.choices[0]
    calls = [
        {"id": call.id, "name": call.function.name, "args": json.loads(call.function.arguments)}
        for call in choice.message.tool_calls or []
    ]
    usage = usage_of(completion.usage, "prompt_tokens", "completion_tokens", "prompt_tokens_details")
    return {
        "text": choice.message.content,
        "finish": choice.finish_reason,
        "calls": calls,
        "usage": usage,
        "reasoning": getattr(choice.message, "reasoning_content", None),
        "model": completion.model,
    }


def completion(job: Job, said: list[Any]) -> tuple[Any, int]:
    """The completion and how many pieces of text it came in."""
    chat = client(job).chat.completions
    if not job["stream"]:
        return chat.create(messages=said, **options(job)), 1
    with chat.stream(messages=said, stream_options={"include_usage": True}, **options(job)) as stream:
        pieces = sum(event.type == "content.delta" for event in stream)
        return stream.get_final_completion(), pieces


def chat(job: Job) -> Saw:
    made, pieces = completion(job, messages(job))
    return {**told(made), "pieces": pieces}


def chat_turns(job: Job) -> Saw:
    said = messages(job)
    made, _ = completion(job, said)
    said.append(made.choices[0].message.model_dump(exclude_none=True, exclude={"parsed"}))
    after, pieces = completion(job, [*said, {"role": "user", "content": job["then"]}])
    return {**told(after), "pieces": pieces, "before": told(made)["text"]}


def chat_tools(job: Job) -> Saw:
    said = messages(job)
    made, _ = completion(job, said)
    saw = told(made)
    said.append(made.choices[0].message.model_dump(exclude_none=True, exclude={"parsed"}))
    said += [{"role": "tool", "tool_call_id": call["id"], "content": job["result"]} for call in saw["calls"]]
    after, _ = completion(job, said)
    return {**saw, "after": told(after)["text"]}


def chat_object(job: Job) -> Saw:
    given = {"model": job["model"], "messages": messages(job), "response_format": Person, "max_tokens": 200}
    if not job["stream"]:
        made = client(job).chat.completions.parse(**given)
    else:
        with client(job).chat.completions.stream(**given) as stream:
            made = stream.get_final_completion()
    return {"value": made.choices[0].message.parsed.model_dump()}


def later(job: Job) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=job["base"], api_key=job["key"], max_retries=job["retries"])


async def chat_later(job: Job) -> Saw:
    async with later(job) as api:
        made: Any = await api.chat.completions.create(model=job["model"], messages=messages(job), stream=job["stream"])
        if not job["stream"]:
            return {**told(made), "pieces": 1}
        choices = [chunk.choices[0] async for chunk in made]
    texts = [choice.delta.content for choice in choices if choice.delta.content]
    return {"text": "".join(texts), "finish": choices[-1].finish_reason, "pieces": len(texts)}


def embed(job: Job) -> Saw:
    made = client(job).embeddings.create(model=job["model"], input=job["inputs"])
    return {"count": len(made.data), "dims": len(made.data[0].embedding), "usage": {"input": made.usage.prompt_tokens}}


def models(job: Job) -> Saw:
    return {"ids": [model.id for model in client(job).models.list()]}


def response(job: Job, items: list[Any]) -> tuple[Any, int]:
    tools = [{"type": "function", "strict": False, **tool} for tool in job.get("tools", [])]
    given: dict[str, Any] = {"model": job["model"], "input": items, "extra_body": job.get("extra")}
    given |= {"tools": tools} if tools else {}
    given |= {"instructions": job["system"]} if job.get("system") else {}
    api = client(job).responses
    if not job["stream"]:
        return api.create(**given), 1
    with api.stream(**given) as stream:
        pieces = 0
        for event in stream:
            pieces += event.type == "response.output_text.delta"
            if event.type == "response.incomplete":  # the helper takes only a completed response for the final one
                return event.response, pieces
        return stream.get_final_response(), pieces


def response_told(made: Any) -> Saw:
    calls = [
        {"id": item.call_id, "name": item.name, "args": json.loads(item.arguments)}
        for item in made.output
        if item.type == "function_call"
    ]
    finish = made.incomplete_details.reason if made.incomplete_details else made.status
    usage = usage_of(made.usage, "input_tokens", "output_tokens", "input_tokens_details")
    thoughts = [part.text for item in made.output if item.type == "reasoning" for part in item.content or item.summary]
    return {
        "text": made.output_text,
        "finish": finish,
        "calls": calls,
        "usage": usage,
        "reasoning": "".join(thoughts),
        "model": made.model,
    }


def respond(job: Job) -> Saw:
    content: Any = job["prompt"]
    if job.get("image"):
        picture = {"type": "input_image", "detail": "auto", "image_url": f"data:image/png;base64,{job['image']}"}
        content = [{"type": "input_text", "text": content}, picture]
    made, pieces = response(job, [{"role": "user", "content": content}])
    return {**response_told(made), "pieces": pieces}


def respond_turns(job: Job) -> Saw:
    items: list[Any] = [{"role": "user", "content": job["prompt"]}]
    made, _ = response(job, items)
    items += [item.to_dict() for item in made.output]
    after, pieces = response(job, [*items, {"role": "user", "content": job["then"]}])
    return {**response_told(after), "pieces": pieces, "before": made.output_text}


def respond_tools(job: Job) -> Saw:
    items: list[Any] = [{"role": "user", "content": job["prompt"]}]
    made, _ = response(job, items)
    saw = response_told(made)
    items += [item.to_dict() for item in made.output]
    items += [{"type": "function_call_output", "call_id": call["id"], "output": job["result"]} for call in saw["calls"]]
    after, _ = response(job, items)
    return {**saw, "after": response_told(after)["text"]}


async def respond_later(job: Job) -> Saw:
    async with later(job) as api:
        made: Any = await api.responses.create(model=job["model"], input=job["prompt"], stream=job["stream"])
        if not job["stream"]:
            return {**response_told(made), "pieces": 1}
        events = [event async for event in made]
    texts = [event.delta for event in events if event.type == "response.output_text.delta"]
    return {"text": "".join(texts), "finish": events[-1].response.status, "pieces": len(texts)}


def respond_object(job: Job) -> Saw:
    given = {"model": job["model"], "input": job["prompt"], "text_format": Person, "max_output_tokens": 200}
    if not job["stream"]:
        return {"value": client(job).responses.parse(**given).output_parsed.model_dump()}
    with client(job).responses.stream(**given) as stream:
        return {"value": stream.get_final_response().output_parsed.model_dump()}


drive(
    {
        "openai-py": {
            "chat": chat,
            "later": chat_later,
            "turns": chat_turns,
            "tools": chat_tools,
            "object": chat_object,
            "embed": embed,
            "models": models,
        },
        "openai-py-responses": {
            "chat": respond,
            "later": respond_later,
            "turns": respond_turns,
            "tools": respond_tools,
            "object": respond_object,
        },
    },
    ["openai"],
)
