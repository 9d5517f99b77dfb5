"""What is wrong with a configuration, and where."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

import msgspec

_LONGEST = 128
"""Characters of a name that are compared: a client's own text may end up here, and the comparison is quadratic."""


class Problem(msgspec.Struct, frozen=True, order=True):
    """`path` is the key's place in the file: `guardrails.private.deadline`."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class ConfigError(Exception):
    """A configuration with problems; all of them."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(map(str, self.problems)))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """` (did you mean ...?)`, or nothing when no known name is close."""
    close = difflib.get_close_matches(name[:_LONGEST], list(known), n=1, cutoff=0.55)
    return f" (did you mean {close[0]!r}?)" if close else ""
