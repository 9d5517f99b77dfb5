"""Reads the values at a path of a JSON page: `total_slots`, `[].is_processing`, `data[].id`."""

from __future__ import annotations

from typing import Any

MOST_VALUES = 4096


def values(page: Any, path: str) -> list[Any]:
    """What stands at the path; several where it goes through lists, none where it is not there."""
    found = [page]
    for step in path.replace("[]", ".[]").strip(".").split("."):
        if step == "[]":
            found = [item for one in found if isinstance(one, list) for item in one[:MOST_VALUES]]
        else:
            found = [one[step] for one in found if isinstance(one, dict) and step in one]
    return found[:MOST_VALUES]


def reached(page: Any, path: str) -> bool:
    """Whether the page has the place at all: an empty list is there, a missing key is not."""
    head = path.partition("[]")[0].strip(".")
    return isinstance(page, list) if not head else bool(values(page, head))
