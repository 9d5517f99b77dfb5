"""Keeps what only one provider can read with that provider: encrypted reasoning.

Such a value is handed out with a short signature behind it that says, to us alone, whose it is. When it comes back, any
replica with the same secret knows where it belongs: that provider's targets are asked first, and get the value as they made
it. A target of another provider gets the conversation without it, and the client is told so in a warning. Nothing is kept
anywhere.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from gateway.core.answer import Answer
from gateway.core.errors import BadRequest
from gateway.core.exchange import Exchange
from gateway.core.facts import Key
from gateway.core.fingerprint import keyed
from gateway.core.pinning import SEAL, UNSEAL
from gateway.core.plan import ModelPlan, Plan, Target
from gateway.core.request import Request
from gateway.dialects.sealed import PLACES, At, Sealed

STRIPPED = "reasoning_stripped"
"""In `x-tidegate-warning`: earlier reasoning was another provider's and was left out."""
_MARK = re.compile(r"\.tg([0-9a-f]{24})\Z")
_INCLUDE = "reasoning.encrypted_content"


class Pins:
    """`providers`: every name that may have handed something out."""

    def __init__(self, secret: bytes, providers: Collection[str]) -> None:
        self._secret = secret
        self._providers = tuple(providers)

    def seal(self, text: str, provider: str) -> str:
        return f"{text}.tg{self._sign(_digest(text), provider)}"

    def open(self, sealed: str) -> tuple[str, str | None]:
        """The value as it was made, and whose it is: a provider, "" where nobody said, None for a signature that is not
        ours."""
        match = _MARK.search(sealed)
        if match is None:
            return sealed, ""
        text = sealed[: match.start()]
        digest = _digest(text)
        for provider in self._providers:
            if hmac.compare_digest(match[1], self._sign(digest, provider)):
                return text, provider
        return text, None

    def _sign(self, digest: str, provider: str) -> str:
        return keyed(self._secret, ["reasoning of", provider, digest])[:24]


class Pin:
    """Decider, after `route`: which targets can read what the client brings back."""

    name = "pin"
    consumes: tuple[Key[Any], ...] = ()
    produces: tuple[Key[Any], ...] = (SEAL, UNSEAL)

    def __init__(self, pins: Pins) -> None:
        self._pins = pins

    async def decide(self, exchange: Exchange) -> Answer | None:
        request = exchange.asked()
        places = PLACES.get(request.dialect)
        if places is None or request.operation != "chat":
            return None
        exchange.facts.put(SEAL, self._pins.seal)
        if _INCLUDE in (request.body.get("include") or ()):
            exchange.unshared = True  # who would be served it from a cache could not be told whose it is
        found = places[0](request.body)
        if not found:
            return None
        held = _Held(found, {one.at: self._pins.open(one.text) for one in found})
        exchange.facts.put(UNSEAL, held.request)
        if exchange.plan is not None:
            exchange.plan = held.pinned(exchange.plan)
        return None


class _Held:
    """What one request brings back."""

    def __init__(self, found: list[Sealed], opened: Mapping[At, tuple[str, str | None]]) -> None:
        self._found = found
        self._opened = opened

    def pinned(self, plan: Plan) -> Plan:
        """The targets that can read the newest of it first, the others after them. Raises `BadRequest` for what a
        conversation cannot go on without, and no target can read."""
        owners = [(one, self._opened[one.at][1]) for one in self._found]
        for one, owner in owners:
            if owner is None and not one.spare:
                raise _unreadable(one, "It was not handed out by this gateway, or before its secret was changed.")
        told = [(one, owner) for one, owner in owners if owner]
        if not told:
            return plan
        newest = told[-1][1]
        first = _of(plan.models, newest, own=True)
        needed = next((one for one, owner in reversed(told) if not one.spare), None)
        if needed is None:
            return msgspec.structs.replace(plan, models=(*first, *_of(plan.models, newest, own=False)))
        owner = self._opened[needed.at][1]
        only = _of(plan.models, owner, own=True)
        if not only:
            raise _unreadable(needed, f"Only the provider {owner!r} can read it, and the model asked for is elsewhere.")
        return Plan(models=only)

    def request(self, request: Request, target: Target, warnings: list[str]) -> Request:
        texts, drop = {}, set()
        for one in self._found:
            text, owner = self._opened[one.at]
            if owner == target.provider or owner == "":
                texts[one.at] = text
            elif one.spare:
                drop.add(one.at)
            else:
                raise _unreadable(one, f"Only the provider {owner!r} can read it.")
        if drop and STRIPPED not in warnings:
            warnings.append(STRIPPED)
        return Request(
            dialect=request.dialect,
            operation=request.operation,
            body=PLACES[request.dialect][1](request.body, texts, drop),
            model=request.model,
            stream=request.stream,
            include_usage=request.include_usage,
            slots=request.slots,
        )


def _of(models: tuple[ModelPlan, ...], provider: str | None, *, own: bool) -> tuple[ModelPlan, ...]:
    """The models with only the provider's targets, or with only the others."""
    made = []
    for model in models:
        targets = tuple(target for target in model.targets if (target.provider == provider) is own)
        if targets and not any(target.weight for target in targets):  # what was only there to stand in may be asked now
            targets = tuple(msgspec.structs.replace(target, weight=1) for target in targets)
        if targets:
            made.append(msgspec.structs.replace(model, targets=targets))
    return tuple(made)


def _unreadable(one: Sealed, why: str) -> BadRequest:
    return BadRequest(
        f"{one.path} cannot be read by who would be asked. {why} Start a new conversation.", param=one.path
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
