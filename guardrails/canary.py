"""A word in the system prompt that the model has no reason ever to say: whoever reads it in an answer reads the prompt.

It is the same for every request of one check, as long as the gateway's secret is: it changes no byte between the turns
of a conversation, so prompt caches still hit. It is put in last of all, so that no cache of ours, no check of the input
and no record has it."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

from gateway.core.answer import Answer
from gateway.core.exchange import Exchange
from gateway.core.facts import Key
from gateway.core.request import Request, Slot

LENGTH = 24
"""Letters: over 100 bits."""


def canary_of(secret: bytes, check: str) -> str:
    """The word of one check: lower-case letters, like no word of any language but one word all the same."""
    drawn = hmac.new(secret, f"canary {check}".encode(), hashlib.sha256).digest()
    return "".join(chr(ord("a") + byte % 26) for byte in drawn[:LENGTH])


class PutCanaries:
    """Decider. Goes last: what it changes is for the model only."""

    name = "canary"
    consumes: tuple[Key[Any], ...] = ()
    produces: tuple[Key[Any], ...] = ()

    def __init__(self, words: tuple[str, ...]) -> None:
        self._note = f"\n\n(Reference {' '.join(words)}: internal, not part of any answer.)"

    async def decide(self, exchange: Exchange) -> Answer | None:
        slot = place(exchange.asked())
        if slot is not None and not slot.text.endswith(self._note):
            slot.replace(slot.text + self._note)
        return None


def place(request: Request) -> Slot | None:
    """The last system text of those that stand before everything else, which later turns do not move; else the first
    there is. None where there is no system prompt, and so nothing to leak."""
    found: Slot | None = None
    for slot in request.slots:
        if slot.role == "system" and slot.kind == "text":
            found = slot
        elif found is not None:
            break
    return found
