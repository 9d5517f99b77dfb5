"""`POST /v1/moderations`: texts judged by the gateway's own checks, in OpenAI's form. No model provider is asked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec
from litestar.handlers import ASGIRouteHandler

from gateway.core.errors import BadRequest, ClientGone, GatewayFault, Internal
from gateway.core.exchange import new_exchange_id
from gateway.core.ports import Dialect
from gateway.http import headers
from gateway.http.asgi import Headers, Receive, Scope, Send
from gateway.http.body import BodyReader
from gateway.http.edge import Limits
from gateway.http.protocol import Rejected
from gateway.http.routes import ROOTS, only, route, send_json

MODEL = "tidegate-moderation"
MAX_TEXTS = 256
MAX_CHARS = 200_000
"""Of all texts of a request together."""

CATEGORIES = (
    "harassment", "harassment/threatening", "hate", "hate/threatening", "illicit", "illicit/violent", "self-harm",
    "self-harm/instructions", "self-harm/intent", "sexual", "sexual/minors", "violence", "violence/graphic",
)  # fmt: skip
"""OpenAI's, all of which its clients expect. Those we do not look for say so in `category_applied_input_types`."""


class Judged(Protocol):
    """What the checks say of one text, for each category they looked for."""

    @property
    def scores(self) -> Mapping[str, float]: ...

    @property
    def categories(self) -> Mapping[str, bool]: ...


Judge = Callable[[Sequence[str]], Awaitable[Sequence[Judged]]]
"""One judgement for each text, in order."""


class _Part(msgspec.Struct):
    type: str
    text: str | None = None


class _Asked(msgspec.Struct):
    input: str | list[str | _Part]
    model: str | None = None


class Moderations:
    """Answers one request. `enter` raises `Unauthenticated` for whoever may not."""

    def __init__(
        self, judge: Judge, enter: Callable[[Headers], None], dialect: Dialect, limits: Limits, rejected: Rejected
    ) -> None:
        self._judge = judge
        self._enter = enter
        self._dialect = dialect
        self._limits = limits
        self._rejected = rejected

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        given, _ = headers.decode(scope["headers"])
        id = headers.exchange_id(given, new_exchange_id())
        reader = BodyReader(receive, given, self._limits.max_body, self._limits.body_seconds)
        extra = [(b"x-request-id", id.encode("latin-1", "replace"))]
        try:
            self._enter(scope["headers"])
            status, body = 200, await self._answer(id, await reader())
        except ClientGone:
            return
        except GatewayFault as fault:
            status, body = self._failed(fault, id)
            extra += headers.of_fault(fault)
        except Exception:
            status, body = self._failed(Internal("The gateway failed."), id)
        if not reader.done:  # not at a message boundary, so the connection cannot serve another request
            extra.append((b"connection", b"close"))
        await send_json(send, status, body, extra)
        await reader.discard()

    def _failed(self, fault: GatewayFault, id: str) -> tuple[int, bytes]:
        self._rejected(fault.name)
        return fault.wire.status, self._dialect.error(fault, id)

    async def _answer(self, id: str, data: bytes) -> bytes:
        texts = texts_of(data)
        results = [_result(judged) for judged in await self._judge(texts)]
        return msgspec.json.encode({"id": f"modr-{id}", "model": MODEL, "results": results})


def moderation_routes(moderations: Moderations, dialect: Dialect, rejected: Rejected) -> list[ASGIRouteHandler]:
    paths = [f"{root}/moderations" for root in ROOTS["openai"]]
    return [route(paths, only("POST", dialect, moderations, rejected))]


def texts_of(data: bytes) -> list[str]:
    """The texts to judge: a string, each of a list of strings, or a list of text parts as one. Raises `BadRequest`."""
    try:
        asked = msgspec.json.decode(data, type=_Asked).input
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadRequest(
            "The body must be a JSON object whose `input` is a string, a list of strings, or a list of text parts.",
            param="input",
        ) from None
    items = [asked] if isinstance(asked, str) else asked
    if not 1 <= len(items) <= MAX_TEXTS:
        raise BadRequest(f"input must have 1 to {MAX_TEXTS} items.", param="input")
    if any(isinstance(item, _Part) and (item.type != "text" or item.text is None) for item in items):
        raise BadRequest("input may have parts of the type `text` only: images cannot be judged here.", param="input")
    texts = [item if isinstance(item, str) else item.text or "" for item in items]
    if sum(map(len, texts)) > MAX_CHARS:
        raise BadRequest(f"input must not be longer than {MAX_CHARS} characters in all.", param="input")
    return texts if all(isinstance(item, str) for item in items) else ["\n".join(texts)]


def _result(judged: Judged) -> dict[str, Any]:
    names = dict.fromkeys((*CATEGORIES, *judged.scores))
    return {
        "flagged": any(judged.categories.values()),
        "categories": {name: judged.categories.get(name, False) for name in names},
        "category_scores": {name: round(judged.scores.get(name, 0.0), 4) for name in names},
        "category_applied_input_types": {name: ["text"] if name in judged.scores else [] for name in names},
    }
