"""An upstream that has several APIs at one address: each client is answered in its own where the upstream has that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gateway.core.errors import GatewayFault
from gateway.core.exchange import Exchange
from gateway.core.plan import Target
from gateway.core.ports import Call, Dialect, Inlet, Outlet
from gateway.core.request import Body, Operation, Request


class Polyglot:
    """A `Dialect` that is the first one, save for requests of clients that speak one of `native`."""

    def __init__(self, first: Dialect, native: Mapping[str, Dialect]) -> None:
        self.name = first.name
        self.beat = first.beat
        self._first = first
        self._native = native

    def call(self, request: Request, target: Target, stream: bool, params: Mapping[str, Any]) -> Call:
        return self._of(request).call(request, target, stream, params)

    def inlet(self, request: Request, stream: bool) -> Inlet:
        return self._of(request).inlet(request, stream)

    def fault(self, status: int, headers: Mapping[str, str], body: bytes) -> GatewayFault:
        """Errors are told alike in all APIs of one provider."""
        return self._first.fault(status, headers, body)

    def _of(self, request: Request) -> Dialect:
        return self._native.get(request.dialect, self._first)

    # --- the client's side, which an upstream never asks for

    def read(self, operation: Operation, body: Body) -> Request:
        return self._first.read(operation, body)

    def outlet(self, exchange: Exchange) -> Outlet:
        return self._first.outlet(exchange)

    def error(self, fault: GatewayFault, exchange_id: str) -> bytes:
        return self._first.error(fault, exchange_id)

    def models(self, aliases: Sequence[str], created: int, *, one: bool = False) -> bytes:
        return self._first.models(aliases, created, one=one)
