"""Where bodies hold what only one provider can read: the encrypted items of Responses, and the ids of files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from typing import Any

import msgspec

from gateway.core.request import Body
from gateway.dialects import openai_extra, responses_extra

At = tuple[str | int, ...]
"""The way to a value from the body's root."""


class Sealed(msgspec.Struct, frozen=True):
    """One such value. `spare`: the conversation can go on without the item that it is in."""

    at: At
    text: str
    spare: bool = False
    file: bool = False
    """It is the id of a file, and not content."""

    @property
    def path(self) -> str:
        """As errors name it: `input[3].encrypted_content`."""
        return "".join(f"[{step}]" if type(step) is int else f".{step}" for step in self.at)[1:]


Find = Callable[[Body], Iterator[Sealed]]


def _encrypted(body: Body) -> Iterator[Sealed]:
    given = body.get("input")
    for at, item in enumerate(given if type(given) is list else ()):
        text = item.get("encrypted_content")
        if type(text) is str and text:
            yield Sealed(("input", at, "encrypted_content"), text, item.get("type") == "reasoning")


def _none(_body: Body) -> Iterator[Sealed]:
    return iter(())


def _response_files(body: Body) -> Iterator[Sealed]:
    given = body.get("input")
    for at, item in enumerate(given if type(given) is list else ()):
        for name in ("content", "output"):
            parts = item.get(name)
            for part_at, part in enumerate(parts if type(parts) is list else ()):
                if type(part) is dict and type(part.get("file_id")) is str:
                    yield Sealed(("input", at, name, part_at, "file_id"), part["file_id"], file=True)


def _chat_files(body: Body) -> Iterator[Sealed]:
    for at, message in enumerate(body["messages"]):
        parts = message.get("content")
        if type(parts) is not list:
            continue
        for part_at, part in enumerate(parts):
            file = part.get("file") if type(part) is dict and part.get("type") == "file" else None
            if type(file) is dict and type(file.get("file_id")) is str:
                yield Sealed(("messages", at, "content", part_at, "file", "file_id"), file["file_id"], file=True)


ENCRYPTED: Mapping[str, Find] = {responses_extra.NAME: _encrypted}
FILES: Mapping[str, Find] = {responses_extra.NAME: _response_files, openai_extra.NAME: _chat_files}
"""By dialect."""


def rewritten(body: Body, texts: Mapping[At, str], drop: Set[At]) -> Body:
    """The body with other texts at some places, and without the list items that hold what is at others. What is not
    changed is shared with the one given."""
    root = dict(body)
    copied: dict[At, Any] = {(): root}
    for at, text in texts.items():
        _holder(root, at[:-1], copied)[at[-1]] = text
    for at in sorted(drop, reverse=True):  # the last first, so that the places before it stay where they are
        del _holder(root, at[:-2], copied)[at[-2]]
    return root


def _holder(root: Any, way: At, copied: dict[At, Any]) -> Any:
    """What is at the end of the way, copied on the way to it."""
    node = root
    for depth, step in enumerate(way, 1):
        here = way[:depth]
        if here not in copied:
            copied[here] = node[step] = node[step].copy()
        node = copied[here]
    return node


def seal_item(item: Any, seal: Callable[[str], str] | None) -> bool:
    """Seals an output item of a response in place; whether there was anything to seal."""
    if seal is None or type(item) is not dict or type(item.get("encrypted_content")) is not str:
        return False
    if not item["encrypted_content"]:
        return False
    item["encrypted_content"] = seal(item["encrypted_content"])
    return True


def seal_items(value: Any, seal: Callable[[str], str] | None) -> bool:
    """The same for all items of a response object."""
    items = value.get("output") if type(value) is dict else None
    return True in [seal_item(item, seal) for item in items] if type(items) is list else False
