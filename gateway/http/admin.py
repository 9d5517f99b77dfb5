"""What all of `/admin/v1` has in common: who may, what is read of a body, and how a fault is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from litestar import MediaType, Request, Response

from gateway.core.errors import BadRequest, GatewayFault, TooLarge, Unauthenticated
from gateway.dialects.openai_errors import error_body

HEADERS = {"cache-control": "no-store"}
MOST_BODY = 64 * 1024

Allowed = Callable[[Mapping[str, str]], bool]
"""Whether these request headers may manage the gateway."""


def admit(request: Request[Any, Any, Any], allowed: Allowed) -> None:
    """Raises `Unauthenticated`."""
    if not allowed(request.headers):
        raise Unauthenticated("An admin key is needed.")


async def json_body(request: Request[Any, Any, Any], most: int = MOST_BODY) -> bytes:
    """Raises `TooLarge`, and `BadRequest` for what does not call itself JSON: no page of another origin can send that
    without being asked first."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise BadRequest("The body must be JSON, with content-type application/json.")
    data = b""
    async for piece in request.stream():
        data += piece
        if len(data) > most:
            raise TooLarge(f"The body is larger than {most} bytes.")
    return data


def fault_reply(fault: GatewayFault) -> Response[bytes]:
    return Response(error_body(fault), status_code=fault.wire.status, media_type=MediaType.JSON, headers=HEADERS)
