"""What only the provider that made it can read, and how an exchange gets it back there: encrypted reasoning."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from gateway.core.exchange import Exchange
from gateway.core.facts import Key
from gateway.core.plan import Target
from gateway.core.request import Request

SEAL: Key[Callable[[str, str], str]] = Key("seal")
"""Says beside what a provider encrypted whose it is, for the client to bring back: (value, provider)."""
UNSEAL: Key[Callable[[Request, Target, list[str]], Request]] = Key("unseal")
"""The request for one target: its own as it made it, without what is another's, which the list of warnings is told. The
request given stays as it is."""


def sealing(exchange: Exchange) -> Callable[[str], str] | None:
    """For the answer of the target that is called now."""
    seal = exchange.facts.get(SEAL)
    if seal is None or exchange.calling is None:
        return None
    return partial(_sealed, seal, exchange.calling.provider)


def _sealed(seal: Callable[[str, str], str], provider: str, text: str) -> str:
    return seal(text, provider)
