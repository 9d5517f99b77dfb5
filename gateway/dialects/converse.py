"""Amazon Bedrock's Converse API: asked by us, spoken by no client of ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import quote

from gateway.core.errors import GatewayFault
from gateway.core.exchange import Exchange
from gateway.core.plan import Target
from gateway.core.ports import Call, Inlet, Outlet
from gateway.core.request import Body, Operation, Request
from gateway.dialects import params as table
from gateway.dialects.converse_blocks import read_answer
from gateway.dialects.converse_extra import NAME, fault_of
from gateway.dialects.converse_from_neutral import from_neutral
from gateway.dialects.converse_inlet import StreamInlet
from gateway.dialects.json_codec import UNREADABLE, decode, encode
from gateway.dialects.neutral import Neutral, no_operation
from gateway.dialects.upstream_faults import retry_after
from gateway.dialects.whole_inlet import WholeInlet

EVENT_STREAM = "application/vnd.amazon.eventstream"
_HEADERS = {"content-type": "application/json", "accept": "application/json"}
_STREAM_HEADERS = {**_HEADERS, "accept": EVENT_STREAM}
_MAX_BODY = 64 * 1024

ToNeutral = Callable[[Body], Neutral]


class Converse:
    """A `Dialect`, its upstream's side only. `readers` turn the bodies of clients' dialects into canonical requests."""

    name = NAME
    beat = b""

    def __init__(self, readers: Mapping[str, ToNeutral]) -> None:
        self._readers = readers

    def call(self, request: Request, target: Target, stream: bool, params: Mapping[str, Any]) -> Call:
        """The model's name is in the path, percent-encoded: names are ARNs, too. A target that is said to have `reasoning`
        gets back what it thought in earlier turns; others would reject it."""
        if request.operation != "chat":
            raise no_operation(request.operation)
        thoughts = target.capabilities is not None and "reasoning" in target.capabilities
        body = from_neutral(self._readers[request.dialect](table.dropped(request.body, params)), thoughts=thoughts)
        if params:
            table.apply(body, params)
        path = f"/model/{quote(target.model, safe='')}/converse{'-stream' if stream else ''}"
        return Call("POST", path, dict(_STREAM_HEADERS if stream else _HEADERS), encode(body), stream)

    def inlet(self, request: Request, stream: bool) -> Inlet:
        return StreamInlet() if stream else WholeInlet(NAME, read_answer)

    def fault(self, status: int, headers: Mapping[str, str], body: bytes) -> GatewayFault:
        told: Any = None
        with suppress(*UNREADABLE):
            told = decode(body) if len(body) <= _MAX_BODY else None
        told = told if type(told) is dict else {}
        named = {name.lower(): value for name, value in headers.items()}
        name = named.get("x-amzn-errortype") or told.get("__type") or ""
        words = told.get("message") or told.get("Message") or ""
        wait = retry_after(named)
        return fault_of(str(name), status, words if type(words) is str else "", wait)

    # --- the client's side, which nobody asks for

    def read(self, operation: Operation, body: Body) -> Request:
        raise no_operation(operation)

    def outlet(self, exchange: Exchange) -> Outlet:
        raise no_operation(exchange.operation)

    def error(self, fault: GatewayFault, exchange_id: str) -> bytes:
        raise no_operation("client")

    def models(self, aliases: Sequence[str], created: int, *, one: bool = False) -> bytes:
        raise no_operation("list of models")
