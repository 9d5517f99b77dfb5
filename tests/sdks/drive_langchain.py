"""Drives LangChain's `ChatOpenAI` (chat completions and responses), `OpenAIEmbeddings` and `ChatAnthropic`."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

from driving import Job, Kit, Saw, drive
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage, SystemMessage, ToolMessage
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel

os.environ["LANGSMITH_TRACING"] = "false"

Make = Callable[[Job], Any]


class Person(BaseModel):
    """A person."""

    adult: bool


def chat_openai(job: Job, *, responses: bool = False) -> ChatOpenAI:
    extra = job.get("extra") or {}
    return ChatOpenAI(
        base_url=job["base"],
        api_key=job["key"],
        model=job["model"],
        max_retries=job["retries"],
        timeout=job["timeout"],
        stream_usage=True,
        use_responses_api=responses,
        **(extra if responses else {"extra_body": extra or None}),
    )


def chat_anthropic(job: Job) -> ChatAnthropic:
    return ChatAnthropic(
        base_url=job["base"],
        api_key=job["key"],
        model=job["model"],
        max_retries=job["retries"],
        timeout=job["timeout"],
        max_tokens=2048,
        **(job.get("extra") or {}),
    )


def asked(job: Job) -> list[Any]:
    system = [SystemMessage(job["system"])] if job.get("system") else []
    content: list[Any] = [{"type": "text", "text": job["prompt"]}]
    if job.get("image"):
        content.append({"type": "image", "base64": job["image"], "mime_type": "image/png"})
    return [*system, HumanMessage(content)]


def answered(make: Make, job: Job, messages: list[Any]) -> tuple[Any, int]:
    """The message, or the sum of a stream's chunks, and how many pieces of text it came in."""
    model = make(job)
    if job.get("tools"):
        model = model.bind_tools([{"type": "function", "function": tool} for tool in job["tools"]])
    if not job["stream"]:
        return model.invoke(messages), 1
    total, pieces = None, 0
    for chunk in model.stream(messages):
        total = chunk if total is None else total + chunk
        pieces += bool(chunk.text)
    return total, pieces


def told(made: Any) -> Saw:
    facts = made.response_metadata
    detail = facts.get("incomplete_details") or {}
    finish = detail.get("reason") or facts.get("finish_reason") or facts.get("stop_reason") or facts.get("status")
    usage = made.usage_metadata
    return {
        "text": made.text,
        "finish": finish,
        "calls": [{"id": call["id"], "name": call["name"], "args": call["args"]} for call in made.tool_calls],
        "usage": usage
        and {
            "input": usage["input_tokens"],
            "output": usage["output_tokens"],
            "cached": usage.get("input_token_details", {}).get("cache_read"),
        },
        "reasoning": "".join(
            block.get("reasoning", "") for block in made.content_blocks if block["type"] == "reasoning"
        ),
        "model": facts.get("model_name"),
    }


def chat(make: Make, job: Job) -> Saw:
    made, pieces = answered(make, job, asked(job))
    return {**told(made), "pieces": pieces}


def turns(make: Make, job: Job) -> Saw:
    messages = asked(job)
    made, _ = answered(make, job, messages)
    after, pieces = answered(make, job, [*messages, made, HumanMessage(job["then"])])
    return {**told(after), "pieces": pieces, "before": made.text}


async def later(make: Make, job: Job) -> Saw:
    model = make(job)
    if not job["stream"]:
        return {**told(await model.ainvoke(asked(job))), "pieces": 1}
    chunks = [chunk async for chunk in model.astream(asked(job))]
    return {**told(sum(chunks[1:], chunks[0])), "pieces": sum(bool(chunk.text) for chunk in chunks)}


def tools(make: Make, job: Job) -> Saw:
    messages = asked(job)
    made, _ = answered(make, job, messages)
    saw = told(made)
    messages += [made, *(ToolMessage(job["result"], tool_call_id=call["id"]) for call in saw["calls"])]
    after, _ = answered(make, job, messages)
    return {**saw, "after": told(after)["text"]}


def structured(make: Make, job: Job) -> Saw:
    """By schema; and by a call that the model must make, of one that calls what it is given."""
    values = []
    for method, name in (("json_schema", job["model"]), ("function_calling", job["caller"])):
        model = make({**job, "model": name}).with_structured_output(Person, method=method)
        if job["stream"]:
            values.append(list(model.stream(asked(job)))[-1].model_dump())
        else:
            values.append(model.invoke(asked(job)).model_dump())
    return {"value": values[0], "again": values[1]}


def embed(job: Job) -> Saw:
    model = OpenAIEmbeddings(
        base_url=job["base"], api_key=job["key"], model=job["model"], check_embedding_ctx_length=False
    )
    made = model.embed_documents(job["inputs"])
    return {"count": len(made), "dims": len(made[0])}


def kit(make: Make) -> dict[str, Callable[[Job], Saw]]:
    done = {"chat": chat, "later": later, "turns": turns, "tools": tools, "object": structured}
    return {name: partial(do, make) for name, do in done.items()}


KITS: dict[str, Kit] = {
    "langchain-openai": {**kit(chat_openai), "embed": embed},
    "langchain-openai-responses": kit(partial(chat_openai, responses=True)),
    "langchain-anthropic": kit(chat_anthropic),
}
drive(KITS, ["langchain-openai", "langchain-anthropic"])
