"""`GET /admin/v1/endpoints` and `POST /admin/v1/endpoints/drain`: what is known of each replica, and taking one out, for
who may manage the gateway."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import MediaType, Request, Response, get, post
from litestar.handlers import HTTPRouteHandler

from gateway.core.errors import BadRequest, GatewayFault, NotFound
from gateway.http.admin import HEADERS, Allowed, admit, fault_reply, json_body
from gateway.providers.watch import Pools, UnknownEndpoint


class DrainRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`endpoint`: a base URL, or its `host:port`. `drain` must be said: true takes it out, false takes it back."""

    provider: str
    endpoint: str
    drain: bool


def endpoint_routes(pools: Pools, allowed: Allowed) -> list[HTTPRouteHandler]:
    @get("/admin/v1/endpoints", sync_to_thread=False)
    def listed(request: Request[Any, Any, Any]) -> Response[bytes]:
        try:
            admit(request, allowed)
        except GatewayFault as fault:
            return fault_reply(fault)
        return _json({"endpoints": pools.rows(), "degraded": pools.degraded()})

    @post("/admin/v1/endpoints/drain", status_code=200)
    async def drain(request: Request[Any, Any, Any]) -> Response[bytes]:
        try:
            admit(request, allowed)
            asked = msgspec.json.decode(await json_body(request), type=DrainRequest)
            row, everywhere = await pools.drain(asked.provider, asked.endpoint, asked.drain)
        except msgspec.MsgspecError as error:
            return fault_reply(BadRequest(f"The request cannot be read: {error}"))
        except UnknownEndpoint as unknown:
            return fault_reply(NotFound(str(unknown), code="endpoint_not_found"))
        except GatewayFault as fault:
            return fault_reply(fault)
        reach = "every process that shares this Redis" if everywhere else "this process only"
        return _json({"endpoint": row, "reach": reach})

    return [listed, drain]


def _json(value: object) -> Response[bytes]:
    return Response(msgspec.json.encode(value), media_type=MediaType.JSON, headers=HEADERS)
