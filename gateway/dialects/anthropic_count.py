"""`POST /v1/messages/count_tokens`: its whole answer is `{"input_tokens": N}`. An answer that has `"estimated": true` beside
it was not counted by the model's provider, which cannot do that, but estimated by the gateway."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.core.errors import BadRequest, GatewayFault
from gateway.core.events import Blocked, Event, Finished, Frame, Started
from gateway.core.exchange import Exchange
from gateway.dialects.anthropic_errors import error_body
from gateway.dialects.anthropic_extra import NAME, unwrap
from gateway.dialects.counted import count_of, counted
from gateway.dialects.json_codec import encode

PATH = "/messages/count_tokens"


def read_count(body: dict[str, Any]) -> Sequence[Event]:
    """No `Usage`: a count costs nothing and its tokens are nobody's yet."""
    if type(body["input_tokens"]) is not int:
        raise ValueError("input_tokens is no whole number")
    return (Started("", "", 0, {NAME: body, **counted(body["input_tokens"])}), Finished())


class CountOutlet:
    """One body, relayed as it came or made from what was counted."""

    content_type = "application/json"
    streaming = False

    def __init__(self, exchange: Exchange) -> None:
        self._id = exchange.id
        self._raw: bytes | None = None
        self._fields: dict[str, Any] = {}

    def push(self, frame: Frame) -> bytes:
        if frame.raw is not None and frame.dialect == NAME:
            self._raw = frame.raw
        for event in frame.events:
            if type(event) is Started:
                self._fields = unwrap(event.extra) or count_of(event.extra)
        return b""

    def finish(self) -> bytes:
        return self._raw if self._raw is not None else encode(self._fields)

    def fail(self, fault: GatewayFault) -> bytes:
        return error_body(fault, self._id)

    def block(self, blocked: Blocked) -> bytes:
        return self.fail(BadRequest(f"The request was stopped by {blocked.check!r}.", code="content_filter"))
