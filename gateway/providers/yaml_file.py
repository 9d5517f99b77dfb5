"""One bounded YAML file, read; what is wrong with it is told by its name."""

from __future__ import annotations

from importlib.resources.abc import Traversable
from typing import Any

import yaml

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_yaml(source: Traversable, name: str, largest: int) -> Any:
    """`name`: what the file is called, for errors; `largest`: bytes. Raises ValueError."""
    try:
        with source.open("rb") as file:
            raw = file.read(largest + 1)
    except OSError as error:
        raise ValueError(f"cannot read {name}: {error.strerror}") from None
    if len(raw) > largest:
        raise ValueError(f"{name} is larger than {largest} bytes")
    try:
        return yaml.load(raw.decode(), Loader=_LOADER)  # noqa: S506 - a safe loader, in C where there is one
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{name} is not valid YAML: {error}") from None
