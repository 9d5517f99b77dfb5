"""`POST /v1/feedback`: what the one who asked thinks of an answer. A bad word on a cached answer is evidence against it,
and the entry goes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import msgspec
from litestar import MediaType, Request, Response, post
from litestar.handlers import HTTPRouteHandler

from gateway.core.clock import Clock
from gateway.core.errors import GatewayFault, NotFound, RateLimited
from gateway.core.exchange import Principal
from gateway.core.ports import Limiter
from gateway.dialects.openai_errors import error_body
from gateway.feedback.known import Known, Remembered
from gateway.feedback.rating import Rated, Rating, read
from gateway.http.admin import json_body
from gateway.http.asgi import Headers
from gateway.http.headers import of_fault
from gateway.http.protocol import Rejected
from gateway.http.routes import ROOTS

A_MINUTE = 600
"""Ratings of one key. Counted apart from its requests."""
_MOST_BODY = 16 * 1024

Told = Callable[[str, str, Known, Rating, bool], None]
"""The exchange's id, the key that rated, what was known, what was said, whether it is new."""


class Forget(Protocol):
    """What the caches do about a bad answer of theirs."""

    async def wrong(self, exchange_id: str, entry: str) -> bool:
        """Counts it as wrong where that is counted, and forgets it; whether there was something to forget."""
        ...


class Ratings:
    """Takes ratings. `mask`: what takes private data out of a text. `settle`: records what has just ended."""

    def __init__(
        self,
        authenticate: Callable[[Headers], Principal],
        remembered: Remembered,
        limiter: Limiter,
        forget: Forget,
        clock: Clock,
        *,
        mask: Callable[[str], Awaitable[str]],
        settle: Callable[[], Awaitable[None]],
        told: Told,
    ) -> None:
        self._authenticate = authenticate
        self._remembered = remembered
        self._limiter = limiter
        self._forget = forget
        self._clock = clock
        self._mask = mask
        self._settle = settle
        self._told = told

    async def admit(self, headers: Headers) -> Principal:
        """Raises `Unauthenticated`, `RateLimited`."""
        principal = self._authenticate(headers)
        wait = await self._limiter.take(f"key:{principal.key_id}:feedback", A_MINUTE, 60.0)
        if wait is not None:
            raise RateLimited(f"A key may give {A_MINUTE} ratings a minute.", retry_after=wait)
        return principal

    async def take(self, principal: Principal, rated: Rated) -> dict[str, Any]:
        """Raises `NotFound`, in the same words for what is unknown and for what is another's."""
        await self._settle()
        known = await self._remembered.find(rated.id)
        if known is None or not known.of(principal):
            raise NotFound("There is no such exchange of this key, or not any more.", code="exchange_not_found")
        comment = await self._mask(rated.comment) if rated.comment else ""
        tags = tuple([await self._mask(tag) for tag in rated.tags])
        rating = Rating(rated.word, rated.score, comment, tags, self._clock.wall())
        new = self._remembered.rate(rated.id, rating)
        self._told(rated.id, principal.key_id, known, rating, new)
        evicted = rating.rating == "down" and new and await self._evicted(rated.id, known)
        return {"id": rated.id, "rating": rating.rating, "evicted": evicted}

    async def _evicted(self, id: str, known: Known) -> bool:
        if known.cache not in ("hit", "semantic"):
            return False
        return await self._forget.wrong(id if known.cache == "semantic" else "", known.cache_id)


def feedback_routes(ratings: Ratings, rejected: Rejected) -> list[HTTPRouteHandler]:
    @post([f"{root}/feedback" for root in ROOTS["openai"] if root], status_code=200)
    async def feedback(request: Request[Any, Any, Any]) -> Response[bytes]:
        try:
            principal = await ratings.admit(list(request.scope["headers"]))
            told = await ratings.take(principal, read(await json_body(request, _MOST_BODY)))
        except GatewayFault as fault:
            rejected(fault.name)
            lines = {name.decode("latin-1"): value.decode("latin-1") for name, value in of_fault(fault)}
            return Response(error_body(fault), status_code=fault.wire.status, media_type=MediaType.JSON, headers=lines)
        return Response(msgspec.json.encode(told), media_type=MediaType.JSON)

    return [feedback]
