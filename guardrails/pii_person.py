"""Names of people, by cue only: "my name is ...", a title, a form field, a greeting, a signature.

Measured alternatives: name lists with looser rules find more (recall .44) but hit 0.56 times in every harmless
prompt, far too noisy to mask by; a language model does better (F2 0.90) and can be switched on (`ner:`). So this is
for those who want the sure ones only, and says so: most names in running text are not found."""

from __future__ import annotations

import re
from collections.abc import Iterator

import re2

from guardrails.spans import Span

_WORDS = (
    "my name is", "my name's", "name is", "i am called", "this is", "i'm", "i am", "signed by", "signed,", "dear", "hi",
    "hello",     "regards,", "kind regards,", "best regards,", "sincerely,", "yours sincerely,", "cheers,", "thanks,",
    "mr", "mr.", "mrs", "mrs.", "ms", "ms.", "miss", "dr", "dr.", "prof", "prof.", "sir", "madam", "herr", "frau",
    "sig.", "sig.ra",     "dott.", "sr.", "sra.", "srta.", "mme", "mlle", "mevr.", "dhr.", "pan", "pani",
    "name:", "full name:", "patient:", "customer:", "client:", "employee:", "applicant:", "attn:", "contact:",
    "from:", "to:", "cc:",
    "patient", "customer", "client", "employee", "colleague",
)  # fmt: skip
_WEAK = frozenset(
    {"this is", "i am", "i'm", "hi", "hello", "dear", "from:", "to:", "cc:", "thanks,", "cheers,", "name is"}
)
"""Cues that ordinary words follow too ("Hi There", "From: Billing"): two capitalised words are needed."""

_SPACE = r"[ \t\u00a0]{1,3}(?:\r?\n)?|\r?\n"
_UPPER = r"[A-Z\u00c0-\u00de\u0104-\u017d]"
_CAP = rf"(?:(?:{_UPPER}[a-z]{{0,3}}\.(?:ra|ssa)?-?){{1,3}}(?![A-Za-z])|{_UPPER}[A-Za-z\u00c0-\u017f'\u2019-]{{0,38}})"
"""A capitalised word, or an initial or title with its dot."""
_PARTICLE = r"(?:de|da|do|dos|das|del|della|di|van|von|der|den|du|la|le|el|al|bin|ibn|y|zu|zur|ter|ten|pol)"
_NAME = rf"{_CAP}(?:(?:{_SPACE})(?:{_PARTICLE}(?:{_SPACE})){{0,3}}{_CAP}){{0,3}}"


def _cue(words: str) -> str:
    return rf"(?:{_SPACE})".join(re.escape(word) for word in words.split())


def _prefixes(words: str) -> str:
    """Every beginning of the cue that ends at a word, as one pattern."""
    first, *rest = (re.escape(word) for word in words.split())
    tail = ""
    for word in reversed(rest):
        tail = rf"(?:(?:{_SPACE}){word}{tail})?"
    return first + tail


_CUES = sorted(_WORDS, key=lambda words: (-len(words), words))
_MATCH = re.compile(rf"(?<![\w'\u2019])(?P<cue>(?i:{'|'.join(map(_cue, _CUES))}))(?:{_SPACE})(?P<name>{_NAME})(?![\w])")
_LIVE = re.compile(
    rf"(?<![\w'\u2019])(?i:{'|'.join(map(_prefixes, _CUES))})"
    rf"(?:(?:{_SPACE})(?:{_CAP}|{_PARTICLE})){{0,16}}(?:{_SPACE})?\Z"
)
_CUE = re2.compile("(?i)\\b(?:" + "|".join(map(re.escape, _CUES)).replace("\\ ", "[ \\t\\r\\n]+") + ")[ \\t\\r\\n]")
_NOT_A_NAME = frozenset(
    {"I", "The", "This", "That", "It", "We", "You", "He", "She", "They", "There", "Sir", "Madam", "Team", "All", "Everyone",
     "Monday", "Tuesday", "Regards", "Dear", "Hi", "Hello"}
)  # fmt: skip
_LONG_WORD = 256
_TAIL = 64
"""A word without end is let go but for its last characters: no cue and no name is longer than that inside one word."""


class Person:
    """PERSON. The span is the name without the cue."""

    def quiet(self, text: str) -> bool:
        return _CUE.search(text) is None

    def find(self, text: str, begin: int = 0) -> list[Span]:
        spans: list[Span] = []
        for match in self._matches(text, begin):
            start, name = match.start("name"), match["name"]
            spans.append(Span("PERSON", start, start + len(name.rstrip(".'\u2019-") or name), 0.5))
        return spans

    def _matches(self, text: str, begin: int) -> Iterator[re.Match[str]]:
        """Cue and name together, one after the other. RE2 finds the cues, in linear time; `re` looks only there."""
        done = begin
        for hit in _CUE.finditer(text[begin:] if begin else text):
            at = begin + hit.start()
            match = _MATCH.match(text, at) if at >= done else None
            if match is not None and self._is_name(match["cue"], match["name"]):
                yield match
                done = match.end()

    @staticmethod
    def _is_name(cue: str, name: str) -> bool:
        words = name.split()
        weak = " ".join(cue.lower().split()) in _WEAK
        return words[0].rstrip(".,") not in _NOT_A_NAME and not (weak and len(words) < 2)

    def settle(self, text: str, limit: int) -> int:
        """Down to a word's start, then to where a cue, or a name after one, is still being said."""
        boundary = limit
        while boundary and not text[boundary - 1].isspace():
            boundary -= 1
        if limit - boundary > _LONG_WORD:
            ahead = text[limit : limit + _TAIL]
            return limit if len(ahead) == _TAIL and not any(map(str.isspace, ahead)) else limit - _TAIL
        live = _LIVE.search(text, max(0, boundary - 1024), boundary)
        cut = live.start() if live else boundary
        for match in self._matches(text[:boundary], 0):
            if match.start() < cut < match.end():
                return match.start()
        return cut
