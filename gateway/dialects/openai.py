"""The OpenAI dialect: chat completions, legacy completions, embeddings, both ways; reranking and images, relayed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gateway.core.errors import GatewayFault
from gateway.core.exchange import Exchange
from gateway.core.plan import Target
from gateway.core.ports import Call, Inlet, Outlet
from gateway.core.request import Body, Operation, Request
from gateway.dialects import params as table
from gateway.dialects.answers import answers
from gateway.dialects.call_ids import fit_messages
from gateway.dialects.json_codec import encode
from gateway.dialects.neutral import Neutral, no_operation
from gateway.dialects.openai_bodies import read_chat, read_completion, read_embeddings
from gateway.dialects.openai_choices import read_chat_choice, read_text_choice
from gateway.dialects.openai_errors import error_body, model_list
from gateway.dialects.openai_extra import NAME
from gateway.dialects.openai_fold import FoldingOutlet, RelayOutlet
from gateway.dialects.openai_from_neutral import from_neutral
from gateway.dialects.openai_inlet import StreamInlet
from gateway.dialects.openai_outlet import StreamOutlet
from gateway.dialects.openai_read import read
from gateway.dialects.openai_relayed import PATHS, read_images, read_relayed, read_reranked
from gateway.dialects.openai_render import render_chat, render_text
from gateway.dialects.openai_writer import ChatWriter, TextWriter
from gateway.dialects.upstream_faults import fault_of
from gateway.dialects.whole_inlet import WholeInlet

_PATHS: Mapping[str, str] = {
    "chat": "/chat/completions",
    "completions": "/completions",
    "embeddings": "/embeddings",
    **PATHS,
}
_HEADERS = {"content-type": "application/json", "accept": "application/json", "accept-encoding": "identity"}
_STREAM_HEADERS = {**_HEADERS, "accept": "text/event-stream"}

ToNeutral = Callable[[Body], Neutral]


class OpenAI:
    """A `Dialect`. `readers` turn the bodies of other dialects into canonical requests."""

    name = NAME
    beat = b": keepalive\n\n"

    def __init__(self, readers: Mapping[str, ToNeutral], vectors: Mapping[str, Callable[[Body], Body]]) -> None:
        """`vectors` turn other dialects' requests for vectors into this one's."""
        self._readers = readers
        self._vectors = vectors

    # --- the client's side

    def read(self, operation: Operation, body: Body) -> Request:
        return read_relayed(operation, body) if operation in PATHS else read(operation, body)

    def outlet(self, exchange: Exchange) -> Outlet:
        if exchange.operation == "embeddings" or exchange.operation in PATHS:
            return RelayOutlet(exchange)
        chat = exchange.operation == "chat"
        if exchange.asked().stream:
            return StreamOutlet(exchange, ChatWriter() if chat else TextWriter())
        return (
            FoldingOutlet(exchange, render_chat, "chatcmpl") if chat else FoldingOutlet(exchange, render_text, "cmpl")
        )

    def error(self, fault: GatewayFault, exchange_id: str) -> bytes:
        return error_body(fault)

    def models(self, aliases: Sequence[str], created: int, *, one: bool = False) -> bytes:
        return model_list(aliases, created, one=one)

    # --- the upstream's side

    def call(self, request: Request, target: Target, stream: bool, params: Mapping[str, Any]) -> Call:
        """Streams always ask for usage: the outlet tells it to clients that asked, and keeps it from those that did not.
        `request.body` is not written to: another target may need it."""
        operation = request.operation
        stream = stream and operation in ("chat", "completions")
        body = self._body(request, params)
        body["model"] = target.model
        if stream:
            body["stream"] = True
            body["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}
        else:
            body.pop("stream", None)
            body.pop("stream_options", None)
        if params:
            table.apply(body, params)
            if "call_ids" in params and operation == "chat":
                body["messages"] = fit_messages(body["messages"], params["call_ids"]["length"])
        headers = dict(_STREAM_HEADERS if stream else _HEADERS)
        return Call("POST", _PATHS[operation], headers, encode(body), stream)

    def _body(self, request: Request, params: Mapping[str, Any]) -> Body:
        if request.dialect == NAME:
            return dict(request.body)
        if request.operation == "embeddings" and request.dialect in self._vectors:
            return self._vectors[request.dialect](request.body)
        if request.operation != "chat":
            raise no_operation(request.operation)
        return from_neutral(self._readers[request.dialect](table.dropped(request.body, params)))

    def inlet(self, request: Request, stream: bool) -> Inlet:
        if request.operation == "embeddings":
            return WholeInlet(NAME, read_embeddings, relayed=True)
        if request.operation == "rerank":
            return WholeInlet(NAME, read_reranked, relayed=True)
        if request.operation in PATHS:
            return WholeInlet(NAME, read_images)
        chat = request.operation == "chat"
        whole = _whole_chat if chat else _whole_completion
        if not stream:
            return whole()
        read_choice, writer = (read_chat_choice, ChatWriter) if chat else (read_text_choice, TextWriter)
        return StreamInlet(read_choice, writer.wire_object, whole, answers(request))

    def fault(self, status: int, headers: Mapping[str, str], body: bytes) -> GatewayFault:
        return fault_of(status, headers, body)


def _whole_chat() -> Inlet:
    return WholeInlet(NAME, read_chat)


def _whole_completion() -> Inlet:
    return WholeInlet(NAME, read_completion)
