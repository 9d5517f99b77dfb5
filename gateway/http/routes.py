"""Every path we answer, in one table, as thin Litestar routes over the edge."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from litestar import MediaType, Request, Response, asgi, get
from litestar.exceptions import HTTPException, MethodNotAllowedException, NotFoundException
from litestar.handlers import ASGIRouteHandler, HTTPRouteHandler
from litestar.types import ExceptionHandler

from gateway.core.errors import BadRequest, GatewayFault, Internal, MethodNotAllowed, NotFound, UnknownModel
from gateway.core.ports import Dialect
from gateway.core.request import Operation
from gateway.http.asgi import Headers, Receive, Scope, Send
from gateway.http.edge import Edge
from gateway.http.protocol import Rejected
from gateway.http.query import KEY_HEADER, with_key

# path below the dialect's roots, dialect, operation
EXCHANGES: tuple[tuple[str, str, Operation], ...] = (
    ("/chat/completions", "openai", "chat"),
    ("/completions", "openai", "completions"),
    ("/embeddings", "openai", "embeddings"),
    ("/rerank", "openai", "rerank"),
    ("/images/generations", "openai", "images"),
    ("/messages", "anthropic", "chat"),
    ("/messages/count_tokens", "anthropic", "count_tokens"),
    ("/responses", "responses", "chat"),
    ("/responses/input_tokens", "responses", "input_tokens"),
)

ROOTS: Mapping[str, tuple[str, ...]] = {
    "openai": ("/v1", "", "/openai/v1"),
    "anthropic": ("/v1", "/anthropic/v1"),
    "responses": ("/v1", "", "/openai/v1"),
    "gemini": ("/v1beta", "/gemini/v1beta", "/gemini/v1"),
}
"""SDKs differ in whether `base_url` ends in `/v1`, so both are answered. Gemini's calls are taken in `http.gemini`."""

_STARTS = (("/anthropic", "anthropic"), ("/openai", "openai"), ("/gemini", "gemini"), ("/v1beta", "gemini"))
_SPEAKS = {b"anthropic-version": "anthropic", KEY_HEADER: "gemini"}

Handle = Callable[[Scope, Receive, Send], Awaitable[None]]


def exchange_handles(edge: Edge, dialects: Mapping[str, Dialect], rejected: Rejected) -> dict[str, Handle]:
    """What serves each path that starts an exchange."""
    return {
        root + path: only("POST", dialects[dialect], _serve(edge, dialect, operation), rejected)
        for path, dialect, operation in EXCHANGES
        if dialect in dialects
        for root in ROOTS[dialect]
    }


def exchange_routes(handles: Mapping[str, Handle]) -> list[ASGIRouteHandler]:
    """The same as raw ASGI handlers."""
    return [route([path], handle) for path, handle in handles.items()]


def model_routes(
    aliases: Callable[[Headers], Sequence[str]], dialects: Mapping[str, Dialect], created: int, rejected: Rejected
) -> list[HTTPRouteHandler]:
    """`GET /v1/models` and `/v1/models/{id}`. `aliases` gives what the caller's key may see, or raises a fault.

    Ordinary Litestar handlers: its router cannot parse path parameters for raw ASGI ones.
    """

    def answer(request: Request[Any, Any, Any], wanted: str) -> Response[bytes]:
        dialect = _dialect_of(request.scope, dialects)
        try:
            names = aliases(with_key(request.scope))
            if wanted and wanted not in names:
                raise UnknownModel(
                    f"The model {wanted[:128]!r} does not exist or this key may not use it.", param="model"
                )
        except GatewayFault as fault:
            rejected(fault.name)
            return Response(dialect.error(fault, ""), status_code=fault.wire.status, media_type=MediaType.JSON)
        body = dialect.models([wanted] if wanted else names, created, one=bool(wanted))
        return Response(body, media_type=MediaType.JSON)

    roots = dict.fromkeys(root for name in dialects for root in ROOTS[name])

    @get([f"{root}/models" for root in roots], sync_to_thread=False)
    def listed(request: Request[Any, Any, Any]) -> Response[bytes]:
        return answer(request, "")

    @get([f"{root}/models/{{model:path}}" for root in roots], sync_to_thread=False)
    def one(request: Request[Any, Any, Any], model: str) -> Response[bytes]:
        return answer(request, str(model).strip("/"))

    return [listed, one]


def _dialect_of(scope: Mapping[str, Any], dialects: Mapping[str, Dialect]) -> Dialect:
    """By the path; else Anthropic's clients name their API version on every call, and Google's their key: that is how one
    path serves all lists."""
    for start, named in _STARTS:
        if scope["path"].startswith(start):
            return dialects[named]
    for name, _ in scope["headers"]:
        if name in _SPEAKS:
            return dialects[_SPEAKS[name]]
    return dialects["openai"]


def _serve(edge: Edge, dialect: str, operation: Operation) -> Handle:
    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        await edge.serve(dialect, operation, scope, receive, send)

    return handle


def only(method: str, dialect: Dialect, handle: Handle, rejected: Rejected) -> Handle:
    """`handle` for one method; any other is answered 405 in the dialect's form."""

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != method:
            fault = MethodNotAllowed(f"{scope['method']} is not allowed here; use {method}.")
            rejected(fault.name)
            await send_json(send, 405, dialect.error(fault, ""), [(b"allow", method.encode())])
            return
        await handle(scope, receive, send)

    return guarded


def route(paths: list[str], handle: Handle) -> ASGIRouteHandler:
    """One raw ASGI handler at several paths."""

    async def handler(scope: Scope, receive: Receive, send: Send) -> None:
        await handle(scope, receive, send)

    return asgi(paths, copy_scope=False)(handler)  # type: ignore[arg-type]


def error_handlers(
    dialects: Mapping[str, Dialect], rejected: Rejected
) -> dict[type[Exception] | int, ExceptionHandler[Any]]:
    """For what reaches no handler of ours: an unknown path, a wrong method on a page, a bug in one."""

    def told(request: Request[Any, Any, Any], fault: GatewayFault) -> Response[bytes]:
        rejected(fault.name)
        body = _dialect_of(request.scope, dialects).error(fault, "")
        return Response(body, status_code=fault.wire.status, media_type="application/json")

    def unknown(request: Request[Any, Any, Any], _error: Exception) -> Response[bytes]:
        return told(request, NotFound(f"There is nothing at {request.method} {request.url.path[:200]}."))

    def wrong_method(request: Request[Any, Any, Any], _error: Exception) -> Response[bytes]:
        return told(request, MethodNotAllowed(f"{request.method} is not allowed at {request.url.path[:200]}."))

    def http(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
        fault = (
            BadRequest("The request cannot be read.") if error.status_code < 500 else Internal("The gateway failed.")
        )
        return told(request, fault)

    def bug(request: Request[Any, Any, Any], _error: Exception) -> Response[bytes]:
        return told(request, Internal("The gateway failed."))

    return {
        NotFoundException: unknown,
        MethodNotAllowedException: wrong_method,
        HTTPException: http,
        Exception: bug,
    }


async def send_json(send: Send, status: int, body: bytes, extra: Sequence[tuple[bytes, bytes]] = ()) -> None:
    """A whole JSON response that belongs to no exchange."""
    lines = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *extra]
    await send({"type": "http.response.start", "status": status, "headers": lines})
    await send({"type": "http.response.body", "body": body})
