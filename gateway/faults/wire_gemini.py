"""Gemini's wire, for requests whose path ends in `:generateContent` and its like: the same items, said in its events."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from gateway.faults.steps import Chat, Done, Finish, Reasoning, Refusal, Text, Tool, Usage

if TYPE_CHECKING:
    from gateway.faults.record import Received

VECTOR = 8  # numbers in an embedding
TOKENS = 42  # of any prompt that is counted
WORDS = {"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP", "content_filter": "SAFETY"}
_PATH = re.compile(
    r".*/models/(.+):(generateContent|streamGenerateContent|countTokens|batchEmbedContents|embedContent)"
)


def called(path: str) -> tuple[str, str] | None:
    """The model and the verb of a path of this API."""
    match = _PATH.fullmatch(unquote(path))
    return (match[1], match[2]) if match else None


def encode(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def chunk(asked: Received, item: Chat) -> bytes:
    """The event of an item. A call is told whole in this API, so later fragments of one say nothing. The usage comes with
    the finish reason; only another than the usual one has an event of its own."""
    if isinstance(item, Done) or item == Usage() or (isinstance(item, Tool) and item.name is None):
        return b""
    body: dict[str, Any] = {}
    if isinstance(item, Usage):
        body["usageMetadata"] = usage(item)
    elif isinstance(item, Finish):
        body["candidates"] = [_candidate([{"text": ""}], item.reason)]
        body["usageMetadata"] = usage(item.usage or Usage())
    else:
        body["candidates"] = [_candidate([_part(item)])]
    return b"data: " + encode({**body, **_envelope(asked)}) + b"\n\n"


def body(asked: Received, items: Iterable[Chat]) -> bytes:
    """The body that says at once what a stream of `items` says bit by bit."""
    parts: list[dict[str, Any]] = []
    finish, counted = Finish(), Usage()
    for item in items:
        if isinstance(item, Finish):
            finish = item
        elif isinstance(item, Usage):
            counted = item
        elif isinstance(item, Tool) and item.name is None:
            parts[-1]["functionCall"]["args"] |= json.loads(item.arguments or "{}")
        elif not isinstance(item, Done):
            part = _part(item)
            if parts and "text" in part and parts[-1].keys() == part.keys():
                parts[-1]["text"] += part["text"]
            else:
                parts.append(part)
    told = {"candidates": [_candidate(parts, finish.reason)], "usageMetadata": usage(finish.usage or counted)}
    return encode({**told, **_envelope(asked)})


def other(asked: Received, verb: str) -> Mapping[str, Any] | None:
    """Bodies that no script says: a count, and one vector for each text, equal for equal texts."""
    if verb == "countTokens":
        return {"totalTokens": TOKENS}
    if verb == "batchEmbedContents":
        given = asked.fields.get("requests") or []
        return {"embeddings": [{"values": _vector(encode(one.get("content")))} for one in given]}
    if verb == "embedContent":
        return {"embedding": {"values": _vector(encode(asked.fields.get("content")))}}
    return None


def usage(counted: Usage) -> dict[str, Any]:
    told = {"promptTokenCount": counted.prompt, "candidatesTokenCount": counted.completion}
    if counted.cached:
        told["cachedContentTokenCount"] = counted.cached
    return {**told, "totalTokenCount": counted.prompt + counted.completion}


def _part(item: Chat) -> dict[str, Any]:
    match item:
        case Text(text) | Refusal(text):
            return {"text": text}
        case Reasoning(text):
            return {"text": text, "thought": True}
        case Tool():
            call: dict[str, Any] = {"name": item.name, "args": json.loads(item.arguments or "{}")}
            return {"functionCall": {"id": item.id, **call} if item.id else call}
    return {}


def _candidate(parts: list[dict[str, Any]], reason: str = "") -> dict[str, Any]:
    told: dict[str, Any] = {"content": {"parts": parts, "role": "model"}, "index": 0}
    return {**told, "finishReason": WORDS.get(reason, reason)} if reason else told


def _envelope(asked: Received) -> dict[str, Any]:
    return {"modelVersion": asked.model, "responseId": f"resp-{asked.number}"}


def _vector(content: bytes) -> list[float]:
    return [zlib.crc32(content, at) / 2**32 for at in range(VECTOR)]
