"""What `tidegate check` says of prices: the tables' dates, and which calls will cost an unknown amount."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def prices_of(config: Any) -> dict[str, Any]:
    from gateway.providers.price_table import read_table
    from gateway.providers.prices import table, unpriced

    found = unpriced(config.models, config.providers)
    names = [(alias, config.models[alias].targets[at]) for alias, at in found]
    own = config.accounting.prices
    return {
        "table": table().version,
        "own_table": read_table(Path(own), config.providers).version if own is not None else None,
        "unpriced": [f"{alias}: {target.model} at {target.provider}" for alias, target in names],
    }


def lines_of(prices: dict[str, Any]) -> list[str]:
    own = prices["own_table"]
    lines = [f"the table in accounting.prices is of {own}, and wins over the built-in one"] if own is not None else []
    lines.append(f"the built-in table is of {prices['table']}; a price in the configuration wins over it")
    return lines + [
        f"unpriced: {name}; its calls are counted as such, and cost nothing in budgets" for name in prices["unpriced"]
    ]
