"""What a `use:` of the `guardrails:` section is: where it may run, what it can do, how its parts are made, what it misses.

One `Kind` for each use, each in its own file under `guardrails/kinds/`; `guardrails.kinds.KINDS` lists them. Everything
else (building, validating, describing) reads this table, so a new check is one file and one line."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any, Literal

import msgspec

from gateway.core.clock import Clock, SystemClock
from gateway.core.ports import Judge, Post, Transform
from guardrails.asked.looking import Look
from guardrails.asked.screen import Asking, Cuts, Inspector, Throttle
from guardrails.asked.throttling import Throttling
from guardrails.asking.memo import Memo
from guardrails.config import GuardrailConfig
from guardrails.finding.scanner import Scanner

Delivery = Literal["stream", "whole"]
Encode = Callable[[Sequence[str]], Any]
"""Texts to unit vectors, shape (n, dim), on the calling thread."""
Found = Iterable[tuple[str, str]]
"""(key, message) pairs; the key starts with a dot, or is empty for the check as a whole."""


class Tools(msgspec.Struct, frozen=True, kw_only=True):
    """What checks may use of the house around them, handed in by the composition root. None: not there."""

    pool: Executor
    clock: Clock = msgspec.field(default_factory=SystemClock)
    encode: Encode | None = None
    encoder_id: str = ""
    judge: Judge | None = None
    post: Post | None = None
    looks: dict[str, tuple[GuardrailConfig, Look | Throttling]] = msgspec.field(default_factory=dict)
    """The checks of the input that were made, by name."""
    secret: bytes = msgspec.field(default_factory=lambda: secrets.token_bytes(32))
    """Drawn at start where the house gives none."""
    memo: Memo = msgspec.field(default_factory=Memo)
    """What judges have said."""

    def stats(self) -> Mapping[str, Mapping[str, float]]:
        """Of each check of the input that has any: `entries`, texts remembered or callers counted; `breaker_open`."""
        return {name: stats for name, (_, look) in self.looks.items() if (stats := look.stats())}

    def __repr__(self) -> str:
        """Without the secret."""
        return f"Tools(encoder_id={self.encoder_id!r})"


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """One use. A kind that finds spans gives `scanner`, and both sides are made of it; others give their own parts."""

    use: str
    category: str
    """What the client is told. Public, and stable."""
    sides: frozenset[str]
    actions: frozenset[str]
    keys: frozenset[str] = frozenset()
    """The optional keys of `GuardrailConfig` that mean something here."""
    streams: tuple[str, ...] = ()
    """Stream modes in which it can mask, block or repair, the default first. Empty: not an output check. Every kind that
    can flag can `audit` too."""
    misses: Callable[[GuardrailConfig, str, Delivery], str]
    """(check, side, delivery) -> what it cannot see there."""
    scanner: Callable[[GuardrailConfig], Scanner] | None = None
    split: Callable[[GuardrailConfig], Sequence[GuardrailConfig]] | None = None
    """A check with `actions` as several, of one action each, whose scanners do not know of each other."""
    cuts: Callable[[GuardrailConfig], Cuts] | None = None
    """For inspectors that only score: from which score on a text is a hit."""
    remembers: bool = False
    """What the input side found in a text is remembered. Not for masks, and not where looking costs no more than that."""
    inspector: Callable[[GuardrailConfig, Tools], Inspector | None] | None = None
    asking: Callable[[str, GuardrailConfig, Tools], Asking | None] | None = None
    """(the check's name, the check, tools) -> what the input side asks outside, after the inspector if there is one. None
    for a check that need not ask."""
    throttle: Callable[[GuardrailConfig, Tools], Throttle] | None = None
    """What counts prompts, instead of looking at them."""
    transform: Callable[[str, GuardrailConfig, Tools], Transform | None] | None = None
    """(the check's name, the check, tools) -> the output side's part. None: it is made of the scanner."""
    canary: Callable[[str, GuardrailConfig, Tools], str] | None = None
    """(the check's name, the check, tools) -> a word to put into the system prompt; "" for none."""
    outside: bool = False
    """It shows texts to somebody else, so it comes after all checks that mask."""
    tiers: Callable[[GuardrailConfig], str] = lambda check: ""
    """Who looks, where that is more than patterns and models of the house: for `tidegate check`."""
    problems: Callable[[GuardrailConfig], Found] = lambda check: ()
    """What is wrong with this check's own keys; the common ones are looked at in `guardrails.problems`."""


BOTH = frozenset({"input", "retrieved", "output"})
INPUT = frozenset({"input", "retrieved"})
OUTPUT = frozenset({"output"})
SCANNED = ("window", "hold", "full", "retract")
"""Stream modes of a check that is made of a scanner."""


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def always(text: str) -> Callable[[GuardrailConfig, str, Delivery], str]:
    """For `misses`: the same on every side."""

    def misses(check: GuardrailConfig, side: str, delivery: Delivery) -> str:
        return text

    return misses
