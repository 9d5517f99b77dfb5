"""A folded answer as one OpenAI body: `chat.completion` or `text_completion`."""

from __future__ import annotations

from typing import Any

from gateway.core.response import CallRecord, ChoiceRecord, Response, merge_extra
from gateway.dialects.openai_extra import unwrap, usage_object
from gateway.dialects.openai_writer import reason_for

_MARKS = frozenset({"index", "type", "id", "name", "format", "role"})
"""Strings that name things and are repeated whole, not continued, from delta to delta."""


def render_chat(response: Response, alias: str, fallback_id: str, now: int) -> dict[str, Any]:
    """`alias` is the model's name for the client; `fallback_id` and `now` (Unix seconds) fill what the upstream left out."""
    found = response.choices or {0: ChoiceRecord()}  # clients index `choices[0]`
    choices = [_chat_choice(index, choice) for index, choice in sorted(found.items())]
    return _body("chat.completion", response, choices, alias, fallback_id, now)


def render_text(response: Response, alias: str, fallback_id: str, now: int) -> dict[str, Any]:
    choices = [
        {"text": choice.text or "", "index": index, "logprobs": None, **_choice_end(choice)}
        for index, choice in sorted(response.choices.items())
    ]
    return _body("text_completion", response, choices, alias, fallback_id, now)


def _body(
    wire_object: str, response: Response, choices: list[dict[str, Any]], alias: str, fallback_id: str, now: int
) -> dict[str, Any]:
    body: dict[str, Any] = {
        "id": response.id or fallback_id,
        "object": wire_object,
        "created": response.created or now,
        "model": alias,
        "choices": choices,
    }
    if response.usage is not None:
        body["usage"] = usage_object(response.usage)
        body.update(unwrap(response.usage.extra))
    for choice in response.choices.values():
        for extra in (choice.extra, choice.finish_extra):
            body.update(unwrap(extra).get("chunk") or {})
    for name, value in unwrap(response.extra).items():
        body.setdefault(name, value)
    return body


def _chat_choice(index: int, choice: ChoiceRecord) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant"}
    refused = unwrap(choice.extra).get("refusal") is True
    tools = {number: call for number, call in sorted(choice.calls.items()) if _kind(call) != "function_call"}
    silent = None if choice.calls or refused else ""
    message["content"] = silent if refused or not choice.text else choice.text
    message["refusal"] = choice.text if refused else None
    if choice.reasoning is not None:
        named = unwrap(choice.extra).get("as")
        for name in {"reasoning": ("reasoning",), "both": ("reasoning_content", "reasoning")}.get(
            named or "", ("reasoning_content",)
        ):
            message[name] = choice.reasoning
    if tools:
        message["tool_calls"] = [_call(call, index, number) for number, call in tools.items()]
    for call in choice.calls.values():
        if _kind(call) == "function_call":
            message["function_call"] = {"name": call.name, "arguments": call.arguments}
    unknown: dict[str, Any] = {}
    for fields in choice.unknown:
        accumulate(unknown, unwrap(fields))
    for name, value in unknown.items():
        if message.get(name) is None:
            message[name] = value
    return {"index": index, "message": message, "logprobs": None, **_choice_end(choice)}


def _choice_end(choice: ChoiceRecord) -> dict[str, Any]:
    fields = merge_extra(unwrap(choice.extra).get("choice"), unwrap(choice.finish_extra).get("choice"))
    return {**(fields or {}), "finish_reason": choice.finish or reason_for(bool(choice.calls))}


def _kind(call: CallRecord) -> str:
    kind: str = unwrap(call.extra).get("type", "function")
    return kind


def _call(call: CallRecord, index: int, number: int) -> dict[str, Any]:
    own = unwrap(call.extra)
    kind = _kind(call)
    inner = {"name": call.name, "input" if kind == "custom" else "arguments": call.arguments}
    inner.update(own.get("function") or {})
    return {"id": call.id or f"call_{index}_{number}", "type": kind, kind: inner, **(own.get("call") or {})}


def accumulate(into: dict[str, Any], delta: dict[str, Any]) -> None:
    """Joins deltas no codec knows the way OpenAI's own SDK does (`lib/streaming/_deltas.py`): strings are continued,
    lists extended or, where their items have an `index`, merged item by item."""
    for name, value in delta.items():
        before = into.get(name)
        if isinstance(before, str) and isinstance(value, str) and name not in _MARKS:
            into[name] = before + value
        elif isinstance(before, dict) and isinstance(value, dict):
            accumulate(before, value)
        elif isinstance(before, list) and isinstance(value, list):
            _extend(before, value)
        else:
            into[name] = _copy(value)


def _extend(into: list[Any], items: list[Any]) -> None:
    for item in items:
        at = item.get("index") if isinstance(item, dict) else None
        same = next((old for old in into if at is not None and isinstance(old, dict) and old.get("index") == at), None)
        if same is not None and isinstance(item, dict):
            accumulate(same, item)
        else:
            into.append(_copy(item))


def _copy(value: Any) -> Any:
    """Containers are copied, so that joining never writes into an event."""
    if isinstance(value, dict):
        return {name: _copy(item) for name, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value
