"""The events of whole OpenAI replies: chat completions, legacy completions, embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.core.events import ChoiceFinished, Event, Extra, Finished, Started, Text
from gateway.dialects.openai_choices import read_chat_choice
from gateway.dialects.openai_extra import empty, usage_of, wrap
from gateway.dialects.openai_inlet import MAX_CHOICES, ChoiceState

_KNOWN = frozenset({"id", "object", "created", "model", "choices", "usage", "error"})
_CHOICE_FIELDS = frozenset({"index", "text", "finish_reason"})


def read_chat(body: dict[str, Any]) -> Sequence[Event]:
    """A `chat.completion`. A message is read as one delta that says everything at once."""
    events: list[Event] = [_started(body)]
    state = ChoiceState()
    for at, choice in enumerate(_choices(body)):
        message = dict(choice["message"])
        calls = message.get("tool_calls")
        if calls:
            message["tool_calls"] = [{**call, "index": number} for number, call in enumerate(calls)]
        entry = {name: value for name, value in choice.items() if name != "message"}
        read_chat_choice({**entry, "index": choice.get("index", at), "delta": message}, state, events, None)
    return _ended(body, events)


def read_completion(body: dict[str, Any]) -> Sequence[Event]:
    """A `text_completion`."""
    events: list[Event] = [_started(body)]
    for at, choice in enumerate(_choices(body)):
        index = choice.get("index", at)
        if type(index) is not int or not 0 <= index < MAX_CHOICES:
            raise ValueError("a choice's index is not a small whole number")
        fields = {name: choice[name] for name in choice if name not in _CHOICE_FIELDS and not empty(choice[name])}
        events.append(Text(str(choice["text"]), index, wrap({"choice": fields} if fields else None)))
        if choice.get("finish_reason"):
            events.append(ChoiceFinished(str(choice["finish_reason"]), index))
    return _ended(body, events)


def read_embeddings(body: dict[str, Any]) -> Sequence[Event]:
    """Vectors are not events: they are relayed as they came."""
    if type(body["data"]) is not list:
        raise ValueError("data is not a list")
    return _ended(body, [_started({"model": body.get("model")})])


def _choices(body: dict[str, Any]) -> list[dict[str, Any]]:
    choices = body["choices"]
    if type(choices) is not list or not choices:
        raise ValueError("choices is not a list with something in it")
    return choices


def _started(body: dict[str, Any]) -> Started:
    identity, model, created = body.get("id"), body.get("model"), body.get("created")
    extra: Extra = {name: value for name, value in body.items() if name not in _KNOWN and value is not None}
    return Started(
        identity if type(identity) is str else "",
        model if type(model) is str else "",
        created if type(created) is int else 0,
        wrap(extra),
    )


def _ended(body: dict[str, Any], events: list[Event]) -> Sequence[Event]:
    usage = body.get("usage")
    if type(usage) is dict and usage:
        events.append(usage_of(usage))
    events.append(Finished())
    return events
