"""Durations and sizes as people write them in the config (`250ms`, `5s`, `1h`, `10MiB`), as the numbers code wants."""

from __future__ import annotations

import re
from typing import NewType

Duration = NewType("Duration", float)
"""Seconds."""

Size = NewType("Size", int)
"""Bytes."""

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"b": 1, "kb": 1000, "mb": 1000**2, "gb": 1000**3, "kib": 1024, "mib": 1024**2, "gib": 1024**3}
_NUMBER = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]+)")


def parse_duration(text: str) -> Duration:
    """`"250ms"` -> 0.25. Raises ValueError saying what forms are accepted."""
    match = _NUMBER.fullmatch(text.strip())
    if match is None or match[2] not in _SECONDS:
        raise ValueError(f"{text!r} is not a duration; write a number and a unit, such as 250ms, 5s, 10m, 1h or 7d")
    return Duration(float(match[1]) * _SECONDS[match[2]])


def parse_size(text: str) -> Size:
    """`"10MiB"` -> 10485760. Raises ValueError saying what forms are accepted."""
    match = _NUMBER.fullmatch(text.strip())
    if match is None or match[2].lower() not in _BYTES:
        raise ValueError(f"{text!r} is not a size; write a number and a unit, such as 512KiB, 10MiB or 1GB")
    return Size(int(float(match[1]) * _BYTES[match[2].lower()]))
