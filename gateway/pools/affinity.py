"""What makes two calls belong together: the bytes that a sticky balance hashes.

`session` keeps a conversation on one endpoint because its client says that it is one. `prefix` does so because it begins
alike, which is what a server's prefix cache looks at. Only the beginning is hashed, at 10 to 20 µs whatever the length of
the conversation: two conversations with one beginning are one to it, and nothing here knows what an endpoint really holds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import xxhash

from gateway.core.plan import Target
from gateway.core.request import Request

PREFIX_CHARS = 1024
"""Of the system prompt, and as many again of the first turn after it."""
MOST_TOOLS = 64
_MOST_SLOTS = 64

Key = Callable[[Request, Target, str], bytes]
"""The bytes for one call, from the request, the target and the exchange's affinity. Empty: no preference."""


def session_key(request: Request, target: Target, affinity: str) -> bytes:
    return affinity.encode("utf-8", "surrogatepass")


def prefix_key(request: Request, target: Target, affinity: str) -> bytes:
    """16 bytes over the model, the names of the tools, and the beginnings of the system prompt and of the first turn.

    Later turns are left out: with them a conversation would move whenever it grew.
    """
    pieces = [target.model, request.operation]
    _add_tools(request.body.get("tools"), pieces)
    _add_texts(request, pieces)
    return xxhash.xxh3_128_digest("\0".join(pieces).encode("utf-8", "surrogatepass"))


def _add_tools(tools: Any, pieces: list[str]) -> None:
    """Names only: a coding client's tools are 100 KB of JSON that differ between two versions at most."""
    if type(tools) is not list:
        return
    for tool in tools[:MOST_TOOLS]:
        if type(tool) is dict:
            holder = tool.get("function", tool)
            name = holder.get("name") if type(holder) is dict else None
            if type(name) is str:
                pieces.append(name[:128])


def _add_texts(request: Request, pieces: list[str]) -> None:
    first: int | None = None
    room = PREFIX_CHARS
    for slot in request.slots[:_MOST_SLOTS]:
        if slot.role == "system":
            if first is not None:
                return
        elif first is None:
            first, room = slot.turn, PREFIX_CHARS
        elif slot.turn != first:
            return
        if room > 0:
            text = slot.text[:room]
            room -= len(text)
            pieces.append(text)
