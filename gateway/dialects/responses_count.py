"""`POST /v1/responses/input_tokens`: its whole answer is `{"object": "response.input_tokens", "input_tokens": N}`. Where
`"estimated": true` stands beside it, the model's provider has not counted, but the gateway has estimated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.core.errors import BadRequest, GatewayFault
from gateway.core.events import Blocked, Event, Finished, Frame, Started
from gateway.dialects.counted import count_of, counted
from gateway.dialects.json_codec import encode
from gateway.dialects.openai_errors import error_body

PATH = "/responses/input_tokens"


def read_count(body: dict[str, Any]) -> Sequence[Event]:
    """No `Usage`: a count costs nothing and its tokens are nobody's yet."""
    if type(body["input_tokens"]) is not int:
        raise ValueError("input_tokens is no whole number")
    return (Started("", "", 0, counted(body["input_tokens"])), Finished())


class CountOutlet:
    """One body, made from what was counted."""

    content_type = "application/json"
    streaming = False

    def __init__(self) -> None:
        self._told: dict[str, Any] = {}

    def push(self, frame: Frame) -> bytes:
        for event in frame.events:
            if type(event) is Started:
                self._told = count_of(event.extra)
        return b""

    def finish(self) -> bytes:
        told: bytes = encode({"object": "response.input_tokens", **self._told})
        return told

    def fail(self, fault: GatewayFault) -> bytes:
        return error_body(fault)

    def block(self, blocked: Blocked) -> bytes:
        return self.fail(BadRequest(f"The request was stopped by {blocked.check!r}.", code="content_filter"))
