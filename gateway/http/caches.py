"""`POST /admin/v1/cache/purge`, `DELETE /admin/v1/cache/{id}` and `POST /admin/v1/cache/verdicts`: making the caches
forget, and telling them which near answers were right, for who may manage them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from litestar import MediaType, Request, Response, delete, post
from litestar.handlers import HTTPRouteHandler

from cache.build import Caches
from cache.store_build import Purged
from cache.stores import StoreDown, Which
from gateway.core.errors import BadRequest, GatewayFault, NotFound, Unavailable
from gateway.core.units import parse_duration
from gateway.http.admin import HEADERS, Allowed, admit, fault_reply, json_body


class PurgeRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to forget: the entries that fit all that is given. `dry_run` must be said, so that nobody empties a cache by
    leaving something out."""

    dry_run: bool
    route: str | None = None
    namespace: str | None = None
    """Of `tool_caches`, instead of a route."""
    tag: str | None = None
    tenant: str | None = None
    older_than: float | str | None = None
    """Seconds, or a duration such as `1h`."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A person's word on a near question's cached answer. `id`: `x-request-id` of the exchange, or `x-tidegate-cache-id`
    of the entry, which then means the latest question it answered."""

    id: str
    right: bool


def cache_routes(caches: Caches, allowed: Allowed) -> list[HTTPRouteHandler]:
    """JSON only, which no page of another origin can send without being asked first."""

    @post("/admin/v1/cache/purge", status_code=200)
    async def purge(request: Request[Any, Any, Any]) -> Response[bytes]:
        try:
            admit(request, allowed)
            asked, which = _read(await json_body(request))
            told = await caches.purge(asked.route, which, dry_run=asked.dry_run, namespace=asked.namespace)
        except KeyError:
            what = "route" if asked.namespace is None else "namespace"
            return fault_reply(NotFound(f"There is no such {what}.", code=f"{what}_not_found"))
        except GatewayFault as fault:
            return fault_reply(fault)
        return _told(told, asked.dry_run)

    @delete("/admin/v1/cache/{id:str}", status_code=200)
    async def evict(request: Request[Any, Any, Any], id: str) -> Response[bytes]:
        try:
            admit(request, allowed)
            gone = await caches.evict(id)
        except GatewayFault as fault:
            return fault_reply(fault)
        except StoreDown as down:
            return fault_reply(
                Unavailable(f"The cache's store cannot be asked ({down.why}); nothing is known to be forgotten.")
            )
        if not gone:
            return fault_reply(NotFound("No such entry is kept.", code="cache_entry_not_found"))
        return Response(msgspec.json.encode({"evicted": id}), media_type=MediaType.JSON, headers=HEADERS)

    return [purge, evict, _verdicts(caches, allowed)]


def _verdicts(caches: Caches, allowed: Allowed) -> HTTPRouteHandler:
    @post("/admin/v1/cache/verdicts", status_code=200)
    async def verdicts(request: Request[Any, Any, Any]) -> Response[bytes]:
        try:
            admit(request, allowed)
            told = msgspec.json.decode(await json_body(request), type=Verdict)
            known = await caches.judge(told.id, told.right)
        except msgspec.MsgspecError as error:
            return fault_reply(BadRequest(f"The verdict cannot be read: {error}"))
        except GatewayFault as fault:
            return fault_reply(fault)
        except StoreDown as down:
            return fault_reply(
                Unavailable(f"The verdict counts in this process, and could not be kept elsewhere ({down.why}).")
            )
        if known == "unknown":
            message = "This process knows of no semantic hit with that id, or not any more."
            return fault_reply(NotFound(message, code="cache_hit_not_found"))
        body: dict[str, Any] = {"id": told.id, "right": told.right}
        if known == "passed_on":  # the process that has seen it hears of it within a second or two
            return Response(msgspec.json.encode({**body, "passed_on": True}), status_code=202, headers=HEADERS)
        return Response(msgspec.json.encode(body), headers=HEADERS)

    return verdicts


def _read(body: bytes) -> tuple[PurgeRequest, Which]:
    try:
        asked = msgspec.json.decode(body, type=PurgeRequest)
    except msgspec.MsgspecError as error:
        raise BadRequest(f"The purge cannot be read: {error}") from None
    if asked.route is not None and asked.namespace is not None:
        raise BadRequest("Give either route or namespace, not both.", param="namespace")
    older = asked.older_than
    try:
        seconds = parse_duration(older) if isinstance(older, str) else older
    except ValueError as error:
        raise BadRequest(f"older_than: {error}", param="older_than") from None
    if seconds is not None and not 0 <= seconds <= 366 * 86400:
        raise BadRequest("older_than must be between 0 and a year.", param="older_than")
    return asked, Which(tag=asked.tag, tenant=asked.tenant, older_than=seconds)


def _told(told: Mapping[str, Purged], dry_run: bool) -> Response[bytes]:
    """`{"would": n, "stores": {...}}` or `{"purged": n, ...}`; 503 if a store could not be asked."""
    verb = "would" if dry_run else "purged"
    stores = {}
    for name, one in told.items():
        stores[name] = {verb: one.count, "shared": one.shared, **({"failed": one.failed} if one.failed else {})}
    body = msgspec.json.encode({verb: sum(one.count for one in told.values()), "stores": stores})
    status = 503 if any(one.failed for one in told.values()) else 200
    return Response(body, status_code=status, media_type=MediaType.JSON, headers=HEADERS)
