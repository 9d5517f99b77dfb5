"""What is asked of a pool: everything about one call that a rule may look at."""

from __future__ import annotations

import msgspec

from gateway.pools.chain import Prefix


class Asked(msgspec.Struct, frozen=True, gc=False):
    """Made by `affinity.ASKS[balance]` from a request; a simulator makes its own from `chain.prefix_of`."""

    model: str = ""
    """As the endpoints know it; those that say that they have it are preferred."""
    adapter: str = ""
    """The LoRA adapter that is asked for, as engines list it; those where it is loaded are preferred."""
    key: bytes = b""
    """What a session is kept together by; empty: nothing."""
    prefix: Prefix | None = None
    """What the prompt begins with, for the rule that looks at it."""
    turn: int = 0
    """How many calls of the same exchange this provider has had already: a retry or a hedge goes to another endpoint."""


NOTHING = Asked()
