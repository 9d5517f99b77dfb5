"""What a request needs of a model, read from its body by the words of its own dialect."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from gateway.core.plan import Capability
from gateway.core.request import Body, Request
from gateway.core.tokens import turns_field, turns_of

Needs = dict[Capability, str]
"""What is needed, and the field that first says so."""


class Sign(msgspec.Struct, frozen=True):
    """A field of the body that shows a need when `holds` is true of it."""

    path: tuple[str, ...]
    capability: Capability
    holds: Callable[[Any], bool] = bool


def _is(word: str) -> Callable[[Any], bool]:
    return lambda value: value == word


def _several(value: Any) -> bool:
    return type(value) is int and value > 1


def _thinks(value: Any) -> bool:
    return type(value) is str and value != "none"


def _counts(value: Any) -> bool:
    """Zero asks for the chosen token's own probability."""
    return type(value) is int


def _sounds(value: Any) -> bool:
    return type(value) is list and ("audio" in value or "AUDIO" in value)


def _json(value: Any) -> bool:
    """Of a `generationConfig`: JSON of any shape."""
    return type(value) is dict and value.get("responseMimeType") == "application/json" and not _shaped(value)


def _shaped(value: Any) -> bool:
    return type(value) is dict and bool(value.get("responseSchema") or value.get("responseJsonSchema"))


def _budgeted(value: Any) -> bool:
    return type(value) is int and value > 0


SIGNS: Mapping[str, tuple[Sign, ...]] = {
    "openai": (
        Sign(("tools",), "tools"),
        Sign(("functions",), "tools"),
        Sign(("response_format", "type"), "json", _is("json_object")),
        Sign(("response_format", "type"), "json_schema", _is("json_schema")),
        Sign(("logprobs",), "logprobs"),
        Sign(("top_logprobs",), "logprobs"),
        Sign(("modalities",), "audio", _sounds),
        Sign(("reasoning_effort",), "reasoning", _thinks),
        Sign(("n",), "several_answers", _several),
    ),
    "responses": (
        Sign(("tools",), "tools"),
        Sign(("text", "format", "type"), "json", _is("json_object")),
        Sign(("text", "format", "type"), "json_schema", _is("json_schema")),
        Sign(("top_logprobs",), "logprobs"),
        Sign(("reasoning", "effort"), "reasoning", _thinks),
    ),
    "anthropic": (
        Sign(("tools",), "tools"),
        Sign(("output_config", "format", "type"), "json_schema", _is("json_schema")),
        Sign(("thinking", "type"), "reasoning", _is("enabled")),
        Sign(("output_config", "effort"), "reasoning", _thinks),
    ),
    "gemini": (
        Sign(("tools",), "tools"),
        Sign(("generationConfig",), "json", _json),
        Sign(("generationConfig",), "json_schema", _shaped),
        Sign(("generationConfig", "responseLogprobs"), "logprobs"),
        Sign(("generationConfig", "responseModalities"), "audio", _sounds),
        Sign(("generationConfig", "thinkingConfig", "thinkingLevel"), "reasoning", _thinks),
        Sign(("generationConfig", "thinkingConfig", "thinkingBudget"), "reasoning", _budgeted),
        Sign(("generationConfig", "candidateCount"), "several_answers", _several),
    ),
}
"""By dialect. `completions` has `logprobs` as a number, so it has a sign of its own."""
_COMPLETIONS = (Sign(("logprobs",), "logprobs", _counts), Sign(("n",), "several_answers", _several))

PARTS: Mapping[str, Capability] = {
    "image_url": "vision",
    "input_image": "vision",
    "image": "vision",
    "input_audio": "audio",
    "file": "files",
    "input_file": "files",
    "document": "files",
}
"""Types of content parts, in any dialect: no two use one word for different things."""
_MEDIA: Mapping[str, Capability] = {"image": "vision", "audio": "audio"}
_PLAIN = frozenset({"text", "content"})
"""Sources of a document that are text, which every model reads."""


def needs(request: Request) -> Needs:
    """Empty for text in, text out. A request of a dialect that is not known here needs nothing."""
    body = request.body
    found: Needs = {}
    signs = _COMPLETIONS if request.operation == "completions" else SIGNS.get(request.dialect, ())
    for sign in signs:
        if sign.path[0] in body and sign.holds(_at(body, sign.path)):
            found.setdefault(sign.capability, ".".join(sign.path))
    if request.operation == "chat":
        name = turns_field(body)
        for at, turn in enumerate(turns_of(request)):
            for capability, path in _in_turn(turn):
                found.setdefault(capability, f"{name}[{at}].{path}")
    return found


def _at(body: Body, path: tuple[str, ...]) -> Any:
    value: Any = body
    for name in path:
        if type(value) is not dict:
            return None
        value = value.get(name)
    return value


def _in_turn(turn: Any) -> Iterator[tuple[Capability, str]]:
    """What the parts of a message need, also those in the results of tools."""
    if type(turn) is not dict:
        return
    for name in ("content", "output", "parts"):
        parts = turn.get(name)
        if type(parts) is not list:
            continue
        for at, part in enumerate(parts):
            if type(part) is not dict:
                continue
            named = part.get("type")
            if named == "tool_result":
                yield from ((found, f"{name}[{at}].{path}") for found, path in _in_result(part))
            elif type(named) is str and named in PARTS and not _plain(part):
                yield PARTS[named], f"{name}[{at}]"
            elif named is None and name == "parts":
                yield from ((found, f"parts[{at}].{path}") for found, path in _in_held(part))


def _in_held(part: Body) -> Iterator[tuple[Capability, str]]:
    """Parts that are told by what they hold: `inlineData`, `fileData`, and those in the answer of a function."""
    for name in ("inlineData", "fileData"):
        held = part.get(name)
        if type(held) is dict and "text" not in held:  # plain text, which every model reads
            kind = str(held.get("mimeType")).partition("/")[0]
            yield _MEDIA.get(kind, "files"), name
    given = part.get("functionResponse")
    inner = given.get("parts") if type(given) is dict else None
    for at, one in enumerate(inner if type(inner) is list else ()):
        if type(one) is dict:
            yield from ((found, f"functionResponse.parts[{at}].{path}") for found, path in _in_held(one))


def _in_result(block: Body) -> Iterator[tuple[Capability, str]]:
    """One level down: deeper ones do not exist."""
    parts = block.get("content")
    for at, part in enumerate(parts if type(parts) is list else ()):
        named = part.get("type") if type(part) is dict else None
        if type(named) is str and named in PARTS and not _plain(part):
            yield PARTS[named], f"content[{at}]"


def _plain(part: Body) -> bool:
    source = part.get("source")
    return type(source) is dict and source.get("type") in _PLAIN
