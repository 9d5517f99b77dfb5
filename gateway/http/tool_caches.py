"""`POST /v1/cache/NAMESPACE/lookup` and `/store`: applications keep results of their own tools and retrievals here.

Exchanges like any other: admitted, bounded, timed, with one receipt, so that hits are counted by namespace as they are by
route. Only their pipeline is another: who asks, what is asked, the cache.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from litestar.handlers import ASGIRouteHandler

from cache.stores import StoreDown
from cache.tool_config import owner_name
from cache.tools import Asked, Found, ToolCache
from gateway.core.answer import Answer
from gateway.core.errors import BadRequest, TooLarge
from gateway.core.exchange import CacheNote, Exchange
from gateway.core.facts import Key
from gateway.core.ports import Decider, Dialect
from gateway.core.response import Response
from gateway.http.asgi import Receive, Scope, Send
from gateway.http.body import BodyReader
from gateway.http.edge import Edge
from gateway.http.protocol import Rejected
from gateway.http.routes import ROOTS, only, route
from gateway.http.told import TOLD
from gateway.pipeline.build import Pipeline, unrouted

DEGRADED = "tool_cache"
_LONGEST_TOOL = 256
_MOST_ASKED = 64 * 1024
"""Bytes of all that the value belongs to: it is spelled canonically and hashed on the event loop."""
_MOST_TAGS = 16
_LONGEST_TAG = 128


class Question(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of a lookup."""

    tool: str = ""
    arguments: Any = None
    query: str | None = None
    context: Any = None
    max_age: float | None = None
    """Seconds."""


class Filing(Question, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of a store."""

    value: msgspec.Raw
    ttl: float | None = None
    """Seconds; the namespace's own is the most."""
    tags: list[str] = []


_NAMESPACE: Key[str] = Key("tool cache namespace")
_ASKED: Key[Question] = Key("tool cache question")
_QUESTION = msgspec.json.Decoder(Question).decode
_FILING = msgspec.json.Decoder(Filing).decode


def pipeline(admit: Decider, caches: Mapping[str, ToolCache]) -> Pipeline:
    """What a request goes through. `caches` by namespace; each is a route of its own in receipts and metrics."""
    return unrouted(admit, _Receive(caches), _Answer(caches), map(owner_name, caches))


class _Receive:
    """Decider: what is asked, read and bounded."""

    name = "receive"
    consumes: tuple[Key[Any], ...] = ()
    produces: tuple[Key[Any], ...] = (_ASKED,)

    def __init__(self, caches: Mapping[str, ToolCache]) -> None:
        self._caches = caches

    async def decide(self, exchange: Exchange) -> Answer | None:
        cache = self._caches[exchange.facts.get(_NAMESPACE) or ""]
        data = await exchange.read_body()
        asked = _read(data, _FILING if exchange.operation == "tool_store" else _QUESTION)
        _check(asked, cache.config.kind)
        if len(data) - (len(bytes(asked.value)) if isinstance(asked, Filing) else 0) > _MOST_ASKED:
            raise TooLarge(f"arguments, query and context may have {_MOST_ASKED} bytes in all.", param="arguments")
        exchange.facts.put(_ASKED, asked)
        return None


class _Answer:
    """Decider: leaves what is to be said for the outlet."""

    name = "tool_cache"
    consumes: tuple[Key[Any], ...] = (_ASKED,)
    produces: tuple[Key[Any], ...] = (TOLD,)

    def __init__(self, caches: Mapping[str, ToolCache]) -> None:
        self._caches = caches

    async def decide(self, exchange: Exchange) -> Answer | None:
        namespace, given = exchange.facts.get(_NAMESPACE) or "", exchange.facts.get(_ASKED)
        assert given is not None, "it was read just now"
        cache = self._caches[namespace]
        asked = Asked(tool=given.tool, arguments=given.arguments, query=given.query or "", context=given.context)
        if isinstance(given, Filing):
            told = await _stored(exchange, cache, asked, given)
        else:
            told = await _looked(exchange, cache, asked, given.max_age)
        exchange.facts.put(TOLD, msgspec.json.encode(told))
        served = exchange.cache.result in ("hit", "semantic")
        return Answer(kind="cached" if served else "canned", response=Response(complete=True))


async def _looked(exchange: Exchange, cache: ToolCache, asked: Asked, max_age: float | None) -> dict[str, Any]:
    try:
        found = await cache.look(exchange, asked, max_age)
    except StoreDown as down:
        found = _degraded(exchange, down)
    if isinstance(found, str):
        exchange.cache = CacheNote(result="miss", reason="" if found == "miss" else found)
        return {"hit": False, "reason": found}
    exchange.cache = _note(found)
    more = {"similarity": found.similarity, "score": found.score} if found.score is not None else {}
    return {"hit": True, "id": found.id, "age": round(found.age, 3), **more, "value": msgspec.Raw(found.value)}


async def _stored(exchange: Exchange, cache: ToolCache, asked: Asked, given: Filing) -> dict[str, Any]:
    ttl = cache.config.ttl if given.ttl is None else given.ttl
    try:
        why = await cache.keep(exchange, asked, bytes(given.value), ttl, (*given.tags, *exchange.tags))
    except StoreDown as down:
        why = _degraded(exchange, down)
    exchange.cache = CacheNote(result="bypass", reason="stored" if why is None else f"not_stored:{why}")
    return {"stored": True} if why is None else {"stored": False, "reason": why}


def _degraded(exchange: Exchange, down: StoreDown) -> str:
    exchange.degraded.append(DEGRADED)
    return f"store:{down.why}"


def _note(found: Found) -> CacheNote:
    result = "hit" if found.score is None else "semantic"
    return CacheNote(result=result, id=found.id, similarity=found.similarity, age=found.age)  # type: ignore[arg-type]


def _read(data: bytes, decode: Any) -> Question:
    """Raises `BadRequest` that says what is wrong with the body."""
    try:
        asked: Question = decode(data)
        if isinstance(asked, Filing):
            bytes(asked.value).decode("utf-8")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        why = str(error) if isinstance(error, msgspec.ValidationError) else "it is no JSON object in UTF-8"
        raise BadRequest(f"The body cannot be read: {why}.") from None
    return asked


def _check(asked: Question, kind: str) -> None:
    """Raises `BadRequest` naming the field."""
    if kind == "exact" and (asked.query is not None or not asked.tool):
        raise _wrong("query" if asked.query is not None else "tool", "this namespace goes by `tool` and `arguments`")
    if kind == "semantic" and (asked.arguments is not None or not asked.query):
        raise _wrong("arguments" if asked.arguments is not None else "query", "this namespace goes by `query`")
    if len(asked.tool) > _LONGEST_TOOL:
        raise _wrong("tool", f"at most {_LONGEST_TOOL} characters")
    if asked.max_age is not None and not asked.max_age >= 0:
        raise _wrong("max_age", "seconds, 0 or more")
    if isinstance(asked, Filing):
        if asked.ttl is not None and not asked.ttl > 0:
            raise _wrong("ttl", "seconds, more than 0")
        if len(asked.tags) > _MOST_TAGS or any(not 0 < len(tag) <= _LONGEST_TAG for tag in asked.tags):
            raise _wrong("tags", f"at most {_MOST_TAGS}, of 1 to {_LONGEST_TAG} characters")


def _wrong(field: str, why: str) -> BadRequest:
    return BadRequest(f"{field}: {why}.", param=field)


def tool_cache_routes(
    edge: Edge, dialect: Dialect, namespaces: Mapping[str, ToolCache], rejected: Rejected
) -> list[ASGIRouteHandler]:
    """Two paths for each namespace; others are not found, as any unknown path."""

    def serve(namespace: str, operation: Any) -> Any:
        def prepare(exchange: Exchange, _reader: BodyReader) -> None:
            exchange.facts.put(_NAMESPACE, namespace)
            exchange.route = owner_name(namespace)

        async def served(scope: Scope, receive: Receive, send: Send) -> None:
            await edge.serve(dialect.name, operation, scope, receive, send, prepare)

        return served

    made = []
    for namespace in namespaces:
        for verb in ("lookup", "store"):
            paths = [f"{root}/cache/{namespace}/{verb}" for root in ROOTS["openai"] if root]
            made.append(route(paths, only("POST", dialect, serve(namespace, f"tool_{verb}"), rejected)))
    return made
