"""The `accounting:` section of the configuration."""

from __future__ import annotations

from typing import Literal

import msgspec


class AccountingConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`unpriced`: what is done about a target whose price is neither given nor in the built-in table. `allow`: its calls
    count as unpriced in the metrics, and cost nothing in budgets. `refuse`: the configuration is wrong."""

    unpriced: Literal["allow", "refuse"] = "allow"
    prices: str | None = None
    """A file of prices and context windows of one's own, in the form of the built-in `prices.yaml`. It wins over that, and
    what a target or a model says itself wins over both."""
