"""The `guardrails:` section: named checks, and what is wrong with one before it ever runs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Literal

import msgspec

from gateway.core.units import Duration

Use = Literal[
    "pii", "secrets", "injection", "phrases", "prompt_leak", "json_schema", "toxicity", "topic", "brand", "remote"
]
On = Literal["input", "retrieved", "output"]
Action = Literal["mask", "block", "flag", "repair"]
Scope = Literal["latest_turn", "user", "tool_results", "assistant"]
StreamMode = Literal["hold", "window", "full", "off"]

LATER = ("topic", "brand", "remote")
"""Names kept for checks that this version does not have. Asking for one is an error, because a check that is
configured and does nothing is worse than none."""


class GuardrailConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One check. Which keys mean something depends on `use`; the others are errors."""

    use: Use
    on: list[On] = msgspec.field(default_factory=lambda: ["input"])
    action: Action = "block"
    on_error: Literal["open", "closed"] | None = None
    """What happens when the check cannot run. Must be written for every check that masks, blocks or repairs."""
    deadline: Duration = Duration(0.1)
    """For one run on the input side. On the output side it bounds the slow steps (`json_schema`); pattern checks
    there are bounded by how much they may hold."""
    scope: list[Scope] | None = None
    """Whose text may block: default the latest user turn, and tool results. Masking always covers every role."""
    restore: bool | None = None
    """Put originals back into the answer. Default yes, for checks that mask input."""
    entities: list[str] | None = None
    regions: list[str] | None = None
    """ISO country codes whose national telephone numbers are understood."""
    patterns: dict[str, str] | None = None
    """Own entities: name -> RE2 pattern."""
    words: dict[str, list[str]] | None = None
    """Own entities: name -> words to find as they stand."""
    ner: str | None = None
    """An installed spaCy model, or a path to one: finds names in running text (PERSON, LOCATION ...). Slow and
    large."""
    deny: list[str] | None = None
    threshold: float | None = None
    stream: StreamMode | None = None
    """How the check acts on a stream: `hold` what may still become a hit, `window` the same by words, `full`
    everything until the end, `off` not at all (only for `flag`)."""
    then: Literal["retry", "block"] | None = None
    attempts: int | None = None
    """How often the model may be asked again."""


class Traits(msgspec.Struct, frozen=True):
    """What one `use` can do."""

    sides: frozenset[str]
    actions: frozenset[str]
    keys: frozenset[str] = frozenset()
    streams: tuple[str, ...] = ()
    """Stream modes in which it can act, the default first. Empty: not an output check."""


def _traits(sides: str, actions: str, keys: str = "", streams: str = "") -> Traits:
    return Traits(frozenset(sides.split()), frozenset(actions.split()), frozenset(keys.split()), tuple(streams.split()))


_BOTH = "input retrieved output"

TRAITS: Mapping[str, Traits] = {
    "pii": _traits(_BOTH, "mask block flag", "entities regions patterns words ner restore scope stream", "hold full"),
    "secrets": _traits(_BOTH, "mask block flag", "restore scope stream", "hold full"),
    "injection": _traits("input retrieved", "block flag", "threshold scope"),
    "phrases": _traits(_BOTH, "mask block flag", "deny restore scope stream", "hold full"),
    "prompt_leak": _traits("output", "block flag", "stream", "window full"),
    "toxicity": _traits(_BOTH, "block flag", "threshold scope stream", "window full"),
    "json_schema": _traits("output", "repair block", "then attempts stream", "full"),
}

OPTIONAL = frozenset().union(*(traits.keys for traits in TRAITS.values()))
NAME = re.compile(r"[A-Z][A-Z0-9_]{0,39}")
CHECK_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")


def problems(config: Mapping[str, GuardrailConfig]) -> Iterator[tuple[str, str]]:
    """(path, what is wrong) for every fault in the section. Expensive parts (patterns, models) are tried for real."""
    from guardrails.problems import check_problems

    for name, check in config.items():
        for key, message in check_problems(name, check):
            yield f"guardrails.{name}{key}", message
