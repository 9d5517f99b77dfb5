"""Drives the official `anthropic` SDK."""

from __future__ import annotations

from functools import cache
from typing import Any

import anthropic
from driving import Job, Saw, drive
from pydantic import BaseModel


class Person(BaseModel):
    adult: bool


@cache
def opened(base: str, key: str, retries: int, timeout: float) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=base, api_key=key, max_retries=retries, timeout=timeout)


def client(job: Job) -> anthropic.Anthropic:
    return opened(job["base"], job["key"], job["retries"], job["timeout"])


def asked(job: Job) -> list[Any]:
    content: Any = [{"type": "text", "text": job["prompt"]}]
    if job.get("image"):
        source = {"type": "base64", "media_type": "image/png", "data": job["image"]}
        content.append({"type": "image", "source": source})
    return [{"role": "user", "content": content}]


def message(job: Job, said: list[Any]) -> tuple[Any, int]:
    """The message and how many pieces of text it came in."""
    tools = [
        {"name": tool["name"], "description": tool["description"], "input_schema": tool["parameters"]}
        for tool in job.get("tools", [])
    ]
    given: dict[str, Any] = {"model": job["model"], "max_tokens": 512, "messages": said, "extra_body": job.get("extra")}
    given |= {"tools": tools} if tools else {}
    given |= {"system": job["system"]} if job.get("system") else {}
    api = client(job).messages
    if not job["stream"]:
        return api.create(**given), 1
    with api.stream(**given) as stream:
        pieces = sum(event.type == "text" for event in stream)
        return stream.get_final_message(), pieces


def told(made: Any) -> Saw:
    calls = [
        {"id": block.id, "name": block.name, "args": block.input} for block in made.content if block.type == "tool_use"
    ]
    text = "".join(block.text for block in made.content if block.type == "text")
    usage = {
        "input": made.usage.input_tokens,
        "output": made.usage.output_tokens,
        "cached": made.usage.cache_read_input_tokens,
    }
    thoughts = [block.thinking for block in made.content if block.type == "thinking"]
    return {
        "text": text,
        "finish": made.stop_reason,
        "calls": calls,
        "usage": usage,
        "reasoning": "".join(thoughts),
        "model": made.model,
    }


def chat(job: Job) -> Saw:
    made, pieces = message(job, asked(job))
    return {**told(made), "pieces": pieces}


def turns(job: Job) -> Saw:
    said = asked(job)
    made, _ = message(job, said)
    said += [{"role": "assistant", "content": made.content}, {"role": "user", "content": job["then"]}]
    after, pieces = message(job, said)
    return {**told(after), "pieces": pieces, "before": told(made)["text"]}


async def later(job: Job) -> Saw:
    given: Any = {"model": job["model"], "max_tokens": 64, "messages": asked(job)}
    async with anthropic.AsyncAnthropic(base_url=job["base"], api_key=job["key"], max_retries=job["retries"]) as api:
        if not job["stream"]:
            return {**told(await api.messages.create(**given)), "pieces": 1}
        async with api.messages.stream(**given) as stream:
            texts = [text async for text in stream.text_stream]
            return {**told(await stream.get_final_message()), "pieces": len(texts)}


def tools(job: Job) -> Saw:
    said = asked(job)
    made, _ = message(job, said)
    saw = told(made)
    results = [{"type": "tool_result", "tool_use_id": call["id"], "content": job["result"]} for call in saw["calls"]]
    said += [{"role": "assistant", "content": made.content}, {"role": "user", "content": results}]
    after, _ = message(job, said)
    return {**saw, "after": told(after)["text"]}


def structured(job: Job) -> Saw:
    given: Any = {"model": job["model"], "max_tokens": 200, "messages": asked(job), "output_format": Person}
    if not job["stream"]:
        return {"value": client(job).messages.parse(**given).parsed_output.model_dump()}
    with client(job).messages.stream(**given) as stream:
        return {"value": stream.get_final_message().parsed_output.model_dump()}


def models(job: Job) -> Saw:
    return {"ids": [model.id for model in client(job).models.list()]}


def count(job: Job) -> Saw:
    return {"usage": {"input": client(job).messages.count_tokens(model=job["model"], messages=asked(job)).input_tokens}}


drive(
    {
        "anthropic-py": {
            "chat": chat,
            "later": later,
            "turns": turns,
            "tools": tools,
            "object": structured,
            "models": models,
            "count": count,
        }
    },
    ["anthropic"],
)
