"""The small model for what looks easy, the large one for what looks hard; and a conversation keeps what it has.

A conversation may rise to the large model and does not fall back: the score looks at all of its turns, so any process
that sees them decides alike, and a bounded memory keeps the tier of conversations whose clients send only the newest turns
(`x-tidegate-session`), until they have been quiet for a while. That memory is this process's own.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict

from gateway.core.exchange import Exchange
from gateway.core.plan import Plan
from gateway.core.request import Request
from routing.complexity import complexity
from routing.config import ContextConfig, TiersConfig
from routing.fitting import serves
from routing.plans import Plans

MOST_CONVERSATIONS = 10_000
"""Remembered, those last heard of longest ago being forgotten first. About 150 bytes each."""
_BEGINNING = 2000
"""Characters of the first turn that tell conversations apart."""


class Tiers:
    """Chooses a plan by the request's score. The memory is of conversations that have the large model."""

    def __init__(self, config: TiersConfig, context: ContextConfig, plans: Plans) -> None:
        """Raises ValueError if a tier is no model."""
        small, large = plans.get(config.small), plans.get(config.large)
        if small is None or large is None:
            raise ValueError(f"tiers: {config.large if small else config.small!r} is no model")
        self._small = small
        self._large = large
        self._above = config.above
        self._forget = int(config.forget * 1e9)
        self._context = context
        self._risen: OrderedDict[bytes, int] = OrderedDict()

    def plan(self, exchange: Exchange) -> Plan:
        """Notes tier and score in the exchange. What the small model cannot serve at all goes to the large one."""
        request = exchange.asked()
        key = _conversation(exchange, request)
        exchange.tier_score = score = complexity(request).score
        large = score > self._above or self._has_risen(key, exchange.clock.now())
        if large:
            self._remember(key, exchange.clock.now())
        else:
            small = self._small.models[0]
            large = not serves(small, request, self._context)
            if large:
                exchange.left_out.append(f"{small.alias}: capabilities or context_window")
        exchange.tier = "large" if large else "small"
        return self._large if large else self._small

    def __len__(self) -> int:
        return len(self._risen)

    def _has_risen(self, key: bytes, now: int) -> bool:
        seen = self._risen.get(key)
        return seen is not None and now - seen <= self._forget

    def _remember(self, key: bytes, now: int) -> None:
        self._risen[key] = now
        self._risen.move_to_end(key)
        if len(self._risen) > MOST_CONVERSATIONS:
            self._risen.popitem(last=False)


def _conversation(exchange: Exchange, request: Request) -> bytes:
    """The session if it is named, else how the conversation began: for the same user, so nobody moves another's tier."""
    digest = hashlib.blake2b(digest_size=16)
    beginning = exchange.session
    if not beginning:
        opening = next((slot for slot in request.slots if slot.role == "user" and slot.kind == "text"), None)
        beginning = opening.text[:_BEGINNING] if opening is not None else exchange.id
    who = exchange.principal
    for part in (who.tenant, who.key_id, exchange.user, exchange.route, "s" if exchange.session else "t", beginning):
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(4, "big") + data)
    return digest.digest()
