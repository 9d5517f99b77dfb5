"""PII: which entities there are, and one scanner for the chosen ones."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from functools import cache

import phonenumbers

from guardrails.finding.automaton import Phrases
from guardrails.finding.custom import custom_scanner
from guardrails.finding.scanner import Scanner, Several
from guardrails.finding.spans import Span
from guardrails.finding.zones import Recogniser, Zones
from guardrails.private.pii_person import Person
from guardrails.private.pii_phone import REGIONS, Phone
from guardrails.private.pii_presidio import recognisers
from guardrails.private.pii_url import Url
from guardrails.reading.invisible import Visible

PATTERNED = (
    "EMAIL_ADDRESS", "PHONE_NUMBER", "CREDIT_CARD", "IBAN_CODE", "US_SSN", "IP_ADDRESS", "URL", "MAC_ADDRESS", "CRYPTO",
)  # fmt: skip
ENTITIES = (*PATTERNED, "PERSON")
"""What `entities:` may name. PERSON finds names by cue only ("my name is ...", a title, a signature)."""

KNOWN_REGIONS: frozenset[str] = frozenset(phonenumbers.SUPPORTED_REGIONS)

DEFAULT = ("EMAIL_ADDRESS", "PHONE_NUMBER", "CREDIT_CARD", "IBAN_CODE", "US_SSN", "IP_ADDRESS")
"""Without URL (most are not private), PERSON (cues miss more than they find) and the rest (rare)."""

# Separators: what no entity of ours contains. Scripts written without spaces are among them, so that neither a Chinese
# sentence is one endless token nor the word before an address becomes part of it.
SEPARATOR = (
    r"\s\"<>{}|`\\^\u2018-\u201f\u2026\u0e00-\u0e7f\u1000-\u109f\u1780-\u17ff"
    r"\u2e80-\u9fff\ua000-\ua4cf\uac00-\ud7af\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff"
)
_CHAR = f"[^{SEPARATOR}]"
_TRIGGER = r"(?:[0-9@]|[A-Za-z][.:][A-Za-z/]|::)"
_LAST = r"[0-9A-Z)\]/.+\-\u2013#xt]"
_JOIN = (
    rf"(?:(?<={_LAST})"
    r"[ \t\u00a0]{1,2}(?=[0-9A-Z(+\[/\-\u2013#x]|ext)" + _CHAR + "+){0,40}"
)  # fmt: skip
ZONE = f"(?<!{_CHAR}){_CHAR}*?{_TRIGGER}{_CHAR}*{_JOIN}"
"""A token with a digit, an `@` or an inner dot or colon, and those after it that look like the rest of a spaced number
(`4111 1111 ...`, `GB29 NWBK ...`, `555-0100 ext 12`). At most 40 more: then the zone ends and another begins."""

_PLAIN = r"[a-z]{0,20}[a-su-wyz],?"
"""A word in small letters whose last one is not of `_LAST`."""

_FOLD = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x2010: 0x2D, 0x2011: 0x2D, 0x2212: 0x2D}
_FOLD |= {code: 48 + unicodedata.decimal(chr(code)) for code in range(0x660, 0xFF00) if chr(code).isdecimal()}
"""Full-width forms, look-alike hyphens and the digits of every script to ASCII, one character for one, so that
offsets stay what they are."""

_FOLDED = re.compile("[" + "".join(map(chr, sorted(_FOLD))) + "]")


def _fold(text: str) -> str:
    return text if text.isascii() or _FOLDED.search(text) is None else text.translate(_FOLD)


class Folded:
    """A scanner that sees look-alike characters as the ASCII they imitate."""

    def __init__(self, inner: Scanner) -> None:
        self.inner = inner

    def quiet(self, text: str) -> bool:
        return self.inner.quiet(_fold(text))

    def find(self, text: str, begin: int = 0) -> list[Span]:
        return self.inner.find(_fold(text), begin)

    def settle(self, text: str, limit: int) -> int:
        return self.inner.settle(_fold(text), limit)


@cache
def _presidio() -> Mapping[str, Sequence[Recogniser]]:
    return recognisers()


def scanner(
    entities: Sequence[str] = DEFAULT,
    *,
    regions: Sequence[str] = REGIONS,
    patterns: Mapping[str, str] | None = None,
    deny: Mapping[str, Sequence[str]] | None = None,
    ner: Scanner | None = None,
) -> Scanner:
    """One scanner for all that a `use: pii` check looks for. Expensive; made at start.

    `patterns`: entity name -> RE2 pattern; `deny`: entity name -> words to find as they stand, in any case; `ner`: a
    further scanner (see `pii_ner`). Raises ValueError for an unknown entity or a pattern that RE2 does not take."""
    unknown = [name for name in entities if name not in ENTITIES]
    if unknown:
        raise ValueError(f"unknown entity {unknown[0]!r}; known are {', '.join(ENTITIES)}")
    makers: dict[str, Callable[[], Recogniser]] = {"PHONE_NUMBER": lambda: Phone(regions), "URL": Url}
    zoned: list[Recogniser] = []
    for name in entities:
        if name in PATTERNED:
            zoned += [makers[name]()] if name in makers else _presidio()[name]
    parts: list[Scanner] = []
    if zoned:
        parts.append(Folded(Zones(SEPARATOR, ZONE, _LAST, zoned, _PLAIN)))
    if "PERSON" in entities:
        parts.append(Person())
    parts += [custom_scanner(name, pattern, SEPARATOR) for name, pattern in (patterns or {}).items()]
    parts += [Phrases(words, kind=name) for name, words in (deny or {}).items()]
    if ner is not None:
        parts.append(ner)
    return Visible(parts[0] if len(parts) == 1 else Several(parts))


def find(text: str, entities: Sequence[str] = DEFAULT) -> list[Span]:
    """The spans of `entities` in `text`, disjoint and in order. For evaluation; a check keeps its scanner."""
    return _cached_scanner(tuple(entities)).find(text)


@cache
def _cached_scanner(entities: tuple[str, ...]) -> Scanner:
    return scanner(entities)
