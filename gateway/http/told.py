"""Answers of our own that are JSON and no model's words: a stage makes the body, and this tells it whole."""

from __future__ import annotations

from gateway.core.errors import GatewayFault
from gateway.core.events import Blocked, Frame
from gateway.core.exchange import Exchange
from gateway.core.facts import Key
from gateway.core.ports import Dialect

TOLD: Key[bytes] = Key("told body")
"""Put there by the stage that answers."""


class ToldForm:
    """A `Telling`: the dialect's own faults, and the body that was left under `TOLD`."""

    def __init__(self, dialect: Dialect) -> None:
        self.name = dialect.name
        self.beat = b""
        self.error = dialect.error

    def outlet(self, exchange: Exchange) -> _Outlet:
        return _Outlet(exchange)


class _Outlet:
    content_type = "application/json"
    streaming = False

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def push(self, frame: Frame) -> bytes:
        return b""

    def finish(self) -> bytes:
        told = self._exchange.facts.get(TOLD)
        assert told is not None, "whoever answers has said something"
        return told

    def fail(self, fault: GatewayFault) -> bytes:
        raise AssertionError("an answer that is sent whole cannot fail after its start") from fault

    def block(self, blocked: Blocked) -> bytes:
        raise AssertionError("nothing here looks at answers")
