"""`GET /admin/v1/receipts/{id}`: one decision record whole, for who may watch. `tidegate explain` tells it as a story."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from litestar import MediaType, Request, Response, get
from litestar.handlers import HTTPRouteHandler

from gateway.console.recent import Recent
from gateway.core.errors import GatewayFault, NotFound, Unauthenticated
from gateway.core.events import Usage
from gateway.core.receipt import Receipt
from gateway.dialects.openai_errors import error_body
from gateway.feedback.rating import Rating

_HEADERS = {"cache-control": "no-store"}


def record_routes(recent: Recent, allowed: Callable[[Mapping[str, str]], bool]) -> list[HTTPRouteHandler]:
    """`allowed`: whether these request headers may see records."""

    @get("/admin/v1/receipts/{id:str}", sync_to_thread=False)
    def record(request: Request[Any, Any, Any], id: str) -> Response[bytes]:
        if not allowed(request.headers):
            return _fault(Unauthenticated("An admin key is needed."))
        found = recent.find(id)
        if found is None:
            return _fault(NotFound("No such record is kept.", code="receipt_not_found"))
        return Response(record_of(found, recent.rating(id)), media_type=MediaType.JSON, headers=_HEADERS)

    return [record]


def record_of(receipt: Receipt, rating: Rating | None = None) -> bytes:
    """As JSON, field by field. Of usages only the counts: the upstream's own object may hold anything. `feedback`: what the
    asker thought of the answer, if it said."""
    attempts = tuple(
        msgspec.structs.replace(call, usage=_counts(call.usage), estimated=_counts(call.estimated))
        for call in receipt.attempts
    )
    told = msgspec.structs.replace(receipt, attempts=attempts, usage=_counts(receipt.usage))
    if rating is None:
        return msgspec.json.encode(told)
    return msgspec.json.encode({**msgspec.structs.asdict(told), "feedback": rating})


def _counts(usage: Usage | None) -> Usage | None:
    return msgspec.structs.replace(usage, raw=None, extra=None) if usage is not None else None


def _fault(fault: GatewayFault) -> Response[bytes]:
    return Response(error_body(fault), status_code=fault.wire.status, media_type=MediaType.JSON, headers=_HEADERS)
