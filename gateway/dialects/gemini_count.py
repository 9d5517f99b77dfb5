"""`POST /v1beta/models/{m}:countTokens`: its whole answer is `{"totalTokens": N}`. Where `"estimated": true`
stands beside it, the model's provider has not counted, but the gateway has estimated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.core.errors import BadRequest, GatewayFault
from gateway.core.events import Blocked, Event, Finished, Frame, Started
from gateway.core.exchange import Exchange
from gateway.dialects.counted import count_of, counted
from gateway.dialects.gemini_errors import error_body
from gateway.dialects.gemini_extra import NAME
from gateway.dialects.json_codec import encode


def read_count(body: dict[str, Any]) -> Sequence[Event]:
    """No `Usage`: a count costs nothing and its tokens are nobody's yet."""
    if type(body["totalTokens"]) is not int:
        raise ValueError("totalTokens is no whole number")
    return (Started("", "", 0, counted(body["totalTokens"])), Finished())


class CountOutlet:
    """One body, relayed as it came or made from what was counted."""

    content_type = "application/json"
    streaming = False

    def __init__(self, exchange: Exchange) -> None:
        self._id = exchange.id
        self._raw: bytes | None = None
        self._told: dict[str, Any] = {}

    def push(self, frame: Frame) -> bytes:
        if frame.raw is not None and frame.dialect == NAME:
            self._raw = frame.raw
        for event in frame.events:
            if type(event) is Started:
                self._told = count_of(event.extra)
        return b""

    def finish(self) -> bytes:
        if self._raw is not None:
            return self._raw
        return encode({"totalTokens" if name == "input_tokens" else name: value for name, value in self._told.items()})

    def fail(self, fault: GatewayFault) -> bytes:
        return error_body(fault, self._id)

    def block(self, blocked: Blocked) -> bytes:
        return self.fail(BadRequest(f"The request was stopped by {blocked.check!r}.", code="content_filter"))
