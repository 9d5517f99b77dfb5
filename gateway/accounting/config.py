"""The `accounting:` section of the configuration."""

from __future__ import annotations

from typing import Literal

import msgspec


class AccountingConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`unpriced`: what is done about a target whose price is neither given nor in the built-in table. `allow`: its calls
    count as unpriced in the metrics, and cost nothing in budgets. `refuse`: the configuration is wrong."""

    unpriced: Literal["allow", "refuse"] = "allow"
