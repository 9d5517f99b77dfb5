"""OpenAI's Responses dialect, stateless: the client's side. Upstreams are asked in their own dialect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gateway.core.errors import GatewayFault
from gateway.core.exchange import Exchange
from gateway.core.plan import Target
from gateway.core.ports import Call, Inlet, Outlet
from gateway.core.request import Body, Operation, Request
from gateway.dialects.neutral import no_operation
from gateway.dialects.openai_errors import error_body, model_list
from gateway.dialects.responses_extra import NAME
from gateway.dialects.responses_outlet import FoldingOutlet, StreamOutlet
from gateway.dialects.responses_read import read
from gateway.dialects.upstream_faults import fault_of


class Responses:
    """A `Dialect`. Errors and model lists are those of OpenAI's other APIs."""

    name = NAME

    # --- the client's side

    def read(self, operation: Operation, body: Body) -> Request:
        return read(operation, body)

    def outlet(self, exchange: Exchange) -> Outlet:
        return StreamOutlet(exchange) if exchange.asked().stream else FoldingOutlet(exchange)

    def error(self, fault: GatewayFault, exchange_id: str) -> bytes:
        return error_body(fault)

    def models(self, aliases: Sequence[str], created: int, *, one: bool = False) -> bytes:
        return model_list(aliases, created, one=one)

    # --- the upstream's side

    def call(self, request: Request, target: Target, stream: bool, params: Mapping[str, Any]) -> Call:
        raise no_operation("responses API that this gateway can call")

    def inlet(self, request: Request, stream: bool) -> Inlet:
        raise no_operation("responses API that this gateway can call")

    def fault(self, status: int, headers: Mapping[str, str], body: bytes) -> GatewayFault:
        return fault_of(status, headers, body)
