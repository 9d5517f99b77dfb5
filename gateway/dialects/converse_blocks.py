"""Content of a Converse answer, whole or in pieces, as events; and the events of a whole answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.core.events import ChoiceFinished, Event, Failed, Finished, Reasoning, Started, Text, ToolCall, Unknown
from gateway.dialects.converse_extra import MALFORMED, NAME, REASONS, malformed, redacted, sealed, usage_of
from gateway.dialects.json_codec import encode


def read_answer(body: dict[str, Any]) -> Sequence[Event]:
    """Raises ValueError, KeyError, TypeError or AttributeError when it has another shape."""
    events: list[Event] = [Started("", "", 0)]
    calls = 0
    for block in body["output"]["message"]["content"]:
        tool = block.get("toolUse")
        if tool is not None and not tool.get("type"):
            events.append(ToolCall(calls, encode(tool["input"]).decode(), str(tool["toolUseId"]), str(tool["name"])))
            calls += 1
        else:
            events.extend(told(block))
    reason = str(body["stopReason"])
    if reason in MALFORMED:
        return [Failed(malformed(reason))]
    events.append(ended(reason, body.get("additionalModelResponseFields")))
    events.append(usage_of(body.get("usage") or {}))
    events.append(Finished())
    return events


def told(block: dict[str, Any]) -> Sequence[Event]:
    """A block that is no call of the client's tools. What is not known is kept, for checks to see that it is there."""
    text = block.get("text")
    if type(text) is str:
        return (Text(text),) if text else ()
    thought = block.get("reasoningContent")
    if type(thought) is dict:
        return reasoned({**thought, **(thought.get("reasoningText") or {})})
    cited = block.get("citationsContent")
    if type(cited) is dict:
        said = "".join(piece["text"] for piece in cited.get("content") or () if "text" in piece)
        rest: Sequence[Event] = (Unknown({NAME: {"citations": cited["citations"]}}),) if cited.get("citations") else ()
        return (Text(said), *rest) if said else rest
    return (Unknown({NAME: block}),)


def reasoned(thought: dict[str, Any]) -> Sequence[Event]:
    """`text`, `signature` or `redactedContent`, as far as they are there."""
    text, signature, hidden = thought.get("text") or "", thought.get("signature"), thought.get("redactedContent")
    if hidden:
        return (Unknown(redacted(str(hidden))),)
    if signature:
        return (Reasoning(str(text), 0, sealed(str(signature))),)
    return (Reasoning(str(text)),) if text else ()


def ended(reason: str, more: Any) -> ChoiceFinished:
    """`more`: the model's own fields, which the operator asked for."""
    return ChoiceFinished(REASONS.get(reason, reason), 0, {NAME: {"fields": more}} if more else None)
