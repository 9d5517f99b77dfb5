"""`POST /v1/moderations`: texts judged by the gateway's own checks, in OpenAI's form. No model provider is asked.

It is an exchange like any other: admitted, bounded in time, timed by stage, with one receipt. Only its pipeline is
another: who asks, which texts, what the checks say of them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec
from litestar.handlers import ASGIRouteHandler

from gateway.core.answer import Answer
from gateway.core.errors import BadRequest
from gateway.core.exchange import Exchange
from gateway.core.facts import Key
from gateway.core.ports import Decider, Dialect
from gateway.core.response import Response
from gateway.http.asgi import Receive, Scope, Send
from gateway.http.edge import Edge
from gateway.http.protocol import Rejected
from gateway.http.routes import ROOTS, only, route
from gateway.http.told import TOLD
from gateway.pipeline.build import Pipeline, unrouted

MODEL = "tidegate-moderation"
MAX_TEXTS = 256
MAX_CHARS = 200_000
"""Of all texts of a request together."""
SECONDS = 10.0
"""For judging, the wait for it included; less where the exchange's own deadline is nearer."""

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


Judge = Callable[[Sequence[str], float], Awaitable[Sequence[Judged]]]
"""One judgement for each text, in order, within so many seconds. Raises `Unavailable`, `DeadlineExceeded`."""


class _Part(msgspec.Struct):
    type: str
    text: str | None = None


class _Asked(msgspec.Struct):
    input: str | list[str | _Part]
    model: str | None = None


_TEXTS: Key[Sequence[str]] = Key("moderation texts")


def pipeline(admit: Decider, judge: Judge) -> Pipeline:
    """What a request goes through."""
    return unrouted(admit, _Receive(), _Moderate(judge))


class _Receive:
    """Decider: the texts, read and bounded."""

    name = "receive"
    consumes: tuple[Key[Any], ...] = ()
    produces: tuple[Key[Any], ...] = (_TEXTS,)

    async def decide(self, exchange: Exchange) -> Answer | None:
        exchange.facts.put(_TEXTS, texts_of(await exchange.read_body()))
        return None


class _Moderate:
    """Decider: leaves what is to be said of the texts for the outlet."""

    name = "moderate"
    consumes: tuple[Key[Any], ...] = (_TEXTS,)
    produces: tuple[Key[Any], ...] = (TOLD,)

    def __init__(self, judge: Judge) -> None:
        self._judge = judge

    async def decide(self, exchange: Exchange) -> Answer | None:
        texts = exchange.facts.get(_TEXTS) or ()
        judged = await self._judge(texts, min(SECONDS, exchange.remaining()))
        told = {"id": f"modr-{exchange.id}", "model": MODEL, "results": [_result(one) for one in judged]}
        exchange.facts.put(TOLD, msgspec.json.encode(told))
        return Answer(kind="canned", response=Response(complete=True))


def moderation_routes(edge: Edge, dialect: Dialect, rejected: Rejected) -> list[ASGIRouteHandler]:
    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        await edge.serve(dialect.name, "moderations", scope, receive, send)

    paths = [f"{root}/moderations" for root in ROOTS["openai"]]
    return [route(paths, only("POST", dialect, serve, rejected))]


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
