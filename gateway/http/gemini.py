"""The paths of Gemini's API, which name the model and what is asked of it: `/v1beta/models/{model}:generateContent`.

Litestar's router has no paths that end so, and none for names with slashes and colons in them; so these are taken before it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from gateway.core.errors import BadRequest, NotFound
from gateway.core.exchange import Exchange
from gateway.core.ports import Dialect
from gateway.core.request import Operation
from gateway.http.asgi import Receive, Scope, Send
from gateway.http.body import BodyReader
from gateway.http.edge import Edge
from gateway.http.protocol import Rejected
from gateway.http.query import query, with_key
from gateway.http.routes import Handle, only, send_json
from gateway.pipeline.receive import TOLD_BY_PATH

DIALECT = "gemini"
_VERBS: Mapping[str, tuple[Operation, bool]] = {
    "generateContent": ("chat", False),
    "streamGenerateContent": ("chat", True),
    "countTokens": ("count_tokens", False),
    "embedContent": ("embeddings", False),
    "batchEmbedContents": ("embeddings", False),
}
"""Operation, and whether the answer is a stream."""
_ANY = re.compile(r"/(?:gemini/v1|(?:gemini/)?v1beta)/models/.+:([A-Za-z]+)", re.DOTALL)
_CALL = re.compile(rf"(?:/gemini)?/v1(?:beta)?/models/(.+):({'|'.join(_VERBS)})", re.DOTALL)


class GeminiDoor:
    """An ASGI application before another: serves Gemini's calls, and lets everything else through."""

    def __init__(self, app: Handle, edge: Edge, dialect: Dialect, rejected: Rejected) -> None:
        self._app = app
        self._edge = edge
        self._dialect = dialect
        self._rejected = rejected
        self._serve_one = only("POST", dialect, self._serve, rejected)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Two cheap looks, because all requests of all dialects come by here.
        if scope["type"] == "http" and ":" in scope["path"] and _CALL.fullmatch(scope["path"]):
            await self._serve_one(scope, receive, send)
        elif scope["type"] == "http" and scope["method"] == "POST" and (match := _ANY.fullmatch(scope["path"])):
            fault = NotFound(f"There is no :{match[1][:64]} here; there are :{', :'.join(_VERBS)}.")
            self._rejected(fault.name)
            await send_json(send, fault.wire.status, self._dialect.error(fault, ""))
        else:
            await self._app(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        match = _CALL.fullmatch(scope["path"])
        assert match is not None, "it was matched before"
        operation, stream = _VERBS[match[2]]
        told = {"model": match[1], "stream": stream}

        def prepare(exchange: Exchange, _reader: BodyReader) -> None:
            exchange.facts.put(TOLD_BY_PATH, told)
            if stream and query(scope).get("alt") != ["sse"]:
                exchange.read_body = _not_an_array

        keyed = {**scope, "headers": with_key(scope)}
        await self._edge.serve(DIALECT, operation, keyed, receive, send, prepare)


async def _not_an_array() -> bytes:
    raise BadRequest("Streams are sent as server-sent events: ask with ?alt=sse, as the SDKs do.", param="alt")
