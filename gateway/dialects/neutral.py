"""The canonical request: what translation between dialects goes through, so that N dialects need 2N codecs and not N².

A reader of one dialect makes a `Neutral`; a writer of another makes a body of it. What a reader has no place for here, or
a writer cannot say, is an `Untranslatable` that names the client's own field; nothing is left out silently. Hints that
change cost or speed but never the answer (cache marks, service tiers, image detail) may be left out.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from gateway.core.errors import Untranslatable
from gateway.dialects.json_codec import UNREADABLE, decode


class TextPart(msgspec.Struct, frozen=True):
    text: str


class ImagePart(msgspec.Struct, frozen=True):
    """Either `url`, or base64 `data` of a `media_type`. `path` is where the client said it, for errors."""

    path: str
    url: str = ""
    media_type: str = ""
    data: str = ""


class ToolUsePart(msgspec.Struct, frozen=True):
    """A tool call the model made. `arguments` is raw JSON text, as in `core.events.ToolCall`."""

    id: str
    name: str
    arguments: str
    path: str


class ToolResultPart(msgspec.Struct, frozen=True):
    id: str
    parts: tuple[TextPart | ImagePart, ...]
    path: str
    error: bool = False


Part = TextPart | ImagePart | ToolUsePart | ToolResultPart


class Thought(msgspec.Struct, frozen=True):
    """Reasoning of an earlier turn, sealed by the model that thought it: `text` and its `signature`, or `redacted` alone.
    `at`: how many parts of its turn come before it. Only a model of the same maker can read it; others leave it out."""

    at: int
    text: str = ""
    signature: str = ""
    redacted: str = ""


class Turn(msgspec.Struct, frozen=True):
    """One message. Tool results are the user's side of the conversation."""

    role: Literal["user", "assistant"]
    parts: tuple[Part, ...]
    thoughts: tuple[Thought, ...] = ()


class Tool(msgspec.Struct, frozen=True):
    name: str
    description: str
    schema: dict[str, Any] | None
    """JSON Schema of the arguments; None: takes none."""
    strict: bool | None = None


class ToolChoice(msgspec.Struct, frozen=True):
    mode: Literal["auto", "none", "required", "tool"]
    name: str = ""


class ResponseFormat(msgspec.Struct, frozen=True):
    """`schema` None means any JSON object."""

    schema: dict[str, Any] | None
    name: str = "answer"
    strict: bool | None = None


class Neutral(msgspec.Struct, kw_only=True):
    system: list[str] = []
    """Instructions, in order."""
    turns: list[Turn] = []
    tools: list[Tool] = []
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    n: int = 1
    """How many answers."""
    max_tokens: int | None = None
    stop: list[str] = []
    user: str = ""
    """An opaque id of the end user."""
    effort: str = ""
    """How hard to think: low, medium, high, xhigh, or a dialect's own word."""
    response_format: ResponseFormat | None = None
    params: dict[str, Any] = {}
    """Sampling parameters by their common names: temperature, top_p, top_k, seed, frequency_penalty, presence_penalty."""
    names: dict[str, str] = {}
    """What the client's dialect calls a field of this record, where it has another name: for errors."""

    def called(self, field: str) -> str:
        return self.names.get(field, field)


def untranslatable(param: str, why: str = "") -> Untranslatable:
    """`param` is the client's own field."""
    reason = why or "it has no counterpart at the provider of the chosen model"
    return Untranslatable(f"{param} cannot be translated: {reason}. Remove it or choose another model.", param=param)


def arguments_of(part: ToolUsePart) -> dict[str, Any]:
    """The arguments as an object, for dialects that say them so. Raises Untranslatable for text that is none."""
    if not part.arguments.strip():
        return {}
    try:
        value = decode(part.arguments.encode())
    except UNREADABLE:
        value = None
    if type(value) is not dict:
        raise untranslatable(part.path, "it is no JSON object")
    return value


def no_operation(operation: str) -> Untranslatable:
    return Untranslatable(f"The provider of the chosen model has no {operation}; choose another model.", param="model")


def shaped(value: Any, kind: type, path: str) -> Any:
    """`value`, when it is of this kind or null. Raises `Untranslatable`."""
    if value is not None and type(value) is not kind:
        raise untranslatable(path, f"it is no {'list' if kind is list else 'object'}")
    return value
