"""The operator's own table of prices and context windows: in the built-in one's form, and winning over it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path

import msgspec

from gateway.providers.catalog import kind_of, types
from gateway.providers.config import ProviderConfig
from gateway.providers.model_config import ModelConfig, TargetConfig
from gateway.providers.prices import PriceTable, looked_up
from gateway.providers.yaml_file import read_yaml

LARGEST = 4 * 1024 * 1024
"""Bytes of the file."""


def read_table(path: Path, providers: Mapping[str, ProviderConfig]) -> PriceTable:
    """Raises ValueError saying what is wrong. Its kinds are those of the catalog, and the names of vendors' own files."""
    data = read_yaml(path, path.name, LARGEST)
    try:
        made = msgspec.convert(data, PriceTable)
    except msgspec.ValidationError as error:
        raise ValueError(f"{path.name}: {error}") from None
    kinds = {*types(), *(kind_of(provider.type) for provider in providers.values())}
    for kind in (*made.prices, *made.windows):
        if kind not in kinds:
            close = difflib.get_close_matches(kind, kinds, n=1)
            hint = f" (did you mean {close[0]!r}?)" if close else ""
            raise ValueError(f"{path.name}: {kind!r} is not a kind of provider{hint}")
    for models in made.prices.values():
        for model, price in models.items():
            if min(price.input, price.output) < 0:
                raise ValueError(f"{path.name}: the price of {model!r} is negative")
    return made


def told_by(
    own: PriceTable, models: Mapping[str, ModelConfig], providers: Mapping[str, ProviderConfig]
) -> dict[str, ModelConfig]:
    """The models with what the table says, where neither a target nor its model says anything itself."""

    def target(model: ModelConfig, target: TargetConfig) -> TargetConfig:
        if target.provider not in providers:
            return target
        kind = kind_of(providers[target.provider].type)
        price = target.price or model.price or looked_up(own.prices, kind, target.model)
        window = target.context_window or model.context_window or looked_up(own.windows, kind, target.model)
        return msgspec.structs.replace(target, price=price, context_window=window)

    return {
        alias: msgspec.structs.replace(model, targets=[target(model, each) for each in model.targets])
        for alias, model in models.items()
    }
