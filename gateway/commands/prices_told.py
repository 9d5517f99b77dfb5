"""What `tidegate check` says of prices: the table's date, and which calls will cost an unknown amount."""

from __future__ import annotations

from typing import Any


def prices_of(config: Any) -> dict[str, Any]:
    from gateway.providers.prices import table, unpriced

    found = unpriced(config.models, config.providers)
    names = [(alias, config.models[alias].targets[at]) for alias, at in found]
    return {
        "table": table().version,
        "unpriced": [f"{alias}: {target.model} at {target.provider}" for alias, target in names],
    }


def lines_of(prices: dict[str, Any]) -> list[str]:
    return [
        f"the built-in table is of {prices['table']}; a price in the configuration wins over it",
        *(
            f"unpriced: {name}; its calls are counted as such, and cost nothing in budgets"
            for name in prices["unpriced"]
        ),
    ]
