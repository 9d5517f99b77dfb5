"""Keeps what only one provider can read with that provider: encrypted reasoning, and the files that it keeps for us.

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
from typing import Any, Protocol

import msgspec

from gateway.core.answer import Answer
from gateway.core.errors import BadRequest, NotFound
from gateway.core.exchange import Exchange, Principal
from gateway.core.facts import Key
from gateway.core.fingerprint import keyed
from gateway.core.pinning import SEAL, UNSEAL
from gateway.core.plan import ModelPlan, Plan, Target
from gateway.core.request import Request
from gateway.dialects.sealed import ENCRYPTED, FILES, At, Sealed, rewritten

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


class Files(Protocol):
    """The ids of files that were handed out."""

    def ours(self, id: str) -> bool:
        """Whether it has the form of one."""
        ...

    def open(self, id: str, principal: Principal) -> tuple[str, str]:
        """(provider, its id). Raises `NotFound` for what is not this principal's."""
        ...


class Pin:
    """Decider, after `route`: which targets can read what the client brings back."""

    name = "pin"
    consumes: tuple[Key[Any], ...] = ()
    produces: tuple[Key[Any], ...] = (SEAL, UNSEAL)

    def __init__(self, pins: Pins, files: Files | None = None) -> None:
        """`files`: None where none are relayed."""
        self._pins = pins
        self._files = files

    async def decide(self, exchange: Exchange) -> Answer | None:
        request = exchange.asked()
        if request.operation != "chat":
            return None
        opened: dict[Sealed, tuple[str, str | None]] = {}
        find = ENCRYPTED.get(request.dialect)
        if find is not None:
            exchange.facts.put(SEAL, self._pins.seal)
            if _INCLUDE in (request.body.get("include") or ()):
                exchange.unshared = True  # who would be served it from a cache could not be told whose it is
            opened = {one: self._pins.open(one.text) for one in find(request.body)}
        find = FILES.get(request.dialect) if self._files is not None else None
        if find is not None:
            opened |= {one: self._file(one, exchange) for one in find(request.body)}
        if not opened:
            return None
        held = _Held(opened)
        exchange.facts.put(UNSEAL, held.request)
        if exchange.plan is not None:
            exchange.plan = held.pinned(exchange.plan)
        return None

    def _file(self, one: Sealed, exchange: Exchange) -> tuple[str, str]:
        """An id that was not handed out here is the provider's own, which an operator may have given away."""
        assert self._files is not None, "only asked where files are relayed"
        if not self._files.ours(one.text):
            return one.text, ""
        try:
            provider, raw = self._files.open(one.text, exchange.principal)
        except NotFound as unknown:
            raise NotFound(unknown.message, param=one.path) from None
        return raw, provider


class _Held:
    """What one request brings back: each value as it was made, and whose it is (see `Pins.open`)."""

    def __init__(self, opened: Mapping[Sealed, tuple[str, str | None]]) -> None:
        self._opened = opened

    def pinned(self, plan: Plan) -> Plan:
        """The targets that can read the newest of it first, the others after them. Raises `BadRequest` for what a
        conversation cannot go on without, and no target can read."""
        owners = [(one, owner) for one, (_, owner) in self._opened.items()]
        for one, owner in owners:
            if owner is None and not one.spare:
                raise _unreadable(one, "It was not handed out by this gateway, or before its secret was changed.")
        told = [(one, owner) for one, owner in owners if owner]
        if not told:
            return plan
        newest = told[-1][1]
        first = _of(plan.models, newest, own=True)
        needed = next(((one, owner) for one, owner in reversed(told) if not one.spare), None)
        if needed is None:
            return msgspec.structs.replace(plan, models=(*first, *_of(plan.models, newest, own=False)))
        one, owner = needed
        only = _of(plan.models, owner, own=True)
        if not only:
            raise _unreadable(one, f"Only the provider {owner!r} can read it, and the model asked for is elsewhere.")
        return Plan(models=only)

    def request(self, request: Request, target: Target, warnings: list[str]) -> Request:
        texts: dict[At, str] = {}
        drop: set[At] = set()
        for one, (text, owner) in self._opened.items():
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
            body=rewritten(request.body, texts, drop),
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
    what = "Send the file to a model of that provider." if one.file else "Start a new conversation."
    return BadRequest(f"{one.path} cannot be read by who would be asked. {why} {what}", param=one.path)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
