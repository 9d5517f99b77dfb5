"""How many tokens a prompt is, without a tokenizer: a bound that is never too low, and an estimate that is called one.

**Bound.** A byte-level tokenizer has at least one byte to a token, so a prompt never has more tokens of text than bytes of
UTF-8; what a chat template puts around each message is taken at 16. Not bounded: images and files, and tokenizers that are
not byte-level and know no byte of what they are given (they give one unknown token a character, which is fewer).

**Estimate.** ASCII is taken at 3.5 characters a token and anything else at 3 bytes: rules of thumb, chosen to be rather
too high than too low for prose, and not measured against any provider. Text without words (base64, long numbers) has
more tokens than that. An image or a file is taken as 1600 tokens. What a provider adds of its own (its template, its
instructions for the use of tools) is not known and not counted.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any

import msgspec

from gateway.core.request import Body, Request

LATIN_PER_TOKEN = 3.5
"""Characters."""
BYTES_PER_TOKEN = 3.0
"""Of UTF-8, for characters that are not ASCII."""
TURN_TOKENS = 4
"""Around each message: who speaks, and that it ends."""
MOST_TURN_TOKENS = 16
MEDIA_TOKENS = 1600
MEDIA = frozenset({"image", "document", "image_url", "input_image", "input_file", "file"})
"""The parts of a message that are no text, by their type."""
_HELD_MEDIA = frozenset({"inlineData", "fileData"})
_TURNS = ("messages", "input", "contents")
_WIDEST = 4
"""Bytes of one character."""


def estimate(request: Request) -> int:
    """Input tokens of a chat request; at least 1."""
    tokens = text_tokens("".join([slot.text for slot in request.slots]))
    tools = request.body.get("tools")
    if tools:
        tokens += text_tokens(_encoded(tools).decode("utf-8", "replace"))
    turns = turns_of(request)
    tokens += TURN_TOKENS * len(turns) + MEDIA_TOKENS * sum(map(media_of, turns))
    return max(1, math.ceil(tokens))


def at_most(request: Request, enough: int) -> int:
    """An upper bound of the input tokens of a chat request. Exact bytes are only counted where the number of characters
    does not already show that it is no more than `enough`."""
    turns = turns_of(request)
    tokens = MOST_TURN_TOKENS * (len(turns) + 1) + MEDIA_TOKENS * sum(map(media_of, turns))
    tools = request.body.get("tools")
    if tools:
        tokens += len(_encoded(tools))
    texts = [slot.text for slot in request.slots]
    rough = tokens + _WIDEST * sum(map(len, texts))
    if rough <= enough:
        return rough
    return tokens + sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)


def text_tokens(text: str) -> float:
    """The estimate for a plain text."""
    size = len(text.encode("utf-8", "surrogatepass"))
    latin = len(text) if size == len(text) else sum(map(str.isascii, text))
    return latin / LATIN_PER_TOKEN + (size - latin) / BYTES_PER_TOKEN


def _encoded(tools: Any) -> bytes:
    try:
        return msgspec.json.encode(tools)
    except UnicodeEncodeError:  # lone surrogates, which JSON can hold and UTF-8 cannot
        return json.dumps(tools).encode()


def turns_of(request: Request) -> list[Any]:
    """The conversation as the body lists it; empty where the body has it in one string."""
    turns = request.body.get(turns_field(request.body))
    return turns if isinstance(turns, list) else []


def turns_field(body: Body) -> str:
    """What the body calls the conversation."""
    return next((name for name in _TURNS if body.get(name) is not None), _TURNS[0])


def media_of(turn: Any) -> int:
    """Images and files of one message, also inside the results of tools. A file's text is counted too, as text."""
    parts = turn.get("content", turn.get("parts")) if isinstance(turn, dict) else None
    return _media_parts(parts) if isinstance(parts, list) else 0


def _media_parts(parts: Iterable[Any]) -> int:
    found = 0
    for part in parts:
        if isinstance(part, dict) and isinstance(part.get("type"), str):
            found += part["type"] in MEDIA or (media_of(part) if part["type"] == "tool_result" else 0)
        elif isinstance(part, dict):  # parts that are told by what they hold
            found += bool(part.keys() & _HELD_MEDIA) or media_of(part.get("functionResponse"))
    return found
