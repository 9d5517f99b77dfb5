"""The Anthropic dialect: messages and the counting of their tokens, both directions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gateway.core.errors import GatewayFault
from gateway.core.exchange import Exchange
from gateway.core.plan import Target
from gateway.core.ports import Call, Inlet, Outlet
from gateway.core.request import Body, Operation, Request
from gateway.dialects import params as table
from gateway.dialects.anthropic_body import read_message
from gateway.dialects.anthropic_count import PATH, count_outlet, read_count
from gateway.dialects.anthropic_errors import error_body, model_list
from gateway.dialects.anthropic_extra import NAME
from gateway.dialects.anthropic_from_neutral import DEFAULT_MAX_TOKENS, from_neutral
from gateway.dialects.anthropic_inlet import StreamInlet
from gateway.dialects.anthropic_outlet import FoldingOutlet, StreamOutlet
from gateway.dialects.anthropic_read import read
from gateway.dialects.json_codec import encode
from gateway.dialects.neutral import Neutral, no_operation
from gateway.dialects.upstream_faults import fault_of
from gateway.dialects.whole_inlet import WholeInlet

API_VERSION = "2023-06-01"
_HEADERS = {
    "content-type": "application/json",
    "accept": "application/json",
    "accept-encoding": "identity",
    "anthropic-version": API_VERSION,
}
_STREAM_HEADERS = {**_HEADERS, "accept": "text/event-stream"}

ToNeutral = Callable[[Body], Neutral]


class Anthropic:
    """A `Dialect`. `readers` turn the bodies of other dialects into canonical requests."""

    name = NAME
    beat = b'event: ping\ndata: {"type":"ping"}\n\n'

    def __init__(self, readers: Mapping[str, ToNeutral]) -> None:
        self._readers = readers

    # --- the client's side

    def read(self, operation: Operation, body: Body) -> Request:
        return read(operation, body)

    def outlet(self, exchange: Exchange) -> Outlet:
        if exchange.operation == "count_tokens":
            return count_outlet(exchange)
        return StreamOutlet(exchange) if exchange.asked().stream else FoldingOutlet(exchange)

    def error(self, fault: GatewayFault, exchange_id: str) -> bytes:
        return error_body(fault, exchange_id)

    def models(self, aliases: Sequence[str], created: int, *, one: bool = False) -> bytes:
        return model_list(aliases, created, one=one)

    # --- the upstream's side

    def call(self, request: Request, target: Target, stream: bool, params: Mapping[str, Any]) -> Call:
        """`request.body` is not written to: another target may need it. The client's own `anthropic-version` and
        `anthropic-beta` are laid over these headers by whoever sends the call."""
        chat = request.operation == "chat"
        if not chat and request.operation != "count_tokens":
            raise no_operation(request.operation)
        stream = stream and chat
        if request.dialect == NAME:
            body = _without_unsigned(dict(request.body))
        else:
            body = from_neutral(self._readers[request.dialect](table.dropped(request.body, params)))
        body["model"] = target.model
        body.pop("stream", None)
        if stream:
            body["stream"] = True
        if params:
            table.apply(body, params)
        if chat:
            body.setdefault("max_tokens", DEFAULT_MAX_TOKENS)
        return Call(
            "POST", "/messages" if chat else PATH, dict(_STREAM_HEADERS if stream else _HEADERS), encode(body), stream
        )

    def inlet(self, request: Request, stream: bool) -> Inlet:
        if request.operation == "count_tokens":
            return WholeInlet(NAME, read_count)
        return StreamInlet(read_message) if stream else WholeInlet(NAME, read_message)

    def fault(self, status: int, headers: Mapping[str, str], body: bytes) -> GatewayFault:
        return fault_of(status, headers, body)


def _without_unsigned(body: Body) -> Body:
    """Thinking without a signature was thought by another provider and translated by us; Anthropic rejects it."""
    if any(type(m["content"]) is list and any(map(_unsigned, m["content"])) for m in body["messages"]):
        body["messages"] = [kept for message in body["messages"] if (kept := _signed(message)) is not None]
    return body


def _signed(message: Body) -> Body | None:
    content = message["content"]
    if type(content) is not list:
        return message
    kept = [block for block in content if not _unsigned(block)]
    return {**message, "content": kept} if kept else None


def _unsigned(block: Body) -> bool:
    return block["type"] == "thinking" and not block.get("signature")
