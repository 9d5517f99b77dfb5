"""The OpenAI wire: chat chunks, chat bodies, errors, embeddings; Gemini's, where a request's path is. Bytes out, no more."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gateway.faults import wire_gemini
from gateway.faults.record import Received
from gateway.faults.steps import Chat, Done, Finish, Reasoning, Refusal, Text, Tool, Usage

CREATED = 1_700_000_000
VECTOR = 8  # numbers in an embedding


def encode(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def event(value: Mapping[str, Any]) -> bytes:
    """One SSE event."""
    return b"data: " + encode(value) + b"\n\n"


def chunk(asked: Received, item: Chat) -> bytes:
    """The SSE event of a chat item, as the answer to ``asked``; empty for a usage that nobody asked for."""
    if asked.gemini:
        return wire_gemini.chunk(asked, item)
    if isinstance(item, Done):
        return b"data: [DONE]\n\n"
    if isinstance(item, Usage):
        if not (asked.wants_usage or item.unasked):
            return b""
        return event({**_envelope(asked, "chat.completion.chunk"), "choices": [], "usage": usage(item)})
    reason, counted = (item.reason, item.usage) if isinstance(item, Finish) else (None, None)
    choice = {"index": 0, "delta": _delta(item), "logprobs": None, "finish_reason": reason}
    body = {**_envelope(asked, "chat.completion.chunk"), "choices": [choice]}
    if counted or asked.wants_usage:  # OpenAI sends null in every chunk but the last, once usage was asked for
        body["usage"] = usage(counted) if counted else None
    return event(body)


def role(asked: Received) -> bytes:
    """The first event of a stream: the role and no text. Gemini's streams have none."""
    if asked.gemini:
        return b""
    choice = {"index": 0, "delta": {"role": "assistant", "content": ""}, "logprobs": None, "finish_reason": None}
    body: dict[str, Any] = {**_envelope(asked, "chat.completion.chunk"), "choices": [choice]}
    if asked.wants_usage:
        body["usage"] = None
    return event(body)


def _delta(item: Chat) -> dict[str, Any]:
    match item:
        case Text(text):
            return {"content": text}
        case Reasoning(text):
            return {"reasoning_content": text}
        case Refusal(text):
            return {"refusal": text}
        case Tool():
            call: dict[str, Any] = {"index": item.index, "function": {"arguments": item.arguments}}
            if item.id is not None:
                call |= {"id": item.id, "type": "function"}
            if item.name is not None:
                call["function"] = {"name": item.name, "arguments": item.arguments}
            return {"tool_calls": [call]}
        case _:
            return {}


def body(asked: Received, items: Iterable[Chat]) -> bytes:
    """The JSON body that says at once what a stream of ``items`` says bit by bit."""
    if asked.gemini:
        return wire_gemini.body(asked, items)
    text: dict[type, list[str]] = {Text: [], Reasoning: [], Refusal: []}
    calls: dict[int, dict[str, Any]] = {}
    finish, counted = Finish(), Usage()
    for item in items:
        if isinstance(item, Text | Reasoning | Refusal):
            text[type(item)].append(item.text)
        elif isinstance(item, Tool):
            call = calls.setdefault(
                item.index, {"id": "", "type": "function", "function": {"name": "", "arguments": ""}}
            )
            call["id"] = item.id or call["id"]
            call["function"]["name"] = item.name or call["function"]["name"]
            call["function"]["arguments"] += item.arguments
        elif isinstance(item, Finish):
            finish = item
        elif isinstance(item, Usage):
            counted = item
    message: dict[str, Any] = {"role": "assistant", "content": "".join(text[Text]) if text[Text] or not calls else None}
    message["refusal"] = "".join(text[Refusal]) if text[Refusal] else None
    if text[Reasoning]:
        message["reasoning_content"] = "".join(text[Reasoning])
    if calls:
        message["tool_calls"] = [calls[index] for index in sorted(calls)]
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish.reason}
    return encode({**_envelope(asked, "chat.completion"), "choices": [choice], "usage": usage(finish.usage or counted)})


def usage(counted: Usage) -> dict[str, Any]:
    total = counted.prompt + counted.completion
    return {
        "prompt_tokens": counted.prompt,
        "completion_tokens": counted.completion,
        "total_tokens": total,
        "prompt_tokens_details": {"cached_tokens": counted.cached},
    }


def error(message: str, kind: str, code: str | None = None) -> dict[str, Any]:
    """An error object in OpenAI's shape."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def embeddings(asked: Received) -> bytes:
    """One vector for each input, made from a checksum of its text: equal texts, equal vectors."""
    given = asked.fields.get("input", "")
    inputs: Sequence[Any] = given if isinstance(given, list) else [given]
    data = [{"object": "embedding", "index": at, "embedding": _vector(encode(text))} for at, text in enumerate(inputs)]
    counted = {"prompt_tokens": len(inputs), "total_tokens": len(inputs)}
    return encode({"object": "list", "data": data, "model": asked.model, "usage": counted})


def _vector(content: bytes) -> list[float]:
    return [zlib.crc32(content, at) / 2**32 for at in range(VECTOR)]


def models(names: Iterable[str]) -> bytes:
    listed = [{"id": name, "object": "model", "created": CREATED, "owned_by": "faults"} for name in names]
    return encode({"object": "list", "data": listed})


def _envelope(asked: Received, kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{asked.number}", "object": kind, "created": CREATED, "model": asked.model}
