"""What `tidegate redteam` says and hears in Gemini's dialect. Like the other forms, apart from the gateway's own codec."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal

from guardrails.redteam.corpus import Probe

Body = dict[str, Any]
Heard = tuple[str, Literal["", "whole", "blocked", "failed", "unreadable"]]


def body(probe: Probe, asked: str, tool: Body, most: int) -> Body:
    """`asked`, and the call of a `tool` after it: where the probe comes as that tool's result."""
    contents: list[Body] = [{"role": "user", "parts": [{"text": probe.text}]}]
    if probe.carry == "tool":
        result = {"name": "lookup", "response": {"output": probe.text}}
        contents = [
            {"role": "user", "parts": [{"text": asked}]},
            {"role": "model", "parts": [{"functionCall": {"name": "lookup", "args": tool}}]},
            {"role": "user", "parts": [{"functionResponse": result}]},
        ]
    more = {"systemInstruction": {"parts": [{"text": probe.system}]}} if probe.system else {}
    return {"contents": contents, "generationConfig": {"maxOutputTokens": most}, **more}


def told(event: Body) -> Iterator[Heard]:
    """Of a whole answer, or one event of a stream: they have one shape, and the reason for the end is all that ends one."""
    if "error" in event:
        yield "", "failed"
    for candidate in event.get("candidates", ()):
        for part in (candidate.get("content") or {}).get("parts") or ():
            yield part.get("text") or "", ""
            if "functionCall" in part:
                yield json.dumps(part["functionCall"].get("args"), ensure_ascii=False), ""
        if candidate.get("finishReason"):
            yield "", "blocked" if candidate["finishReason"] == "SAFETY" else "whole"
    if (event.get("promptFeedback") or {}).get("blockReason"):
        yield "", "blocked"
