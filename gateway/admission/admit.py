"""The two stages of admission: `admit` from the headers alone, `permit` once the model and the route are known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from gateway.admission.config import LimitsConfig
from gateway.admission.limits import Concurrency
from gateway.core.answer import Answer
from gateway.core.errors import Forbidden, RateLimited, UnknownModel
from gateway.core.exchange import Exchange, Principal
from gateway.core.facts import Key
from gateway.core.ports import Limiter
from gateway.core.priority import rank_of
from gateway.core.receipt import Receipt

_MINUTE = 60.0
_SIDE_BY_SIDE = 8
"""Calls that charge tokens at one time."""
_NO_LIMIT = 1 << 52
_LONGEST_NAME = 128
_MOST_TAGS = 16
_DEGRADED = "limits"


class Authenticator(Protocol):
    def authenticate(self, credential: str | None) -> Principal:
        """Raises `Unauthenticated`."""
        ...


class Admit:
    """Decider `admit`: who asks, on whose behalf, and not too often. Sees headers only."""

    name = "admit"
    consumes: tuple[Key[Any], ...] = ()
    produces: tuple[Key[Any], ...] = ()

    def __init__(self, keys: Authenticator, limiter: Limiter) -> None:
        self._keys = keys
        self._limiter = limiter

    async def decide(self, exchange: Exchange) -> Answer | None:
        credential, exchange.credential = exchange.credential, None
        principal = exchange.principal = self._keys.authenticate(credential)
        headers = exchange.headers
        exchange.user = principal.key_id
        if principal.names_users:
            exchange.user = headers.get("x-tidegate-user", "")[:_LONGEST_NAME] or principal.key_id
        exchange.session = headers.get("x-tidegate-session", "")[:_LONGEST_NAME]
        if tags := headers.get("x-tidegate-tags"):
            exchange.tags = tuple(tag.strip()[:_LONGEST_NAME] for tag in tags.split(",")[:_MOST_TAGS])
        if principal.rpm is not None:
            await _take(exchange, self._limiter, f"key:{principal.key_id}:rpm", principal.rpm, "This key")
        return None


class Door:
    """Decider `admit` for what asks for no model: as above, and not too many at one time."""

    name = "admit"
    consumes: tuple[Key[Any], ...] = ()
    produces: tuple[Key[Any], ...] = ()

    def __init__(self, admit: Admit, concurrency: Concurrency) -> None:
        self._admit = admit
        self._concurrency = concurrency

    async def decide(self, exchange: Exchange) -> Answer | None:
        await self._admit.decide(exchange)
        principal = exchange.principal
        _enter(exchange, self._concurrency, f"key:{principal.key_id}", principal.concurrency, "This key")
        return None


class Permit:
    """Decider `permit`: may this key use this model, and is there room on the route."""

    name = "permit"
    consumes: tuple[Key[Any], ...] = ()
    produces: tuple[Key[Any], ...] = ()

    def __init__(
        self,
        served: frozenset[str],
        limits: Mapping[str, LimitsConfig],
        limiter: Limiter,
        concurrency: Concurrency | None = None,
    ) -> None:
        """`served`: every name a client may ask for. `limits`: a route's own, by route name. `concurrency`: who else
        counts what a key has under way."""
        self._served = served
        self._limits = limits
        self._limiter = limiter
        self.concurrency = Concurrency() if concurrency is None else concurrency

    async def decide(self, exchange: Exchange) -> Answer | None:
        principal, request = exchange.principal, exchange.asked()
        if request.passing is None or request.model:
            self._model(principal, request.model)
            exchange.permitted = True
        key = f"key:{principal.key_id}"
        _enter(exchange, self.concurrency, key, principal.concurrency, "This key")
        if principal.tpm is not None:
            await self._tokens(exchange, key + ":tpm", principal.tpm, "This key")
        limits = self._limits.get(exchange.route)
        exchange.priority = rank_of(
            principal.priority, limits.priority if limits else None, exchange.headers.get("x-tidegate-priority")
        )
        if limits is not None:
            where = f"route:{exchange.route}:{principal.key_id}"
            if limits.rpm is not None:
                await _take(exchange, self._limiter, where + ":rpm", limits.rpm, f"Route {exchange.route!r}")
            if limits.tpm is not None:
                await self._tokens(exchange, where + ":tpm", limits.tpm, f"Route {exchange.route!r}")
            _enter(exchange, self.concurrency, where, limits.concurrency, f"Route {exchange.route!r}")
        return None

    def _model(self, principal: Principal, model: str) -> None:
        if model not in self._served:
            raise UnknownModel(
                f"The model {model[:128]!r} does not exist.{self._hint(principal, model)}", param="model"
            )
        if not may_use(principal, model):
            raise Forbidden(f"This key may not use the model {model!r}.", param="model")

    async def _tokens(self, exchange: Exchange, counter: str, limit: int, who: str) -> None:
        """Tokens are known only afterwards: look whether there is room now, charge when the receipt is in."""
        wait = await self._limiter.take(counter, limit - 1, _MINUTE, 0)
        _tell(exchange, self._limiter)
        if wait is not None:
            raise RateLimited(f"{who} allows {limit} tokens a minute; try again in {wait:.1f} s.", retry_after=wait)
        exchange.charges.append(counter)

    def _hint(self, principal: Principal, model: str) -> str:
        """Names only what this key may see anyway."""
        import difflib

        visible = [name for name in self._served if may_use(principal, name)]
        close = difflib.get_close_matches(model[:128], visible, n=1)
        return f" Did you mean {close[0]!r}?" if close else ""


class ChargeTokens:
    """Recorder: the tokens that upstreams worked through go to the counters that `permit` looked at, of attempts that
    failed or were left by the client too, as far as their usage is known. Never dropped."""

    name = "charge_tokens"
    essential = True

    def __init__(self, limiter: Limiter) -> None:
        self._limiter = limiter
        self._due: dict[str, int] = {}
        """Tokens by counter."""
        self._charging = 0
        """Calls under way."""

    async def record(self, receipt: Receipt) -> None:
        """While some receipts are charged and Redis is waited for, the others add theirs, to be charged with them in one sum
        for each counter."""
        used = [attempt.usage for attempt in receipt.attempts if attempt.usage is not None]
        tokens = sum(usage.input_tokens + usage.output_tokens for usage in used)
        if not tokens:
            return
        for counter in receipt.charges:
            self._due[counter] = self._due.get(counter, 0) + tokens
        if self._charging >= _SIDE_BY_SIDE:
            return
        self._charging += 1
        try:
            while self._due:
                counter = next(iter(self._due))
                await self._limiter.take(counter, _NO_LIMIT, _MINUTE, self._due.pop(counter))
        finally:
            self._charging -= 1


def may_use(principal: Principal, model: str) -> bool:
    return principal.models is None or model in principal.models


async def _take(exchange: Exchange, limiter: Limiter, key: str, limit: int, who: str) -> None:
    wait = await limiter.take(key, limit, _MINUTE)
    _tell(exchange, limiter)
    if wait is not None:
        raise RateLimited(
            f"{who} allows {limit} requests a minute; try again in {wait:.1f} s.",
            retry_after=wait,
            headers={"x-ratelimit-limit-requests": str(limit), "x-ratelimit-remaining-requests": "0"},
        )


def _enter(exchange: Exchange, concurrency: Concurrency, key: str, limit: int | None, who: str) -> None:
    if limit is None:
        return
    leave = concurrency.enter(key, limit)
    if leave is None:
        raise RateLimited(f"{who} allows {limit} requests at one time; wait for one to end.", retry_after=1.0)
    exchange.cleanup.append(leave)


def _tell(exchange: Exchange, limiter: Limiter) -> None:
    if limiter.degraded and _DEGRADED not in exchange.degraded:
        exchange.degraded.append(_DEGRADED)
