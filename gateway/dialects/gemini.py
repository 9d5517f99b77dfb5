"""The Gemini dialect: `generateContent`, its stream, the counting of tokens and vectors, both ways."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from gateway.core.errors import GatewayFault
from gateway.core.exchange import Exchange
from gateway.core.plan import Target
from gateway.core.ports import Call, Inlet, Outlet
from gateway.core.request import Body, Operation, Request
from gateway.dialects import params as table
from gateway.dialects.answers import answers
from gateway.dialects.gemini_blobs import packed
from gateway.dialects.gemini_count import count_outlet, read_count
from gateway.dialects.gemini_embed import embed_body, reader_for
from gateway.dialects.gemini_errors import error_body, model_list, upstream_fault
from gateway.dialects.gemini_extra import NAME
from gateway.dialects.gemini_from_neutral import from_neutral
from gateway.dialects.gemini_inlet import StreamInlet, read_response
from gateway.dialects.gemini_outlet import FoldingOutlet, StreamOutlet
from gateway.dialects.gemini_read import read
from gateway.dialects.gemini_vectors import VectorsOutlet, native_body, read_native
from gateway.dialects.json_codec import encode
from gateway.dialects.neutral import Neutral, no_operation
from gateway.dialects.whole_inlet import WholeInlet

_HEADERS = {"content-type": "application/json", "accept": "application/json", "accept-encoding": "identity"}
_STREAM_HEADERS = {**_HEADERS, "accept": "text/event-stream"}
_VERBS: Mapping[str, str] = {
    "chat": "generateContent",
    "count_tokens": "countTokens",
    "embeddings": "batchEmbedContents",
}
_STREAM = "streamGenerateContent?alt=sse"
_CONFIG = "generationConfig"

ToNeutral = Callable[[Body], Neutral]


class Gemini:
    """A `Dialect`. `readers` turn the bodies of other dialects into canonical requests."""

    name = NAME
    beat = b"\n\n"
    """An empty line: Google's own client takes a comment for data."""

    def __init__(self, readers: Mapping[str, ToNeutral]) -> None:
        self._readers = readers

    # --- the client's side

    def read(self, operation: Operation, body: Body) -> Request:
        return read(operation, body)

    def outlet(self, exchange: Exchange) -> Outlet:
        if exchange.operation == "count_tokens":
            return count_outlet(exchange)
        if exchange.operation == "embeddings":
            return VectorsOutlet(exchange)
        return StreamOutlet(exchange) if exchange.asked().stream else FoldingOutlet(exchange)

    def error(self, fault: GatewayFault, exchange_id: str) -> bytes:
        return error_body(fault, exchange_id)

    def models(self, aliases: Sequence[str], created: int, *, one: bool = False) -> bytes:
        return model_list(aliases, one=one)

    # --- the upstream's side

    def call(self, request: Request, target: Target, stream: bool, params: Mapping[str, Any]) -> Call:
        """The model is in the path, below whatever the base URL says comes before it (a version, a project). The table of
        parameters reaches into `generationConfig` by names such as `generationConfig.temperature`. `request.body` is not
        written to: another target may need it."""
        operation = request.operation
        verb = _VERBS.get(operation)
        if verb is None:
            raise no_operation(operation)
        stream = stream and operation == "chat"
        model = target.model if "/" in target.model else f"models/{target.model}"
        body = self._body(request, model, params)
        if params:
            _apply(body, params)
        if operation == "embeddings" and "content" in body:
            verb = "embedContent"
        path = f"/{quote(model, safe='/@:.-_~')}:{_STREAM if stream else verb}"
        return Call("POST", path, dict(_STREAM_HEADERS if stream else _HEADERS), encode(body), stream)

    def _body(self, request: Request, model: str, params: Mapping[str, Any]) -> Body:
        if request.operation == "embeddings":
            own = request.dialect == NAME
            return native_body(request.body, model) if own else embed_body(table.dropped(request.body, params), model)
        if request.dialect == NAME:
            body = packed(request)
            nested = body.get("generateContentRequest")
            if type(nested) is dict and "model" in nested:
                body["generateContentRequest"] = {**nested, "model": model}
            return body
        body = from_neutral(self._readers[request.dialect](table.dropped(request.body, params)))
        return {"generateContentRequest": {"model": model, **body}} if request.operation == "count_tokens" else body

    def inlet(self, request: Request, stream: bool) -> Inlet:
        if request.operation == "count_tokens":
            return WholeInlet(NAME, read_count)
        if request.operation == "embeddings":
            own = request.dialect == NAME
            return WholeInlet(NAME, read_native, relayed=True) if own else WholeInlet(NAME, reader_for(request))
        return StreamInlet(answers(request)) if stream else WholeInlet(NAME, read_response)

    def fault(self, status: int, headers: Mapping[str, str], body: bytes) -> GatewayFault:
        return upstream_fault(status, headers, body)


def _apply(body: Body, params: Mapping[str, Any]) -> None:
    """The table's rules for fields of the body, and of its `generationConfig`, which is made where a rule fills it."""
    own: dict[str, Any] = {}
    inner: dict[str, Any] = {}
    for kind, rules in params.items():
        for name in rules:
            outer, dot, field = name.partition(".")
            inside = bool(dot) and outer == _CONFIG
            place, key = (inner, field) if inside else (own, name)
            if kind == "drop":
                place.setdefault(kind, []).append(key)
            else:
                value = rules[name]
                place.setdefault(kind, {})[key] = value.removeprefix(f"{_CONFIG}.") if kind == "rename" else value
    table.apply(body, own)
    if inner:
        config = dict(body.get(_CONFIG) or {})
        table.apply(config, inner)
        if config or _CONFIG in body:
            body[_CONFIG] = config
