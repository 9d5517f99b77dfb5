"""The wordings in which models decline, in many languages: the speaker says "I", and denies what was asked of them.

Not a refusal is what only sounds like one: an apology, something that could not be found or seen, a figure that is not
known exactly, words that are quoted or made for somebody else to say. So each rule needs both the denial and a word for
what is denied. The rules are in `refusal_rules.txt`."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from importlib import resources

OPENING = 300
"""Characters that are looked at. A refusal that comes later is not seen. Bounds the work of the patterns, too."""

_NAME = re.compile(r"\{([A-Z]+)\}")
_INVISIBLE = "*_#\u00ad\u200b\u200c\u200d\u2060\ufeff"
_SIGNS = str.maketrans(dict.fromkeys(_INVISIBLE, None) | dict.fromkeys("’‘ʼ", "'"))
_QUOTED = re.compile(
    r"```.*?(?:```|\Z)|`[^`\n]*(?:`|\Z)|^ *>[^\n]*|[\"“„][^\"”“\n]*(?:[\"”“]|\Z)|«[^»\n]*(?:»|\Z)|「[^」\n]*(?:」|\Z)",
    re.DOTALL | re.MULTILINE,
)
_GIVEN = re.compile(
    r"\b(?:translat\w*|rewr[io]t\w*|draft|message|reply|e-?mail|sentence|phrase|caption|version|letter|übersetzung|traduc\w*)\b"
    r"[^.:!?]{0,40}:.*"
)
"""Words for somebody else to say."""


def read_rules(text: str) -> dict[str, list[str]]:
    """Language to patterns. Raises ValueError for a line it cannot read."""
    lists: dict[str, list[str]] = {}
    rules: dict[str, list[str]] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line or line.startswith("#"):
            continue
        first, _, rest = line.partition(" ")
        if not rest:
            raise ValueError(f"refusal rules, line {number}: expected a language or a list's name, and a pattern")
        if first.startswith("@"):
            lists.setdefault(first[1:], []).append(rest)
        else:
            rules.setdefault(first, []).append(_NAME.sub(lambda name: f"(?:{'|'.join(lists[name[1]])})", rest))
    return rules


@lru_cache(maxsize=1)
def rules() -> tuple[tuple[str, re.Pattern[str]], ...]:
    """The rules shipped with this package, one pattern for each language."""
    text = resources.files("guardrails.answered").joinpath("refusal_rules.txt").read_text(encoding="utf-8")
    return tuple(
        (language, re.compile("|".join(f"(?:{pattern})" for pattern in patterns)))
        for language, patterns in read_rules(text).items()
    )


LANGUAGES = tuple(language for language, _ in rules())


def refuses(text: str) -> str:
    """The language of the refusal that `text` opens with; empty if it opens with none. What it quotes does not count."""
    opening = unicodedata.normalize("NFKC", text[:OPENING].translate(_SIGNS)).lower()
    opening = _GIVEN.sub(" ", " ".join(_QUOTED.sub(" ", opening[: 2 * OPENING]).split()))
    for language, rule in rules():
        if rule.search(opening):
            return language
    return ""
