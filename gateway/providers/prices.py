"""List prices and context windows that are known, from `prices.yaml`: a dated table, by kind of provider and model."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import TypeVar

import msgspec
import yaml

from gateway.core.plan import Price
from gateway.providers.config import ProviderConfig
from gateway.providers.model_config import ModelConfig, TargetConfig

T = TypeVar("T")
_DATED = re.compile(r"-(?:\d{4}-\d{2}-\d{2}|\d{8}|latest)$")


class PriceTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`version` is the day the table was last checked."""

    version: str
    prices: dict[str, dict[str, Price]] = {}
    windows: dict[str, dict[str, int]] = {}


@cache
def table() -> PriceTable:
    """The table in the package; read once."""
    text = (files("gateway.providers") / "prices.yaml").read_text("utf-8")
    return msgspec.convert(yaml.safe_load(text), PriceTable)


def price_of(type_: str, model: str) -> Price | None:
    """A model's list price, or None when it is not known. A dated name (`gpt-4o-2024-08-06`) that has no price of its own
    has that of the undated one. Deployments of one's own are never priced: what they cost is not a list price."""
    return looked_up(table().prices, type_, model)


def window_of(type_: str, model: str) -> int | None:
    """A model's context window in tokens, or None when it is not known; dated names as for prices."""
    return looked_up(table().windows, type_, model)


def looked_up(rows: Mapping[str, Mapping[str, T]], kind: str, model: str) -> T | None:
    known = rows.get(kind, {})
    return known.get(model) or known.get(_DATED.sub("", model))


def price_for(target: TargetConfig, model: ModelConfig, providers: Mapping[str, ProviderConfig]) -> Price | None:
    """What a target's tokens cost: its own price, else the model's, else the table's."""
    return target.price or model.price or price_of(providers[target.provider].type, target.model)


def unpriced(models: Mapping[str, ModelConfig], providers: Mapping[str, ProviderConfig]) -> Iterator[tuple[str, int]]:
    """(alias, number of the target) of all whose price nobody knows."""
    for alias, model in models.items():
        for at, target in enumerate(model.targets):
            if target.provider in providers and price_for(target, model, providers) is None:
                yield alias, at


def price_problems(
    models: Mapping[str, ModelConfig], providers: Mapping[str, ProviderConfig]
) -> Iterator[tuple[str, str]]:
    """What `accounting.unpriced: refuse` refuses."""
    for alias, at in unpriced(models, providers):
        target = models[alias].targets[at]
        message = f"not known of {target.model!r} at {target.provider!r}; give one, or set accounting.unpriced: allow"
        yield f"models.{alias}.targets[{at}].price", message
