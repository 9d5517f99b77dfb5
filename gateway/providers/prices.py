"""List prices and context windows that are known, from `prices.yaml`: a dated table, by kind of provider and model."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

import msgspec
import yaml

from gateway.core.plan import Price

_DATED = re.compile(r"-(?:\d{4}-\d{2}-\d{2}|\d{8}|latest)$")


class PriceTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`version` is the day the table was last checked."""

    version: str
    prices: dict[str, dict[str, Price]]
    windows: dict[str, dict[str, int]]


@cache
def table() -> PriceTable:
    """The table in the package; read once."""
    text = (files("gateway.providers") / "prices.yaml").read_text("utf-8")
    return msgspec.convert(yaml.safe_load(text), PriceTable)


def price_of(type_: str, model: str) -> Price | None:
    """A model's list price, or None when it is not known. A dated name (`gpt-4o-2024-08-06`) that has no price of its own
    has that of the undated one. Deployments of one's own are never priced: what they cost is not a list price."""
    known = table().prices.get(type_, {})
    return known.get(model) or known.get(_DATED.sub("", model))


def window_of(type_: str, model: str) -> int | None:
    """A model's context window in tokens, or None when it is not known; dated names as for prices."""
    known = table().windows.get(type_, {})
    return known.get(model) or known.get(_DATED.sub("", model))
