"""Drives LiteLLM's client with the prefixes `openai/` and `litellm_proxy/`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial
from typing import Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # before the import: otherwise it asks the network for prices

import litellm
from driving import Job, Kit, Saw, drive
from pydantic import BaseModel

litellm.telemetry = False
litellm.suppress_debug_info = True


class Person(BaseModel):
    adult: bool


def options(prefix: str, job: Job) -> dict[str, Any]:
    return {"model": f"{prefix}/{job['model']}", "api_base": job["base"], "api_key": job["key"]}


def asked(job: Job) -> list[Any]:
    system = [{"role": "system", "content": job["system"]}] if job.get("system") else []
    content: Any = job["prompt"]
    if job.get("image"):
        picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{job['image']}"}}
        content = [{"type": "text", "text": content}, picture]
    return [*system, {"role": "user", "content": content}]


def completion(prefix: str, job: Job, messages: list[Any], **more: Any) -> tuple[Any, int]:
    """The completion, or what LiteLLM builds of a stream's chunks, and how many pieces of text it came in."""
    if job.get("tools"):
        more["tools"] = [{"type": "function", "function": tool} for tool in job["tools"]]
    more |= {"timeout": job["timeout"], "max_retries": job["retries"], **(job.get("extra") or {})}
    if not job["stream"]:
        return litellm.completion(messages=messages, **options(prefix, job), **more), 1
    more["stream_options"] = {"include_usage": True}
    chunks = list(litellm.completion(messages=messages, stream=True, **options(prefix, job), **more))
    pieces = sum(bool(chunk.choices and chunk.choices[0].delta.content) for chunk in chunks)
    return litellm.stream_chunk_builder(chunks, messages=messages), pieces


def told(made: Any) -> Saw:
    choice = made.choices[0]
    calls = [
        {"id": call.id, "name": call.function.name, "args": json.loads(call.function.arguments)}
        for call in choice.message.tool_calls or []
    ]
    detail = made.usage.prompt_tokens_details
    usage = {
        "input": made.usage.prompt_tokens,
        "output": made.usage.completion_tokens,
        "cached": detail and detail.cached_tokens,
    }
    return {
        "text": choice.message.content,
        "finish": choice.finish_reason,
        "calls": calls,
        "usage": usage,
        "reasoning": getattr(choice.message, "reasoning_content", None),
        "model": made.model,
    }


def chat(prefix: str, job: Job) -> Saw:
    made, pieces = completion(prefix, job, asked(job))
    return {**told(made), "pieces": pieces}


def turns(prefix: str, job: Job) -> Saw:
    messages = asked(job)
    made, _ = completion(prefix, job, messages)
    messages.append(made.choices[0].message.model_dump(exclude_none=True))
    after, pieces = completion(prefix, job, [*messages, {"role": "user", "content": job["then"]}])
    return {**told(after), "pieces": pieces, "before": told(made)["text"]}


async def later(prefix: str, job: Job) -> Saw:
    given = {**options(prefix, job), "messages": asked(job), "max_retries": job["retries"]}
    made = await litellm.acompletion(stream=job["stream"], **given)
    if not job["stream"]:
        return {**told(made), "pieces": 1}
    chunks = [chunk async for chunk in made]
    pieces = sum(bool(chunk.choices and chunk.choices[0].delta.content) for chunk in chunks)
    return {**told(litellm.stream_chunk_builder(chunks)), "pieces": pieces}


def tools(prefix: str, job: Job) -> Saw:
    messages = asked(job)
    made, _ = completion(prefix, job, messages)
    saw = told(made)
    messages.append(made.choices[0].message.model_dump(exclude_none=True))
    messages += [{"role": "tool", "tool_call_id": call["id"], "content": job["result"]} for call in saw["calls"]]
    after, _ = completion(prefix, job, messages)
    return {**saw, "after": told(after)["text"]}


def structured(prefix: str, job: Job) -> Saw:
    made, _ = completion(prefix, job, asked(job), response_format=Person, max_tokens=200)
    return {"value": json.loads(made.choices[0].message.content)}


def embed(prefix: str, job: Job) -> Saw:
    made = litellm.embedding(input=job["inputs"], **options(prefix, job))
    return {"count": len(made.data), "dims": len(made.data[0]["embedding"])}


def models(job: Job) -> Saw:
    return {
        "ids": litellm.get_valid_models(
            check_provider_endpoint=True, custom_llm_provider="litellm_proxy", api_base=job["base"], api_key=job["key"]
        )
    }


def kit(prefix: str) -> dict[str, Callable[[Job], Saw]]:
    done = {"chat": chat, "later": later, "turns": turns, "tools": tools, "object": structured, "embed": embed}
    return {name: partial(do, prefix) for name, do in done.items()}


KITS: dict[str, Kit] = {"litellm-openai": kit("openai"), "litellm-proxy": {**kit("litellm_proxy"), "models": models}}
drive(KITS, ["litellm"])
