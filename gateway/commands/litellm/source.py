"""What is read of their file, what is left of it, and what is to be said: nothing is dropped without a word."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

_PREFIX = "os.environ/"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Notes:
    """What has no counterpart, or another meaning here: (path in their file, what it means for whoever moves)."""

    def __init__(self) -> None:
        self.all: list[tuple[str, str]] = []

    def add(self, path: str, text: str) -> None:
        if (path, text) not in self.all:
            self.all.append((path, text))


class Section:
    """A mapping that is taken apart: what nobody took is told at the end."""

    def __init__(self, value: Any, path: str, notes: Notes) -> None:
        if value is not None and not isinstance(value, dict):
            notes.add(path, "is not a mapping; left out")
        self._left: dict[str, Any] = dict(value) if isinstance(value, dict) else {}
        self.path = path
        self.notes = notes

    def take(self, name: str, default: Any = None) -> Any:
        value = self._left.pop(name, default)
        return default if value is None else value

    def text(self, name: str) -> str | None:
        """A string of theirs as one of ours: `os.environ/X` is `${X}`."""
        value = self.take(name)
        return None if value is None else spelled(str(value))

    def number(self, name: str) -> float | None:
        value = self.take(name)
        if value is None:
            return None
        try:
            return float(value)
        except (TypeError, ValueError):
            self.say(name, f"{value!r} is no number; left out")
            return None

    def whole(self, name: str) -> int | None:
        value = self.number(name)
        return None if value is None else int(value)

    def section(self, name: str) -> Section:
        return Section(self.take(name), self.at(name), self.notes)

    def at(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name

    def say(self, name: str, text: str) -> None:
        self.notes.add(self.at(name), text)

    def left(self) -> Iterator[str]:
        yield from list(self._left)

    def rest(self, reasons: dict[str, str]) -> None:
        """Tells all that was not taken. `reasons`: what is known of some; for the others there is just no counterpart."""
        for name in self.left():
            if self._left[name] not in (None, False, [], {}):
                self.say(name, reasons.get(name, "no counterpart"))
        self._left.clear()


class Secrets:
    """Variables for keys that stand in their file. The keys themselves are never repeated."""

    def __init__(self, text: str) -> None:
        """`text`: their file. A variable it uses already is not given another meaning."""
        self._taken = set(re.findall(r"os\.environ/([A-Za-z_][A-Za-z0-9_]*)", text))
        self._names: dict[str, str] = {}

    def of(self, value: str, name: str) -> str:
        """The variable to put `value` into: `name`, or that with a number."""
        if value not in self._names:
            free, count = name, 1
            while free in self._taken:
                count += 1
                free = f"{name}_{count}"
            self._taken.add(free)
            self._names[value] = free
        return self._names[value]


def spelled(value: str) -> str:
    """`os.environ/X` -> `${X}`. What already looks like one of our variables would be filled in, so it is told apart."""
    if value.startswith(_PREFIX) and _NAME.fullmatch(value[len(_PREFIX) :]):
        return "${" + value[len(_PREFIX) :] + "}"
    return value


def is_variable(value: str) -> bool:
    return value.startswith("${") and value.endswith("}")


def pairs(value: Any) -> Iterator[tuple[str, list[str]]]:
    """`[{"a": ["b", "c"]}]` -> ("a", ["b", "c"]); also where it is one mapping."""
    for each in [value] if isinstance(value, dict) else value if isinstance(value, list) else []:
        if isinstance(each, dict):
            for name, others in each.items():
                listed = others if isinstance(others, list) else [others]
                yield str(name), [str(other) for other in listed if isinstance(other, str | int | float)]


def seconds(value: float) -> str:
    """As our durations are written."""
    return f"{value:g}s" if value >= 1 or value == 0 else f"{value * 1000:g}ms"
