"""The paths of what is relayed: sound, files, uploads, batches, changes of pictures."""

from __future__ import annotations

from litestar import asgi
from litestar.handlers import ASGIRouteHandler, HTTPRouteHandler

from gateway.core.errors import GatewayFault, MethodNotAllowed, NotFound
from gateway.core.exchange import Exchange
from gateway.core.ports import Dialect
from gateway.http.asgi import Receive, Scope, Send
from gateway.http.body import BodyReader
from gateway.http.edge import Edge
from gateway.http.kept import stored_response_routes
from gateway.http.protocol import Rejected
from gateway.http.routes import ROOTS, send_json
from gateway.relay.operations import TABLE, find
from gateway.relay.receive import WIRE, Wire

_ROOTS = sorted(ROOTS["openai"], key=len, reverse=True)


class Upload:
    """A client's body, bounded by `server.max_upload`."""

    def __init__(self, exchange: Exchange, reader: BodyReader, most: int) -> None:
        self._exchange = exchange
        self._reader = reader
        self._most = most
        self.length = reader.length

    async def piece(self) -> bytes:
        data = await self._reader.piece(self._most, "server.max_upload")
        self._exchange.bytes_in += len(data)
        return data


def relay_routes(
    edge: Edge, dialect: Dialect, most: int, rejected: Rejected
) -> list[ASGIRouteHandler | HTTPRouteHandler]:
    """`most`: bytes of a body. With them, the paths of what would have to be kept here and is not."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        path, query = _path_of(scope), scope.get("query_string", b"").decode("latin-1")
        row, id, methods = find(path, scope["method"])
        if row is None:
            fault: GatewayFault = NotFound(f"There is nothing at {scope['method']} {path[:200]}.")
            if methods:
                fault = MethodNotAllowed(f"{scope['method']} is not allowed here; use {' or '.join(methods)}.")
            rejected(fault.name)
            allow = [(b"allow", ", ".join(methods).encode())] if methods else []
            await send_json(send, fault.wire.status, dialect.error(fault, ""), allow)
            return
        known = row

        def prepare(exchange: Exchange, reader: BodyReader) -> None:
            exchange.facts.put(WIRE, Wire(known, id, query, Upload(exchange, reader, most)))

        await edge.serve(dialect.name, row.operation, scope, receive, send, prepare)

    fixed = sorted({row.path for row in TABLE if "{" not in row.path and row.model})
    mounts = sorted({"/" + row.path.split("/")[1] for row in TABLE if not row.model})
    return [
        asgi([root + path for root in ROOTS["openai"] for path in fixed], copy_scope=False)(serve),  # type: ignore[arg-type]
        asgi([root + path for root in ROOTS["openai"] for path in mounts], is_mount=True, copy_scope=False)(serve),  # type: ignore[arg-type]
        *stored_response_routes(rejected),
    ]


def _path_of(scope: Scope) -> str:
    """Below the dialect's roots, as the client wrote it; a mount has cut the scope's own."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    path = raw.decode("latin-1").rstrip("/")
    for root in _ROOTS:
        if path.startswith(root + "/"):
            return path[len(root) :]
    return path
