"""One ASGI request becomes one exchange. Everything else is the spine's."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

import msgspec

from gateway.core.clock import Clock
from gateway.core.exchange import Exchange, new_exchange_id
from gateway.core.ports import Telling
from gateway.core.request import Operation
from gateway.http import headers
from gateway.http.asgi import Receive, Scope, Send, hangup_of
from gateway.http.body import BodyReader
from gateway.http.responder import Responder
from gateway.pipeline.spine import Spine


class Limits(msgspec.Struct, frozen=True):
    """What a request may cost before it is understood."""

    max_body: int
    """Bytes."""
    body_seconds: float
    """Seconds for the whole body to arrive."""
    timeout: float
    """Seconds for the whole exchange, at most."""


class Edge:
    """Opens exchanges. `operation` and `dialect` come with the route that was asked for."""

    def __init__(
        self,
        spine: Spine,
        dialects: Mapping[str, Telling],
        limits: Limits,
        clock: Clock,
        *,
        sample: float,
        rng: Callable[[], float] = random.random,
    ) -> None:
        self._spine = spine
        self._dialects = dialects
        self._limits = limits
        self._clock = clock
        self._sample = sample
        self._rng = rng

    async def serve(
        self,
        dialect: str,
        operation: Operation,
        scope: Scope,
        receive: Receive,
        send: Send,
        prepare: Callable[[Exchange, BodyReader], None] | None = None,
    ) -> None:
        """Serves one request to its end. Raises only when the process is being stopped. `prepare` may leave notes in the
        exchange before its first stage."""
        given, credential = headers.decode(scope["headers"])
        limits = self._limits
        reader = BodyReader(receive, given, limits.max_body, limits.body_seconds)
        exchange = Exchange(
            id=headers.exchange_id(given, new_exchange_id()),
            dialect=dialect,
            operation=operation,
            headers=given,
            credential=credential,
            read_body=reader,
            clock=self._clock,
            trace=headers.trace(given, self._sample >= 1.0 or self._rng() < self._sample),
            timeout=headers.timeout(given, limits.timeout),
            first_token=headers.first_token(given),
        )
        if prepare is not None:
            prepare(exchange, reader)
        dialect_of = self._dialects[dialect]
        client = Responder(exchange, dialect_of, reader, receive, send, hangup_of(scope))
        try:
            await self._spine.run(exchange, client)
        finally:
            client.unwatch()
