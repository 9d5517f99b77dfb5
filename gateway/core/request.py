"""A request: the decoded body as it came, and a thin view of what the gateway itself needs to know of it.

The body is the one truth. Fields we do not own stay in it and go upstream unchanged; checks rewrite text through
`Slot`s, which point into the body. Translation to another dialect starts from this body too (`core.neutral`).
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from gateway.core.passing import Passing

Role = Literal["system", "user", "assistant", "tool", "retrieved"]
SlotKind = Literal["text", "tool_arguments", "tool_result", "name"]
Operation = Literal[
    "chat", "completions", "embeddings", "count_tokens", "input_tokens", "rerank", "images", "moderations",
    "speech", "transcriptions", "translations", "image_edits", "image_variations", "files", "uploads", "batches",
    "tool_lookup", "tool_store",
]  # fmt: skip

Body = dict[str, Any]


class Slot(msgspec.Struct):
    """One piece of text in the body, where it stands and who said it.

    `holder[key]` is the string itself, so replacing it rewrites the body in place. `turn` is the index of the
    message it belongs to; the latest user turn has the highest `turn` among user slots.
    """

    role: Role
    kind: SlotKind
    turn: int
    holder: Any
    key: Any
    path: str
    """Where, for errors and records: `messages[2].content[0].text`."""

    @property
    def text(self) -> str:
        text: str = self.holder[self.key]
        return text

    def replace(self, text: str) -> None:
        self.holder[self.key] = text


class Request:
    """What one client asked for, in its own dialect.

    Made by `Dialect.read`, which has checked the types of every field named here. `slots` are in reading order.
    """

    __slots__ = ("body", "dialect", "include_usage", "model", "operation", "passing", "slots", "stream")

    def __init__(
        self,
        *,
        dialect: str,
        operation: Operation,
        body: Body,
        model: str,
        stream: bool,
        include_usage: bool,
        slots: list[Slot],
        passing: Passing | None = None,
    ) -> None:
        self.dialect = dialect
        self.operation = operation
        self.body = body
        self.model = model
        """The name the client asked for: an alias of ours."""
        self.stream = stream
        self.include_usage = include_usage
        """The client wants a usage chunk in its stream."""
        self.slots = slots
        self.passing = passing
        """Set for what is passed on and not understood."""

    @property
    def latest_user_turn(self) -> int:
        """The `turn` of the latest user message; -1 when no user has spoken."""
        return max((slot.turn for slot in self.slots if slot.role == "user"), default=-1)

    def latest_user(self) -> list[Slot]:
        """The slots of the latest user turn, in order; empty when no user has spoken."""
        turn = self.latest_user_turn
        return [slot for slot in self.slots if slot.role == "user" and slot.turn == turn]

    def __repr__(self) -> str:
        """Says what, never the content."""
        return f"Request({self.dialect} {self.operation} model={self.model!r} slots={len(self.slots)})"
