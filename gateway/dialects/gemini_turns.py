"""The conversation of a Gemini request, as canonical turns."""

from __future__ import annotations

from typing import Any

from gateway.core.request import Body
from gateway.dialects.gemini_blobs import TEXT
from gateway.dialects.json_codec import encode
from gateway.dialects.neutral import (
    ImagePart,
    Neutral,
    Part,
    TextPart,
    ToolResultPart,
    ToolUsePart,
    Turn,
    shaped,
    untranslatable,
)

_BESIDE = frozenset({"thought", "thoughtSignature", "mediaResolution", "partMetadata"})
"""Fields of a part that change nothing of what it says."""
OUTPUT, ERROR = "output", "error"
"""The keys under which the result of a function is told, or that it failed."""


class Conversation:
    """Reads contents in order. Calls need no id in this API, and results are then told from one another by name; other
    dialects want ids, so such calls get one by where they stand."""

    def __init__(self, neutral: Neutral) -> None:
        self._neutral = neutral
        self._open: list[tuple[str, str]] = []
        """Calls that are not answered yet: (id, name)."""

    def system(self, content: Body, path: str) -> None:
        for at, part in enumerate(content.get("parts") or ()):
            if type(part.get("text")) is not str:
                raise untranslatable(f"{path}.parts[{at}]", "instructions can only be text")
            self._neutral.system.append(part["text"])

    def turn(self, content: Body, number: int, path: str) -> None:
        assistant = content.get("role") == "model"
        parts: list[Part] = []
        for at, part in enumerate(content.get("parts") or ()):
            made = self._part(part, f"call_{number}_{at}", f"{path}.parts[{at}]")
            if made is None:
                continue
            if isinstance(made, ToolUsePart) != assistant and not isinstance(made, TextPart | ImagePart):
                raise untranslatable(f"{path}.parts[{at}]", "a model calls functions and a user answers them")
            parts.append(made)
        turns = self._neutral.turns
        role = "assistant" if assistant else "user"
        if turns and _results(turns[-1], parts):
            turns[-1] = Turn("user", (*turns[-1].parts, *parts))
        elif parts:
            turns.append(Turn(role, tuple(parts)))  # type: ignore[arg-type]

    def _part(self, part: Body, made_id: str, path: str) -> Part | None:
        said = [name for name, value in part.items() if name not in _BESIDE and value is not None]
        if not said:
            return None
        if len(said) > 1:
            raise untranslatable(f"{path}.{said[1]}")
        value = part[said[0]]
        match said[0]:
            case "text":
                return None if part.get("thought") is True else TextPart(value)
            case "inlineData":
                return _file(value, f"{path}.inlineData")
            case "functionCall":
                return self._call(value, made_id, f"{path}.functionCall")
            case "functionResponse":
                return self._result(value, f"{path}.functionResponse")
        raise untranslatable(f"{path}.{said[0]}")

    def _call(self, call: Body, made_id: str, path: str) -> ToolUsePart:
        name, args = call.get("name"), call.get("args")
        if type(name) is not str or (args is not None and type(args) is not dict):
            raise untranslatable(path, "a call needs a name, and arguments that are an object")
        identity = str(call.get("id") or made_id)
        self._open.append((identity, name))
        return ToolUsePart(identity, name, encode(args or {}).decode(), f"{path}.args")

    def _result(self, given: Body, path: str) -> ToolResultPart:
        name, response = given.get("name"), given.get("response")
        if type(response) is not dict:
            raise untranslatable(f"{path}.response", "it is no object")
        identity = self._answered(given.get("id"), name)
        if identity is None:
            raise untranslatable(path, "it answers no call that stands before it")
        parts: list[TextPart | ImagePart] = []
        failed = response.keys() == {ERROR}
        inner = response[ERROR] if failed else response[OUTPUT] if response.keys() == {OUTPUT} else response
        parts.append(TextPart(inner if type(inner) is str else encode(inner).decode()))
        for at, part in enumerate(shaped(given.get("parts"), list, f"{path}.parts") or ()):
            where = f"{path}.parts[{at}]"
            if type(part) is not dict or set(part) != {"inlineData"}:
                raise untranslatable(where)
            parts.append(_file(part["inlineData"], f"{where}.inlineData"))
        return ToolResultPart(identity, tuple(parts), path, failed)

    def _answered(self, identity: Any, name: Any) -> str | None:
        """The id of the call that a result is of: the one it names, or the first open one of that name."""
        for at, (open_id, called) in enumerate(self._open):
            if open_id == identity or (not identity and called == name):
                del self._open[at]
                return open_id
        return identity if type(identity) is str and identity else None


def _results(last: Turn, parts: list[Part]) -> bool:
    """Results of one round of calls belong together in one turn, as the calls do."""
    both = (*last.parts, *parts)
    return bool(parts) and all(isinstance(part, ToolResultPart) for part in both)


def _file(blob: Any, path: str) -> TextPart | ImagePart:
    """Plain text was opened by the reader, and is text to everybody."""
    text = blob.get(TEXT) if type(blob) is dict else None
    return TextPart(text) if type(text) is str else _image(blob, path)


def _image(blob: Any, path: str) -> ImagePart:
    mime = blob.get("mimeType") if type(blob) is dict else None
    if type(mime) is not str or not mime.startswith("image/") or type(blob.get("data")) is not str:
        raise untranslatable(path, "only images and plain text can be")
    return ImagePart(path, media_type=mime, data=blob["data"].replace("-", "+").replace("_", "/"))
