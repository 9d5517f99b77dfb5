"""Ids of tool calls, for servers that are particular about them.

A conversation that one provider began may go on at another (a fallback, a route, a client's choice), and its old calls carry
the first one's ids: `functions.weather:0`, forty characters, a UUID. An id that does not fit is replaced by one that is made
of it, so that a call and its result still agree, in this request and in the next.
"""

from __future__ import annotations

import hashlib
import re
import string
from typing import Any

_LETTERS = string.digits + string.ascii_letters
LENGTH = 24
"""Characters of an id that is made, where the server leaves that open."""


def fitted(id: str, allowed: re.Pattern[str], length: int = LENGTH) -> str:
    """The id as it is, or `length` letters and digits in its place."""
    if allowed.fullmatch(id):
        return id
    number = int.from_bytes(hashlib.sha256(id.encode("utf-8", "replace")).digest())
    made = []
    for _ in range(length):
        number, at = divmod(number, len(_LETTERS))
        made.append(_LETTERS[at])
    return "".join(made)


def fit_messages(messages: list[Any], length: int) -> list[Any]:
    """Messages of a chat completion whose calls have ids of exactly `length` letters and digits. What is given is not
    written to."""
    allowed = re.compile(rf"[a-zA-Z0-9]{{{length}}}")
    return [_message(message, allowed, length) for message in messages]


def _message(message: dict[str, Any], allowed: re.Pattern[str], length: int) -> dict[str, Any]:
    answered, calls = message.get("tool_call_id"), message.get("tool_calls")
    if type(answered) is str:
        return {**message, "tool_call_id": fitted(answered, allowed, length)}
    if calls:
        named = [
            {**call, "id": fitted(call["id"], allowed, length)} if type(call.get("id")) is str else call
            for call in calls
        ]
        return {**message, "tool_calls": named}
    return message
