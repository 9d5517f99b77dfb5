"""Drives the official `google-genai` SDK."""

from __future__ import annotations

import json
from base64 import b64decode
from functools import cache
from typing import Any

from driving import Job, Saw, drive
from google import genai
from google.genai import types
from pydantic import BaseModel


class Person(BaseModel):
    adult: bool


@cache
def opened(base: str, key: str, retries: int, timeout: float) -> genai.Client:
    again = types.HttpRetryOptions(attempts=1 + retries)
    options = types.HttpOptions(base_url=base, timeout=int(timeout * 1000), retry_options=again)
    return genai.Client(api_key=key, http_options=options)


def client(job: Job) -> genai.Client:
    return opened(job["base"], job["key"], job["retries"], job["timeout"])


def asked(job: Job) -> list[types.Content]:
    parts = [types.Part(text=job["prompt"])]
    if job.get("image"):
        parts.append(types.Part.from_bytes(data=b64decode(job["image"]), mime_type="image/png"))
    return [types.Content(role="user", parts=parts)]


def generated(job: Job, contents: list[types.Content], **more: Any) -> tuple[list[Any], int]:
    """The response, or a stream's chunks, and how many pieces of text it came in."""
    if job.get("tools"):
        declared = [
            types.FunctionDeclaration(
                name=tool["name"], description=tool["description"], parameters_json_schema=tool["parameters"]
            )
            for tool in job["tools"]
        ]
        more["tools"] = [types.Tool(function_declarations=declared)]
        more["automatic_function_calling"] = types.AutomaticFunctionCallingConfig(disable=True)
    more |= {"system_instruction": job["system"]} if job.get("system") else {}
    more |= {"thinking_config": types.ThinkingConfig(include_thoughts=True), **(job.get("extra") or {})}
    given: Any = {"model": job["model"], "contents": contents, "config": types.GenerateContentConfig(**more)}
    api = client(job)
    if not job["stream"]:
        return [api.models.generate_content(**given)], 1
    chunks = list(api.models.generate_content_stream(**given))
    return chunks, sum(bool(texts(chunk, thought=False)) for chunk in chunks)


def parts(chunk: Any) -> list[Any]:
    """No candidates, or one without content: blocked, or the usage alone."""
    content = chunk.candidates[0].content if chunk.candidates else None
    return (content and content.parts) or []


def texts(chunk: Any, *, thought: bool) -> str:
    return "".join(part.text or "" for part in parts(chunk) if bool(part.thought) is thought)


def told(chunks: list[Any]) -> Saw:
    calls = [part.function_call for chunk in chunks for part in parts(chunk) if part.function_call]
    finish = [chunk.candidates[0].finish_reason for chunk in chunks if chunk.candidates]
    usage = chunks[-1].usage_metadata
    return {
        "text": "".join(texts(chunk, thought=False) for chunk in chunks),
        "finish": next((reason.value for reason in reversed(finish) if reason), None),
        "calls": [{"id": call.id, "name": call.name, "args": call.args} for call in calls],
        "usage": usage
        and {
            "input": usage.prompt_token_count,
            "output": usage.candidates_token_count,
            "cached": usage.cached_content_token_count,
        },
        "reasoning": "".join(texts(chunk, thought=True) for chunk in chunks),
        "model": chunks[-1].model_version,
    }


def chat(job: Job) -> Saw:
    chunks, pieces = generated(job, asked(job))
    return {**told(chunks), "pieces": pieces}


def turns(job: Job) -> Saw:
    contents = asked(job)
    chunks, _ = generated(job, contents)
    contents.append(types.Content(role="model", parts=[part for chunk in chunks for part in parts(chunk)]))
    contents.append(types.Content(role="user", parts=[types.Part(text=job["then"])]))
    after, pieces = generated(job, contents)
    return {**told(after), "pieces": pieces, "before": told(chunks)["text"]}


async def later(job: Job) -> Saw:
    given: Any = {"model": job["model"], "contents": asked(job)}
    options = types.HttpOptions(base_url=job["base"])
    async with genai.Client(api_key=job["key"], http_options=options).aio as api:
        if not job["stream"]:
            return {**told([await api.models.generate_content(**given)]), "pieces": 1}
        chunks = [chunk async for chunk in await api.models.generate_content_stream(**given)]
    return {**told(chunks), "pieces": sum(bool(texts(chunk, thought=False)) for chunk in chunks)}


def tools(job: Job) -> Saw:
    contents = asked(job)
    chunks, _ = generated(job, contents)
    saw = told(chunks)
    results = [
        types.Part(
            function_response=types.FunctionResponse(
                id=call["id"], name=call["name"], response={"result": job["result"]}
            )
        )
        for call in saw["calls"]
    ]
    said = [part for chunk in chunks for part in parts(chunk)]
    contents += [types.Content(role="model", parts=said), types.Content(role="user", parts=results)]
    after, _ = generated(job, contents)
    return {**saw, "after": told(after)["text"]}


def structured(job: Job) -> Saw:
    schema: Any = {"response_mime_type": "application/json", "response_schema": Person, "max_output_tokens": 200}
    chunks, _ = generated(job, asked(job), **schema)
    return {"value": json.loads(told(chunks)["text"])}


def embed(job: Job) -> Saw:
    made = client(job).models.embed_content(model=job["model"], contents=job["inputs"])
    return {"count": len(made.embeddings), "dims": len(made.embeddings[0].values)}


def models(job: Job) -> Saw:
    return {"ids": [model.name for model in client(job).models.list()]}


def count(job: Job) -> Saw:
    made = client(job).models.count_tokens(model=job["model"], contents=asked(job))
    return {"usage": {"input": made.total_tokens}}


drive(
    {
        "genai-py": {
            "chat": chat,
            "later": later,
            "turns": turns,
            "tools": tools,
            "object": structured,
            "embed": embed,
            "models": models,
            "count": count,
        }
    },
    ["google-genai"],
)
