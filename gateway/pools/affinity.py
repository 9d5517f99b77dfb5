"""What is asked of a pool, from a request: only what the rule of the pool looks at is made.

`session` keeps a conversation on one endpoint because its client says that it is one; `prefix` knows what the prompt is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from gateway.core.plan import Target
from gateway.core.request import Request
from gateway.pools.asked import Asked
from gateway.pools.balance import Balance
from gateway.pools.prompt import prefix_of_request

PrefixScope = Literal["tenant", "all"]

Ask = Callable[[Request, Target, str, str, int], Asked]
"""(request, target, affinity, tenant, turn). For affinity and turn see `core.ports.Upstream`."""


def plain(request: Request, target: Target, affinity: str, tenant: str, turn: int) -> Asked:
    return Asked(target.model, target.adapter or "", turn=turn)


def by_session(request: Request, target: Target, affinity: str, tenant: str, turn: int) -> Asked:
    return Asked(target.model, target.adapter or "", affinity.encode("utf-8", "surrogatepass"), turn=turn)


def by_prefix(request: Request, target: Target, affinity: str, tenant: str, turn: int) -> Asked:
    prefix = prefix_of_request(request, target.model, tenant)
    return Asked(target.model, target.adapter or "", prefix=prefix, turn=turn)


def by_everybodys_prefix(request: Request, target: Target, affinity: str, tenant: str, turn: int) -> Asked:
    return by_prefix(request, target, affinity, "", turn)


ASKS: Mapping[Balance, Ask] = {"session": by_session, "prefix": by_prefix}


def ask_of(balance: Balance, scope: PrefixScope = "tenant") -> Ask:
    """How calls of a pool with this rule are made known to it."""
    if balance == "prefix" and scope == "all":
        return by_everybodys_prefix
    return ASKS.get(balance, plain)
