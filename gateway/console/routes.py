"""The console's routes. The page holds no data; its API asks for an admin key wherever keys are in force."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any

from litestar import MediaType, Request, Response, get
from litestar.handlers import HTTPRouteHandler

from gateway.console.recent import Recent
from gateway.console.series import SPANS, Series

Allowed = Callable[[Mapping[str, str]], bool]
"""Whether these request headers may see the console's data."""

_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}
_FILES = {
    "app.js": "text/javascript",
    "view.js": "text/javascript",
    "detail.js": "text/javascript",
    "pools.js": "text/javascript",
    "trends.js": "text/javascript",
    "plots.js": "text/javascript",
    "words.js": "text/javascript",
    "style.css": "text/css",
}


def console_routes(recent: Recent, series: Series, allowed: Allowed) -> list[HTTPRouteHandler]:
    static = files("gateway.console") / "static"
    page = (static / "index.html").read_bytes()
    assets = {name: (static / name).read_bytes() for name in _FILES}

    @get("/console", sync_to_thread=False)
    def index() -> Response[bytes]:
        return Response(page, media_type=MediaType.HTML, headers=_HEADERS)

    @get("/console/{name:str}", sync_to_thread=False)
    def asset(name: str) -> Response[bytes]:
        if name not in assets:
            return Response(b"not found", status_code=404, media_type=MediaType.TEXT, headers=_HEADERS)
        return Response(assets[name], media_type=_FILES[name], headers=_HEADERS)

    @get("/console/api/receipts", sync_to_thread=False)
    def receipts(request: Request[Any, Any, Any], after: int = 0) -> Response[dict[str, object]]:
        if not allowed(request.headers):
            return Response({"error": "an admin key is needed"}, status_code=401, headers=_HEADERS)
        return Response(recent.since(after), headers=_HEADERS)

    @get("/console/api/series", sync_to_thread=False)
    def over_time(request: Request[Any, Any, Any], span: str = "15m") -> Response[dict[str, object]]:
        if not allowed(request.headers):
            return Response({"error": "an admin key is needed"}, status_code=401, headers=_HEADERS)
        if span not in SPANS:
            return Response({"error": f"span: one of {', '.join(SPANS)}"}, status_code=400, headers=_HEADERS)
        return Response(series.told(span), headers=_HEADERS)

    return [index, asset, receipts, over_time]
