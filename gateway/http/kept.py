"""What belongs to stored responses: nothing is stored here, and each path that would need it says so."""

from __future__ import annotations

from typing import Any

from litestar import MediaType, Request, Response, route
from litestar.enums import HttpMethod
from litestar.handlers import HTTPRouteHandler

from gateway.core.errors import NotFound
from gateway.dialects.openai_errors import error_body
from gateway.http.protocol import Rejected
from gateway.http.routes import ROOTS

_METHODS = [HttpMethod.GET, HttpMethod.POST, HttpMethod.DELETE]
_PATHS = ("/responses/{id:str}", "/responses/{id:str}/cancel", "/responses/{id:str}/input_items", "/responses/compact")


def stored_response_routes(rejected: Rejected) -> list[HTTPRouteHandler]:
    @route([root + path for root in ROOTS["responses"] for path in _PATHS], http_method=_METHODS, sync_to_thread=False)
    def stored(request: Request[Any, Any, Any]) -> Response[bytes]:
        fault = NotFound(
            "This gateway keeps no responses (store: false), so there is none to read, go on with, cancel or delete. Send "
            "the whole conversation in input.",
            param="id",
            code="response_not_found",
        )
        rejected(fault.name)
        return Response(error_body(fault), status_code=fault.wire.status, media_type=MediaType.JSON)

    return [stored]
