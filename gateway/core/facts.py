"""Notes that one stage leaves for another, under typed keys.

A component lists the keys it produces and consumes; a pipeline in which a consumer has no producer before it
is refused at start (`gateway.pipeline.build`), so a missing note is a configuration error and not a surprise.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar, cast

T = TypeVar("T")


class Key(Generic[T]):
    """A typed name. Two keys are the same only if they are the same object."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"Key({self.name!r})"


class Facts:
    """The notes of one exchange."""

    __slots__ = ("_values",)

    def __init__(self) -> None:
        self._values: dict[Key[Any], Any] = {}

    def put(self, key: Key[T], value: T) -> None:
        self._values[key] = value

    def get(self, key: Key[T]) -> T | None:
        return cast("T | None", self._values.get(key))

    def __contains__(self, key: Key[Any]) -> bool:
        return key in self._values

    def __repr__(self) -> str:
        return f"Facts({sorted(key.name for key in self._values)})"
