"""Whose request goes first where a model has not room for all."""

from __future__ import annotations

from typing import Literal, get_args

Priority = Literal["low", "normal", "high"]
PRIORITIES: tuple[Priority, ...] = get_args(Priority)
NORMAL = PRIORITIES.index("normal")
LOW = PRIORITIES.index("low")


def rank_of(key: Priority | None, route: Priority | None, asked: str | None) -> int:
    """The key's word, else the route's; what the caller asks for may only lower it. An index into `PRIORITIES`."""
    given = PRIORITIES.index(key or route or "normal")
    return min(given, PRIORITIES.index(asked)) if asked in PRIORITIES else given
