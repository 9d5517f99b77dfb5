"""What counting a prompt's tokens gives, in the words of no dialect: `{"count": {"input_tokens": N}}` in the `extra` of a
`Started`. `"estimated": true` beside the number: not counted by the model's provider, which cannot, but estimated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway.core.errors import BadRequest, GatewayFault
from gateway.core.events import Blocked, Extra, Frame, Started
from gateway.dialects.json_codec import encode

COUNT = "count"


def counted(tokens: int) -> dict[str, Any]:
    return {COUNT: {"input_tokens": tokens}}


def count_of(extra: Extra | None) -> dict[str, Any]:
    """The count; empty when there is none."""
    own = extra.get(COUNT) if extra else None
    return own if type(own) is dict else {}


class CountOutlet:
    """One body, relayed as it came where it came in this dialect, or made from what was counted."""

    content_type = "application/json"
    streaming = False

    def __init__(
        self, dialect: str, say: Callable[[Extra | None], dict[str, Any]], error: Callable[[GatewayFault], bytes]
    ) -> None:
        """`say` makes the dialect's body of a `Started`'s extra."""
        self._dialect = dialect
        self._say = say
        self._error = error
        self._raw: bytes | None = None
        self._told: dict[str, Any] = {}

    def push(self, frame: Frame) -> bytes:
        if frame.raw is not None and frame.dialect == self._dialect:
            self._raw = frame.raw
        for event in frame.events:
            if type(event) is Started:
                self._told = self._say(event.extra)
        return b""

    def finish(self) -> bytes:
        return self._raw if self._raw is not None else encode(self._told)

    def fail(self, fault: GatewayFault) -> bytes:
        return self._error(fault)

    def block(self, blocked: Blocked) -> bytes:
        return self.fail(BadRequest(f"The request was stopped by {blocked.check!r}.", code="content_filter"))
