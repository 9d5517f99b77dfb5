"""A word in the system prompt that the model has no reason ever to say: whoever reads it in an answer reads the prompt.

It is the same for every request of one check, as long as the gateway's secret is: it changes no byte between the turns
of a conversation, so prompt caches still hit. It is put into what a model is asked, and nowhere else, so that no cache of
ours, no check of the input, no echo and no record has it."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from typing import Any

import msgspec

from gateway.core.answer import Answer
from gateway.core.copying import copied
from gateway.core.events import Event, Started
from gateway.core.exchange import Exchange
from gateway.core.facts import Key
from gateway.core.marking import MARK
from gateway.core.request import Request, Slot

LENGTH = 24
"""Letters: over 100 bits."""


def canary_of(secret: bytes, check: str) -> str:
    """The word of one check: lower-case letters, like no word of any language but one word all the same."""
    drawn = hmac.new(secret, f"canary {check}".encode(), hashlib.sha256).digest()
    return "".join(chr(ord("a") + byte % 26) for byte in drawn[:LENGTH])


class PutCanaries:
    """Decider. Leaves word for the calls that are to come; the request itself stays as it is."""

    name = "canary"
    consumes: tuple[Key[Any], ...] = ()
    produces: tuple[Key[Any], ...] = (MARK,)

    def __init__(self, words: tuple[str, ...]) -> None:
        self._note = f"\n\n(Reference {' '.join(words)}: internal, not part of any answer.)"

    async def decide(self, exchange: Exchange) -> Answer | None:
        if place(exchange.asked()) is not None:
            exchange.facts.put(MARK, self.marked)
        return None

    def marked(self, request: Request) -> Request:
        """A copy with the note at its place. Shares every string with `request`, and no list or object."""
        slot = place(request)
        if slot is None:
            return request
        body, copies = copied(request.body)
        slots = [msgspec.structs.replace(one, holder=copies.get(id(one.holder), one.holder)) for one in request.slots]
        slots[request.slots.index(slot)].replace(slot.text + self._note)
        return Request(
            dialect=request.dialect,
            operation=request.operation,
            body=body,
            model=request.model,
            stream=request.stream,
            include_usage=request.include_usage,
            slots=slots,
        )


class Unechoed:
    """Transform, and its own session. Where a provider tells what it was asked, that is not relayed as it came, but told
    by us, from the request as the client sent it."""

    name = "unechoed"
    consumes: tuple[Key[Any], ...] = (MARK,)
    produces: tuple[Key[Any], ...] = ()
    waiting = False

    def open(self, exchange: Exchange) -> Unechoed | None:
        slot = place(exchange.asked()) if exchange.answer is None else None
        return self if slot is not None and slot.key == "instructions" else None

    def push(self, event: Event) -> Sequence[Event]:
        """A beginning of the same words is not the same frame: its bytes are not relayed, nor those of any after it."""
        return (msgspec.structs.replace(event),) if type(event) is Started else (event,)

    def finish(self) -> Sequence[Event]:
        return ()

    async def settle(self) -> Sequence[Event]:
        return ()


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
