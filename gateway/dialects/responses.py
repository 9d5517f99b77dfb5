"""OpenAI's Responses dialect, stateless. An upstream is asked in it only for clients that speak it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gateway.core.errors import GatewayFault
from gateway.core.exchange import Exchange
from gateway.core.plan import Target
from gateway.core.ports import Call, Inlet, Outlet
from gateway.core.request import Body, Operation, Request
from gateway.dialects import params as table
from gateway.dialects.json_codec import encode
from gateway.dialects.neutral import no_operation
from gateway.dialects.openai_errors import error_body, model_list
from gateway.dialects.responses_count import PATH, count_outlet, read_count
from gateway.dialects.responses_extra import NAME
from gateway.dialects.responses_inlet import StreamInlet, read_response
from gateway.dialects.responses_outlet import FoldingOutlet, StreamOutlet
from gateway.dialects.responses_read import read
from gateway.dialects.responses_writer import OWN_REASONING
from gateway.dialects.upstream_faults import fault_of
from gateway.dialects.whole_inlet import WholeInlet

_HEADERS = {"content-type": "application/json", "accept": "application/json", "accept-encoding": "identity"}
_STREAM_HEADERS = {**_HEADERS, "accept": "text/event-stream"}


class Responses:
    """A `Dialect`. Errors and model lists are those of OpenAI's other APIs."""

    name = NAME
    beat = b": keepalive\n\n"

    # --- the client's side

    def read(self, operation: Operation, body: Body) -> Request:
        return read(operation, body)

    def outlet(self, exchange: Exchange) -> Outlet:
        if exchange.operation == "input_tokens":
            return count_outlet()
        return StreamOutlet(exchange) if exchange.asked().stream else FoldingOutlet(exchange)

    def error(self, fault: GatewayFault, exchange_id: str) -> bytes:
        return error_body(fault)

    def models(self, aliases: Sequence[str], created: int, *, one: bool = False) -> bytes:
        return model_list(aliases, created, one=one)

    # --- the upstream's side

    def call(self, request: Request, target: Target, stream: bool, params: Mapping[str, Any]) -> Call:
        """Only for clients of this dialect: upstreams that have it have chat completions too, for all others.
        `request.body` is not written to: another target may need it."""
        if request.dialect != NAME:
            raise no_operation("way to be asked this in its responses API")
        body = dict(request.body)
        body["model"] = target.model
        if type(body["input"]) is list and any(map(_unreadable, body["input"])):
            body["input"] = [item for item in body["input"] if not _unreadable(item)]
        body.pop("stream", None)
        if stream and request.operation == "chat":
            body["stream"] = True
        if params:
            table.apply(body, params)
        if request.operation == "input_tokens":
            return Call("POST", PATH, dict(_HEADERS), encode(body), False)
        return Call("POST", "/responses", dict(_STREAM_HEADERS if stream else _HEADERS), encode(body), stream)

    def inlet(self, request: Request, stream: bool) -> Inlet:
        if request.operation == "input_tokens":
            return WholeInlet(NAME, read_count)
        return StreamInlet() if stream else WholeInlet(NAME, read_response)

    def fault(self, status: int, headers: Mapping[str, str], body: bytes) -> GatewayFault:
        return fault_of(status, headers, body)


def _unreadable(item: Body) -> bool:
    """Reasoning that was another provider's: this one would look for its id in vain."""
    own = item.get("type") == "reasoning" and not item.get("encrypted_content")
    return own and str(item.get("id")).startswith(OWN_REASONING)
