"""A gateway before a server that misbehaves, and what a client saw of one answer, in the words of no dialect."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from gateway import config as configuration
from gateway.app import Gateway
from gateway.core.errors import NAMES, GatewayFault
from gateway.core.receipt import Receipt
from gateway.faults.server import FaultServer
from gateway.telemetry import logs
from tests.fixtures.dialects import DIALECTS
from tests.fixtures.gateway import Ledger, Talk, running, settings
from tests.fixtures.raw_client import CHAT, MESSAGES, until

PATHS = {"openai": CHAT, "anthropic": MESSAGES, "gemini": "/v1beta/models/{model}:{verb}"}
FAULT_OF = {name: fault for fault, name in NAMES.items()}
PATIENCE = {"connect": "5s", "ttft": "2s", "idle": "2s", "total": "4s"}
"""Long enough for a loaded machine to begin every answer that does begin, short enough to wait for those that do not."""
PAUSE = 0.01
CLIENT_WAIT = 60.0
STOPS = {
    "anthropic": {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"},
    "gemini": {"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP", "content_filter": "SAFETY"},
}
"""OpenAI's words for how an answer ended, and those of the others."""


@dataclass(frozen=True)
class Saw:
    """What the client got. `error`: the fields that say what went wrong. `marks`: what claims that the answer is whole: the
    reasons it gives for its end, and the dialect's terminal event."""

    status: int
    text: str
    error: dict[str, Any] | None
    marks: tuple[str, ...]
    raw: bytes
    id: str


def told_as(dialect: str, fault: type[GatewayFault]) -> tuple[str, ...]:
    """What in an error object names this fault: its type, and where it has one its code."""
    wire = fault.wire
    if dialect == "gemini":
        error = json.loads(DIALECTS[dialect].error(fault("x"), ""))["error"]
        return _gemini_error(error)["type"], _gemini_error(error)["code"]
    return (wire.anthropic_type,) if dialect == "anthropic" else (wire.openai_type, str(wire.openai_code))


def of_reply(dialect: str, reply: httpx.Response) -> Saw:
    raw = reply.content
    read = _stream if reply.headers["content-type"].startswith("text/event-stream") else _body
    text, error, marks = read(dialect, raw)
    assert "x-request-id" in reply.headers, (reply.status_code, raw[:300])
    shown = raw + repr(reply.headers.raw).encode()
    return Saw(reply.status_code, text, error, tuple(marks), shown, reply.headers["x-request-id"])


def _body(dialect: str, raw: bytes) -> tuple[str, dict[str, Any] | None, list[str]]:
    body = json.loads(raw)
    if "error" in body:
        return "", _gemini_error(body["error"]) if dialect == "gemini" else body["error"], []
    if dialect == "gemini":
        return _gemini([body])
    if dialect == "anthropic":
        text = "".join(block["text"] for block in body["content"] if block["type"] == "text")
        return text, None, [body["stop_reason"], "whole"]
    message = body["choices"][0]["message"]
    said = message.get("content") or message.get("refusal") or ""
    return said, None, [body["choices"][0]["finish_reason"], "whole"]


def _stream(dialect: str, raw: bytes) -> tuple[str, dict[str, Any] | None, list[str]]:
    events = list(data_of(raw))
    return {"openai": _openai, "anthropic": _anthropic, "gemini": _gemini}[dialect](events)


def data_of(raw: bytes) -> Iterable[Any]:
    for line in raw.decode().split("\n"):
        if line.startswith("data: "):
            yield line[6:] if line[6:] == "[DONE]" else json.loads(line[6:])


def _openai(events: list[Any]) -> tuple[str, dict[str, Any] | None, list[str]]:
    text, error, marks = "", None, []
    for event in events:
        if event == "[DONE]":
            marks.append("whole")
            continue
        error = event.get("error") or error
        for choice in event.get("choices", ()):
            text += choice["delta"].get("content") or choice["delta"].get("refusal") or ""
            if choice.get("finish_reason"):
                marks.append(choice["finish_reason"])
    return text, error, marks


def _anthropic(events: list[Any]) -> tuple[str, dict[str, Any] | None, list[str]]:
    text, error, marks = "", None, []
    for event in events:
        kind = event["type"]
        if kind == "error":
            error = event["error"]
        elif kind == "message_stop":
            marks.append("whole")
        elif kind == "message_delta" and event["delta"].get("stop_reason"):
            marks.append(event["delta"]["stop_reason"])
        elif kind == "content_block_delta":
            text += event["delta"].get("text", "")
    return text, error, marks


def _gemini(events: list[Any]) -> tuple[str, dict[str, Any] | None, list[str]]:
    """A stream has no terminal event: the finish reason, with no error after it, is what claims that the answer is whole."""
    text, error, marks = "", None, []
    for event in events:
        error = _gemini_error(event["error"]) if "error" in event else error
        for candidate in event.get("candidates", ()):
            parts = candidate.get("content", {}).get("parts", ())
            text += "".join(part.get("text", "") for part in parts if not part.get("thought"))
            if candidate.get("finishReason"):
                marks.append(candidate["finishReason"])
    return text, error, [*marks, "whole"] if marks and error is None else marks


def _gemini_error(error: dict[str, Any]) -> dict[str, Any]:
    return {"message": error["message"], "type": error["status"], "code": error["details"][0]["reason"]}


class World(Talk):
    """Adds: a question in any dialect, many at a time, each with the receipt it left."""

    async def see(self, dialect: str, model: str, stream: bool, text: str = "hi") -> Saw:
        if dialect == "gemini":
            verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
            contents = [{"role": "user", "parts": [{"text": text}]}]
            path = PATHS[dialect].format(model=model, verb=verb)
            return of_reply(dialect, await self.http.post(path, json={"contents": contents}))
        body = {"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": 99, "stream": stream}
        return of_reply(dialect, await self.http.post(PATHS[dialect], json=body))

    async def receipts(self, count: int) -> dict[str, Receipt]:
        """All of them by id, when `count` exchanges have ended."""
        await until(lambda: len(self.ledger.all) >= count and not len(self.gateway.aftermath))
        assert len(self.ledger.all) == count
        return {receipt.id: receipt for receipt in self.ledger.all}


@asynccontextmanager
async def world(base: Path, models: dict[str, Any], **types: str) -> AsyncIterator[World]:
    """`models`: more entries of that section; `up` is the server that misbehaves, `two` the one that does not. `types`: more
    names for the first, as providers of other types."""
    async with FaultServer(pause=PAUSE) as upstream, FaultServer() as spare:
        spare.script("m", ["from spare"])
        more = {
            name: {"type": kind, "api_key": "sk-test", "base_url": upstream.base_url} for name, kind in types.items()
        }
        config = configuration.of_value(settings(upstream, spare, models=models, providers=more), base)
        ledger = Ledger()
        gateway = Gateway(config, base, logger=logs.setup("off"), recorders=[ledger])
        limits = httpx.Limits(max_connections=64)
        async with running(gateway) as url, httpx.AsyncClient(base_url=url, timeout=CLIENT_WAIT, limits=limits) as http:
            yield World(gateway, url, upstream, spare, ledger, http)


async def gathered(tasks: Iterable[Any], most: int = 48) -> list[Any]:
    """The results, in order, of at most `most` at one time."""
    places = asyncio.Semaphore(most)

    async def one(task: Any) -> Any:
        async with places:
            return await task

    return await asyncio.gather(*(one(task) for task in tasks))
