"""Counting a prompt's tokens for providers that cannot be asked to: an estimate made here, and called one.

It knows no tokenizer. ASCII is taken at 3.5 characters a token and anything else at 3 bytes: rules of thumb, chosen to be
rather too high than too low, and not measured against any provider. An image or a file is taken as 1600 tokens. What a
provider adds of its own (its template, its instructions for the use of tools) is not known and not counted.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec

from gateway.core.events import Finished, Frame, Started
from gateway.core.request import Request

LATIN_PER_TOKEN = 3.5
"""Characters."""
BYTES_PER_TOKEN = 3.0
"""Of UTF-8, for characters that are not ASCII."""
TURN_TOKENS = 4
"""Around each message: who speaks, and that it ends."""
MEDIA_TOKENS = 1600
_MEDIA = frozenset({"image", "document", "image_url", "input_image", "input_file", "file"})


def estimate(request: Request) -> int:
    """Input tokens of a chat request; at least 1."""
    texts = "".join([slot.text for slot in request.slots])
    tools = request.body.get("tools")
    tokens = _tokens(texts) + (_tokens(msgspec.json.encode(tools).decode("utf-8", "replace")) if tools else 0)
    turns = request.body.get("messages")
    if isinstance(turns, list):
        tokens += TURN_TOKENS * len(turns) + MEDIA_TOKENS * sum(map(_media, turns))
    return max(1, math.ceil(tokens))


def _tokens(text: str) -> float:
    size = len(text.encode("utf-8", "surrogatepass"))
    latin = len(text) if size == len(text) else sum(map(str.isascii, text))
    return latin / LATIN_PER_TOKEN + (size - latin) / BYTES_PER_TOKEN


def _media(turn: Any) -> int:
    """Images and files of one message, also inside the results of tools. A file's text is counted too, as text."""
    parts = turn.get("content") if isinstance(turn, dict) else None
    found = 0
    for part in parts if isinstance(parts, list) else ():
        if isinstance(part, dict) and isinstance(part.get("type"), str):
            found += part["type"] in _MEDIA or (_media(part) if part["type"] == "tool_result" else 0)
    return found


class CountedHere:
    """A `core.ports.Reply` that no upstream gave. Its one answer says that it is an estimate."""

    endpoint = ""
    status = 200
    upstream_id = ""

    def __init__(self, request: Request) -> None:
        fields = {"input_tokens": estimate(request), "estimated": True}
        started = Started("", "", 0, {request.dialect: fields})
        self._frame = Frame((started, Finished()), None, request.dialect)

    async def frames(self) -> AsyncIterator[Sequence[Frame]]:
        yield (self._frame,)

    async def close(self) -> None:
        """Nothing is open."""
