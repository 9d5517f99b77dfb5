"""Reads the catalog: one YAML file for each kind of provider. Adding a vendor is adding a file: to the package, or beside
the configuration, where `type: ./my-vendor.yaml` names it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import msgspec

from gateway.providers.profile import Profile, merge
from gateway.providers.yaml_file import read_yaml

LARGEST = 256 * 1024
"""Bytes of one file."""
_ENDINGS = (".yaml", ".yml")
_WORD = re.compile(r"[a-z0-9_-]{1,40}")
_UNKNOWN = re.compile(r"unknown field `(\w+)`")


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
    if is_file(type_):
        return _convert(
            _layers(_read(Path(type_), Path(type_).name), operator or {}, Path(type_).name), Path(type_).name
        )
    if type_ not in types():
        close = difflib.get_close_matches(type_, types(), n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise CatalogError(f"{type_!r} is not a kind of provider{hint}; there are {', '.join(types())}")
    own = _read(_root().joinpath(f"{type_}.yaml"), f"catalog/{type_}.yaml")
    return _convert(_layers(own, operator or {}, f"catalog/{type_}.yaml"), type_)


def is_file(type_: str) -> bool:
    """Whether a provider's type names a file of the operator's instead of one in the package."""
    return type_.endswith(_ENDINGS)


def kind_of(type_: str) -> str:
    """A short name for records: the type, or what its file is called."""
    return Path(type_).stem if is_file(type_) else type_


def _layers(own: Mapping[str, Any], operator: Mapping[str, Any], name: str) -> dict[str, Any]:
    layers = merge(own, operator)
    dialect = layers.get("dialect")
    if not isinstance(dialect, str):
        raise CatalogError(f"{name}: `dialect` must name a wire format, such as openai")
    shared = _root().joinpath("dialects", f"{dialect}.yaml")
    known = _WORD.fullmatch(dialect) and shared.is_file()
    return merge(_read(shared, f"catalog/dialects/{dialect}.yaml") if known else {}, layers)


def _convert(layers: Mapping[str, Any], type_: str) -> Profile:
    try:
        made = msgspec.convert(layers, Profile)
    except msgspec.ValidationError as error:
        raise CatalogError(f"provider type {type_}: {error}{_meant(str(error))}") from None
    for name, bounds in made.params.clamp.items():
        low, high = bounds
        if low is not None and high is not None and low > high:
            raise CatalogError(f"provider type {type_}: params.clamp.{name} is [low, high], but low is above high")
    return made


def _meant(error: str) -> str:
    """The field that an unknown one was probably meant to be."""
    found = _UNKNOWN.search(error)
    close = difflib.get_close_matches(found[1], Profile.__struct_fields__, n=1) if found else []
    return f" (did you mean {close[0]!r}?)" if close else ""


def _read(source: Traversable, name: str) -> dict[str, Any]:
    """`name`: what the file is called, for errors."""
    try:
        data = read_yaml(source, name, LARGEST)
    except ValueError as error:
        raise CatalogError(str(error)) from None
    if not isinstance(data, dict):
        raise CatalogError(f"{name} must be a mapping, with `dialect` and what is special about this vendor")
    return data
