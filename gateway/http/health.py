"""`/livez`, `/readyz`, `/metrics`, `/schema`, `/`: cheap, and answered without touching anything outside."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec
from litestar import MediaType, Response, get, route
from litestar.enums import HttpMethod
from litestar.handlers import HTTPRouteHandler


class Readiness(msgspec.Struct):
    """What `/readyz` tells. `draining` turns it to 503, and so does having no endpoint at all; a degraded part does not:
    the gateway still answers."""

    draining: bool = False


def health_routes(
    readiness: Readiness,
    degraded: Callable[[], Mapping[str, str]],
    metrics: Callable[[], bytes] | None,
    schema: Callable[[], bytes],
    waiting: Callable[[], str | None] = lambda: None,
) -> list[HTTPRouteHandler]:
    """`degraded` maps each part that is out of order to what is wrong with it, from state already known. `waiting`: what
    is missing for any request to be answered, if anything is."""

    @get("/livez", media_type=MediaType.TEXT, sync_to_thread=False)
    def livez() -> str:
        return "ok"

    @get("/readyz", sync_to_thread=False)
    def readyz() -> Response[dict[str, object]]:
        missing = waiting()
        status = "draining" if readiness.draining else "waiting" if missing else "ready"
        told: dict[str, object] = {"status": status, "degraded": dict(degraded())}
        if missing:
            told["waiting"] = missing
        return Response(told, status_code=200 if status == "ready" else 503)

    @route("/", http_method=[HttpMethod.GET, HttpMethod.HEAD], sync_to_thread=False)
    def root() -> dict[str, str]:
        return {"name": "tidegate", "docs": "/console", "api": "/v1"}

    @get("/schema", sync_to_thread=False)
    def schema_() -> Response[bytes]:
        return Response(schema(), media_type=MediaType.JSON)

    handlers: list[HTTPRouteHandler] = [livez, readyz, root, schema_]
    if metrics is not None:
        page = metrics

        @get("/metrics", sync_to_thread=False)
        def metrics_() -> Response[bytes]:
            return Response(page(), media_type="text/plain; version=0.0.4; charset=utf-8")

        handlers.append(metrics_)
    return handlers
