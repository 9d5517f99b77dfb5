"""What a check adds to what models are asked, and to nothing else: no cache key, no echo of the request, no record."""

from __future__ import annotations

from collections.abc import Callable

from gateway.core.facts import Key
from gateway.core.request import Request

MARK: Key[Callable[[Request], Request]] = Key("mark")
"""Gives a copy of the request it is given, for one call. What it is given stays as it is."""
