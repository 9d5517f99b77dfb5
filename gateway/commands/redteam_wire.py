"""What `tidegate redteam` says and hears, in each dialect: a request from a probe, and what a client is shown of the
answer. Written from the client's side, apart from the gateway's own codecs: what is measured must not be the measure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal
from urllib.parse import quote

import msgspec

from gateway.commands import redteam_gemini
from gateway.dialects.sse_parser import SseParser
from guardrails.redteam.corpus import Probe

Body = dict[str, Any]
Ending = Literal["", "whole", "blocked", "failed", "unreadable"]
Heard = tuple[str, Ending]
"""A piece of what is shown, and how the answer ended, if it did."""

MOST_TOKENS = 256
"""Asked for in an answer."""
_ASKED = "When is the shop open on Saturdays?"
_TOOL = {"query": "opening hours"}
_SCHEMA = {"type": "object", "properties": {"query": {"type": "string"}}}


class Form(msgspec.Struct, frozen=True):
    """One dialect. `path` may hold the model as `{model}`; `streaming` is the path of a stream, where it is another. `body`:
    model, probe, streamed or not. `whole`: a body that was not streamed. `event`: one event's data, decoded."""

    path: str
    body: Callable[[str, Probe, bool], Body]
    whole: Callable[[Body], Iterator[Heard]]
    event: Callable[[Body], Iterator[Heard]]
    headers: tuple[tuple[str, str], ...] = ()
    streaming: str = ""

    def at(self, model: str, stream: bool) -> str:
        path = self.streaming if stream and self.streaming else self.path
        return path.replace("{model}", quote(model, safe=""))


def heard(form: Form, data: bytes, streamed: bool) -> tuple[str, Ending]:
    """Everything that is shown, joined, and how it ended: a stop or a failure outlasts what comes after it. What was shown
    before something that cannot be read was shown all the same."""
    pieces: list[str] = []
    ending: Ending = ""
    try:
        for piece, end in _events(form, data) if streamed else form.whole(json.loads(data)):
            pieces.append(piece)
            if end and ending not in ("blocked", "failed"):
                ending = end
        return "".join(pieces), ending
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return "".join(part for part in pieces if type(part) is str), ending or "unreadable"


def _events(form: Form, data: bytes) -> Iterator[Heard]:
    parser = SseParser()
    for _, payload in [*parser.feed(data), *parser.close()]:
        if payload == b"[DONE]":
            yield "", "whole"
        else:
            yield from form.event(json.loads(payload))


# --- chat completions


def _chat_body(model: str, probe: Probe, stream: bool) -> Body:
    messages: list[Body] = [{"role": "system", "content": probe.system}] if probe.system else []
    if probe.carry == "tool":
        call = {"id": "call_1", "type": "function", "function": {"name": "lookup", "arguments": json.dumps(_TOOL)}}
        messages += [
            {"role": "user", "content": _ASKED},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "call_1", "content": probe.text},
        ]
    else:
        messages.append({"role": "user", "content": probe.text})
    return {"model": model, "messages": messages, "max_tokens": MOST_TOKENS, "stream": stream}


def _chat_whole(body: Body) -> Iterator[Heard]:
    for choice in body["choices"]:
        yield from _message(choice["message"])
        yield "", "blocked" if choice.get("finish_reason") == "content_filter" else "whole"


def _chat_event(event: Body) -> Iterator[Heard]:
    if "error" in event:
        yield "", "failed"
    for choice in event.get("choices", ()):
        yield from _message(choice.get("delta") or {})
        if choice.get("finish_reason") == "content_filter":
            yield "", "blocked"


def _message(message: Body) -> Iterator[Heard]:
    for name in ("reasoning_content", "reasoning", "content", "refusal"):
        if isinstance(message.get(name), str):
            yield message[name], ""
    for call in message.get("tool_calls") or ():
        yield (call.get("function") or {}).get("arguments") or "", ""


# --- messages


def _messages_body(model: str, probe: Probe, stream: bool) -> Body:
    messages: list[Body] = [{"role": "user", "content": probe.text}]
    more: Body = {"system": probe.system} if probe.system else {}
    if probe.carry == "tool":
        messages = [
            {"role": "user", "content": _ASKED},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "lookup", "input": _TOOL}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": probe.text}]},
        ]
        more["tools"] = [{"name": "lookup", "input_schema": _SCHEMA}]  # Anthropic wants to know every tool it reads of
    return {"model": model, "max_tokens": MOST_TOKENS, "messages": messages, "stream": stream, **more}


def _messages_whole(body: Body) -> Iterator[Heard]:
    for block in body["content"]:
        yield block.get("text") or block.get("thinking") or "", ""
        if "input" in block:
            yield json.dumps(block["input"], ensure_ascii=False), ""
    yield "", "blocked" if body.get("stop_reason") == "refusal" else "whole"


def _messages_event(event: Body) -> Iterator[Heard]:
    kind, delta = event.get("type"), event.get("delta") or {}
    if kind == "content_block_delta":
        yield delta.get("text") or delta.get("thinking") or delta.get("partial_json") or "", ""
    elif kind == "message_delta" and delta.get("stop_reason") == "refusal":
        yield "", "blocked"
    elif kind == "message_stop":
        yield "", "whole"
    elif kind == "error":
        yield "", "failed"


# --- responses


def _responses_body(model: str, probe: Probe, stream: bool) -> Body:
    items: list[Body] = [{"role": "user", "content": probe.text}]
    if probe.carry == "tool":
        items = [
            {"role": "user", "content": _ASKED},
            {"type": "function_call", "call_id": "call_1", "name": "lookup", "arguments": json.dumps(_TOOL)},
            {"type": "function_call_output", "call_id": "call_1", "output": probe.text},
        ]
    more = {"instructions": probe.system} if probe.system else {}
    return {"model": model, "input": items, "max_output_tokens": MOST_TOKENS, "stream": stream, "store": False, **more}


def _responses_whole(body: Body) -> Iterator[Heard]:
    for item in body["output"]:
        for part in (*(item.get("content") or ()), *(item.get("summary") or ())):
            yield part.get("text") or part.get("refusal") or "", ""
        yield item.get("arguments") or "", ""
    yield "", _status(body)


def _responses_event(event: Body) -> Iterator[Heard]:
    kind = event.get("type", "")
    if kind.endswith(".delta") and isinstance(event.get("delta"), str):
        yield event["delta"], ""
    elif kind in ("response.completed", "response.incomplete", "response.failed"):
        yield "", _status(event["response"])
    elif kind == "error":
        yield "", "failed"


def _status(response: Body) -> Ending:
    if response.get("status") == "failed":
        return "failed"
    return "blocked" if (response.get("incomplete_details") or {}).get("reason") == "content_filter" else "whole"


FORMS: Mapping[str, Form] = {
    "openai": Form("/chat/completions", _chat_body, _chat_whole, _chat_event),
    "anthropic": Form(
        "/messages", _messages_body, _messages_whole, _messages_event, (("anthropic-version", "2023-06-01"),)
    ),
    "responses": Form("/responses", _responses_body, _responses_whole, _responses_event),
    "gemini": Form(
        "/models/{model}:generateContent",
        lambda _model, probe, _stream: redteam_gemini.body(probe, _ASKED, _TOOL, MOST_TOKENS),
        redteam_gemini.told,
        redteam_gemini.told,
        streaming="/models/{model}:streamGenerateContent?alt=sse",
    ),
}
"""By dialect."""


def code_of(data: bytes) -> str:
    """The error's code, or its type where the dialect has no codes; empty for what is no error of ours."""
    try:
        error = json.loads(data)["error"]
        if "details" in error:  # Google's codes are statuses; ours is among the details
            return str(error["details"][0]["reason"]).lower()[:40]
        return str(error.get("code") or error["type"])[:40]
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""


def checks_of(headers: Mapping[str, str]) -> dict[str, str]:
    """Check to action, of `x-tidegate-guardrails`. A check may be there twice: its last word counts (a stopped answer that
    was tried again and passed), save that what did not run on one side outlasts what ran on the other."""
    found: dict[str, str] = {}
    for item in headers.get("x-tidegate-guardrails", "").split(","):
        name, _, action = item.strip().partition("=")
        if name and found.get(name) != "not_scanned":
            found[name] = action.partition(":")[0]
    return found


def degraded_of(headers: Mapping[str, str]) -> Sequence[str]:
    return [name for name in headers.get("x-tidegate-degraded", "").split(",") if name]
