"""One choice of a streamed chunk, read: chat deltas, and the text of legacy completions."""

from __future__ import annotations

from typing import Any

from gateway.core.events import ChoiceFinished, Event, Extra, Reasoning, Text, ToolCall, Unknown
from gateway.dialects.json_codec import encode
from gateway.dialects.openai_extra import empty, wrap
from gateway.dialects.openai_inlet import MAX_CALLS, MAX_CHOICES, ChoiceState

_CHAT_FIELDS = frozenset({"index", "delta", "finish_reason"})
_TEXT_FIELDS = frozenset({"index", "text", "finish_reason"})
_DELTA_FIELDS = frozenset(
    {"role", "content", "reasoning_content", "reasoning", "refusal", "tool_calls", "function_call"}
)
_REASONING = frozenset({"reasoning_content", "reasoning"})
_CALL_FIELDS = frozenset({"index", "id", "type", "function", "custom"})

LEGACY_CALL = MAX_CALLS
"""Call number of the old `function_call`, of which a choice has at most one; out of the way of `tool_calls`."""


def read_chat_choice(choice: dict[str, Any], state: ChoiceState, events: list[Event], rest: Extra | None) -> bool:
    """A `ReadChoice`."""
    index = choice.get("index", 0)
    delta = choice.get("delta")
    reason = choice.get("finish_reason")
    extra = None if rest is None and choice.keys() <= _CHAT_FIELDS else _extra(choice, _CHAT_FIELDS, rest)
    if type(delta) is dict:
        content = delta.get("content")
        if len(delta) == 1 and reason is None and type(content) is str and content and index in state.texts:
            events.append(Text(content, index, wrap(extra) if extra else None))
            return True
    else:
        delta = {}
    _check(index)
    state.seen.add(index)
    before = len(events)
    clean = _delta(delta, index, state, events, extra)
    return _finish(reason, index, state, events, extra, len(events) > before) and clean


def read_text_choice(choice: dict[str, Any], state: ChoiceState, events: list[Event], rest: Extra | None) -> bool:
    """A `ReadChoice`, for `/v1/completions`."""
    index = choice.get("index", 0)
    _check(index)
    state.seen.add(index)
    extra = _extra(choice, _TEXT_FIELDS, rest)
    text = choice.get("text")
    if text:
        events.append(Text(text, index, wrap(extra)))
    return _finish(choice.get("finish_reason"), index, state, events, extra, bool(text))


def _extra(choice: dict[str, Any], known: frozenset[str], rest: Extra | None) -> Extra | None:
    fields: Extra | None = None
    for name in choice:
        if name not in known:
            value = choice[name]
            if not empty(value):
                fields = fields or {}
                fields[name] = value
    if fields is None and rest is None:
        return None
    out: Extra = {}
    if fields:
        out["choice"] = fields
    if rest:
        out["chunk"] = rest
    return out


def _check(index: Any) -> None:
    if type(index) is not int or not 0 <= index < MAX_CHOICES:
        raise ValueError("a choice's index is not a small whole number")


def _finish(
    reason: Any, index: int, state: ChoiceState, events: list[Event], extra: Extra | None, carried: bool
) -> bool:
    """Ends the choice once. What no other event of this choice carried rides here, or on an empty text."""
    if not reason:
        if extra and not carried:
            events.append(Text("", index, wrap(extra)))
        return True
    if index in state.finished:
        return False
    state.finished.add(index)
    events.append(ChoiceFinished(str(reason), index, None if carried else wrap(extra)))
    return True


def _delta(delta: dict[str, Any], index: int, state: ChoiceState, events: list[Event], extra: Extra | None) -> bool:
    """The events of one delta, always in one order: reasoning, text, refusal, calls, the unknown."""
    clean = True
    if delta.get("role"):
        clean = index not in state.roles
    elif index not in state.roles:
        clean = not delta
    if delta:
        state.roles.add(index)
    first = len(events)
    _reasoning(delta, index, events)
    content = delta.get("content")
    if type(content) is str:
        if content:
            events.append(Text(content, index))
            state.texts.add(index)
    elif type(content) is list:
        _content_parts(content, index, events)
    elif content is not None:
        raise ValueError("content is neither text nor a list")  # relayed as it came, no check would have seen it
    if delta.get("refusal"):
        events.append(_refusal(delta["refusal"], index, state))
    if delta.get("tool_calls"):
        clean = _tool_calls(delta["tool_calls"], index, state, events) and clean
    if delta.get("function_call"):
        events.append(_function_call(delta["function_call"], index, state))
    unknown = {name: delta[name] for name in delta if not (_read(name, delta[name]) or empty(delta[name]))}
    if unknown:
        events.append(Unknown({"openai": unknown}, index))
    if extra and len(events) > first:
        _carry(events, first, index, extra)
    return clean


def _read(name: str, value: Any) -> bool:
    """Whether events say this field of a delta. Reasoning of another type than text is kept as it came."""
    return name in _DELTA_FIELDS and (name not in _REASONING or type(value) is str)


def _carry(events: list[Event], first: int, index: int, extra: Extra) -> None:
    """Lets the first text carry the choice's own fields; a delta without text gets an empty one to carry them."""
    for at in range(first, len(events)):
        event = events[at]
        if type(event) is Text:
            own = event.extra["openai"] if event.extra else {}
            events[at] = Text(event.text, index, {"openai": {**extra, **own}})
            return
    events.insert(first, Text("", index, wrap(extra)))


def _reasoning(delta: dict[str, Any], index: int, events: list[Event]) -> None:
    """`reasoning_content` (DeepSeek, llama.cpp) or `reasoning` (OpenRouter, newer vLLM); some send both, alike."""
    long, short = delta.get("reasoning_content"), delta.get("reasoning")
    if type(long) is str and long:
        events.append(Reasoning(long, index, {"openai": {"as": "both"}} if short == long else None))
    elif type(short) is str and short:
        events.append(Reasoning(short, index, {"openai": {"as": "reasoning"}}))


def _content_parts(parts: list[Any], index: int, events: list[Event]) -> None:
    """Mistral's reasoning models send lists of parts where others send a string."""
    for part in parts:
        if type(part) is dict and part.get("type") == "text" and type(part.get("text")) is str:
            events.append(Text(part["text"], index))
        elif type(part) is dict and part.get("type") == "thinking" and type(part.get("thinking")) is list:
            thought = "".join(inner["text"] for inner in part["thinking"] if type(inner.get("text")) is str)
            events.append(Reasoning(thought, index))
        else:
            events.append(Unknown({"openai": {"content": [part]}}, index))


def _refusal(text: Any, index: int, state: ChoiceState) -> Event:
    """A refusal is what the user reads, so it is text; beside other text of the same choice it could not be told apart
    after folding, and is kept as it came."""
    if type(text) is str and index not in state.texts:
        state.refused.add(index)
        return Text(text, index, {"openai": {"refusal": True}})
    return Unknown({"openai": {"refusal": text}}, index)


def _tool_calls(calls: list[Any], index: int, state: ChoiceState, events: list[Event]) -> bool:
    clean = True
    for call in calls:
        number = call.get("index")
        if type(number) is not int or not 0 <= number < MAX_CALLS:
            number, clean = _place(call, index, state), False
        kind = "custom" if "custom" in call or call.get("type") == "custom" else "function"
        inner = call.get(kind) or {}
        told = state.calls.get((index, number))
        if told is None:
            extra = _call_extra(call, inner, kind)
            told = state.calls[index, number] = [call.get("id") or "", inner.get("name") or "", kind]
            # The name may be missing in a custom fragment, never here: strict clients need id and name up front.
            clean = clean and bool(told[0]) and bool(told[1])
            events.append(ToolCall(number, _arguments(inner, kind), told[0], told[1], index, extra))
            continue
        clean = clean and not ("id" in call or "type" in call or "name" in inner)
        late_id = None if told[0] else call.get("id")
        late_name = None if told[1] else inner.get("name")
        told[0], told[1] = told[0] or late_id or "", told[1] or late_name or ""
        events.append(
            ToolCall(number, _arguments(inner, kind), late_id, late_name, index, _call_extra(call, inner, "function"))
        )
    return clean


def _place(call: dict[str, Any], index: int, state: ChoiceState) -> int:
    """The number of a call that came without one: a new id begins a new call, anything else goes on with the last."""
    numbers = {number: told[0] for (choice, number), told in state.calls.items() if choice == index}
    given = call.get("id")
    for number, known in numbers.items():
        if given and known == given:
            return number
    if given or not numbers:
        return max(numbers, default=-1) + 1
    return max(numbers)


def _call_extra(call: dict[str, Any], inner: dict[str, Any], kind: str) -> Extra | None:
    extra: Extra = {} if kind == "function" else {"type": kind}
    fields = {name: call[name] for name in call if name not in _CALL_FIELDS and not empty(call[name])}
    if fields:
        extra["call"] = fields
    more = {name: inner[name] for name in inner if name not in ("name", "arguments", "input")}
    if more:
        extra["function"] = more
    return wrap(extra)


def _arguments(inner: dict[str, Any], kind: str) -> str:
    value = inner.get("input" if kind == "custom" else "arguments")
    if type(value) is str:
        return value
    return "" if value is None else encode(value).decode()


def _function_call(call: dict[str, Any], index: int, state: ChoiceState) -> ToolCall:
    """The predecessor of `tool_calls`, still sent by some servers."""
    arguments = _arguments(call, "function")
    if state.calls.setdefault((index, LEGACY_CALL), []):
        return ToolCall(LEGACY_CALL, arguments, None, None, index)
    state.calls[index, LEGACY_CALL] = ["", call.get("name") or "", "function_call"]
    return ToolCall(LEGACY_CALL, arguments, None, call.get("name") or "", index, {"openai": {"type": "function_call"}})
