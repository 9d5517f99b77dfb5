"""Reads the catalog: one YAML file for each kind of provider, in the package. Adding a vendor is adding a file."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

import msgspec
import yaml

from gateway.providers.profile import Profile, merge

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class CatalogError(ValueError):
    """A file of the catalog, or an operator's change to it, that cannot be used. Says where and why."""


def _root() -> Traversable:
    return files("gateway.providers") / "catalog"


@cache
def types() -> tuple[str, ...]:
    """The kinds of provider there are, sorted."""
    return tuple(sorted(entry.name[:-5] for entry in _root().iterdir() if entry.name.endswith(".yaml")))


def profile(type_: str, operator: Mapping[str, Any] | None = None) -> Profile:
    """The profile of one kind of provider, with the operator's changes on top. Raises CatalogError."""
    if type_ not in types():
        close = difflib.get_close_matches(type_, types(), n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise CatalogError(f"{type_!r} is not a kind of provider{hint}; there are {', '.join(types())}")
    own = _read(f"{type_}.yaml")
    layers = merge(own, operator or {})
    dialect = layers.get("dialect")
    if not isinstance(dialect, str):
        raise CatalogError(f"catalog/{type_}.yaml: `dialect` must name a wire format")
    return _convert(merge(_read(f"dialects/{dialect}.yaml", optional=True), layers), type_)


def _convert(layers: Mapping[str, Any], type_: str) -> Profile:
    try:
        made = msgspec.convert(layers, Profile)
    except msgspec.ValidationError as error:
        raise CatalogError(f"provider type {type_}: {error}") from None
    for name, bounds in made.params.clamp.items():
        low, high = bounds
        if low is not None and high is not None and low > high:
            raise CatalogError(f"provider type {type_}: params.clamp.{name} is [low, high], but low is above high")
    return made


def _read(name: str, *, optional: bool = False) -> dict[str, Any]:
    source = _root().joinpath(*name.split("/"))
    if optional and not source.is_file():
        return {}
    try:
        data = yaml.load(source.read_text("utf-8"), Loader=_LOADER)  # noqa: S506 - a safe loader, in C where there is one
    except yaml.YAMLError as error:
        raise CatalogError(f"catalog/{name} is not valid YAML: {error}") from None
    if not isinstance(data, dict):
        raise CatalogError(f"catalog/{name} must be a mapping")
    return data
