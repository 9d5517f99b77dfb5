"""Names of people, by cue only: "my name is ...", a title, a form field, a greeting, a signature, an address in
angle brackets.

Measured alternatives: name lists with looser rules find more (recall .44) but hit 0.56 times in every harmless
prompt, far too noisy to mask by; a language model does better (F2 0.90) and can be switched on (`ner:`). So this is
for those who want the sure ones only, and says so: most names in running text are not found."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import resources

from guardrails.finding.spans import Span, resolve


def _cues() -> tuple[tuple[str, ...], frozenset[str], frozenset[str]]:
    """(all cues, those after which two capitalised words are needed, words that are no names), from the list beside
    this file."""
    lists: dict[str, list[str]] = {}
    at: list[str] = []
    for line in (
        resources.files("guardrails.private").joinpath("pii_person_cues.txt").read_text(encoding="utf-8").split("\n")
    ):
        if line.startswith("["):
            at = lists.setdefault(line.strip("[]"), [])
        elif line and not line.startswith("#"):
            at += [words.strip() for words in line.split("|")]
    weak = frozenset(lists["weak"])
    return tuple({*lists["sure"], *weak}), weak, frozenset(lists["no names"])


_WORDS, _WEAK, _NOT_A_NAME = _cues()

_GAP = r"[ \t\u00a0]{1,3}"
_SPACE = rf"{_GAP}(?:\r?\n)?|\r?\n"
_UPPER = r"[A-Z\u00c0-\u00de\u0104-\u017d]"
_CAP = rf"(?:(?:{_UPPER}[a-z]{{0,3}}\.(?:ra|ssa)?-?){{1,3}}(?![A-Za-z])|{_UPPER}[A-Za-z\u00c0-\u017f'\u2019-]{{0,38}})"
"""A capitalised word, or an initial or title with its dot."""
_PARTICLE = r"(?:de|da|do|dos|das|del|della|di|van|von|der|den|du|la|le|el|al|bin|ibn|y|zu|zur|ter|ten|pol)"
_AND = r"(?:and|und|et|e|y|en|&)"
_NAME = rf"{_CAP}(?:{_GAP}(?:{_PARTICLE}{_GAP}){{0,3}}{_CAP}){{0,3}}"


def _cue(words: str) -> str:
    return rf"(?:{_SPACE})".join(re.escape(word) for word in words.split())


def _prefixes(words: str) -> str:
    """Every beginning of the cue that ends at a word, as one pattern."""
    first, *rest = (re.escape(word) for word in words.split())
    tail = ""
    for word in reversed(rest):
        tail = rf"(?:(?:{_SPACE}){word}{tail})?"
    return first + tail


_OPENERS = '"([{<>*\u201c\u2018\u00ab\u2014\u2013|'
_START = rf"(?<![^\s{re.escape(_OPENERS)}])"
"""A cue or a name begins at a text's start, behind white space, or behind one of these."""
_CUES = sorted(_WORDS, key=lambda words: (-len(words), words))
_NAMES = re.compile(rf"(?P<name>{_NAME})(?!\w)(?:{_GAP}{_AND}{_GAP}(?P<also>{_NAME})(?!\w))?")
_FIRST = re.compile(rf"(?<=\s){_UPPER}")
_LIVE = re.compile(
    rf"{_START}(?:(?i:{'|'.join(map(_prefixes, _CUES))})(?:(?:{_SPACE})(?:{_CAP}|{_PARTICLE}|{_AND})){{0,28}}"
    rf"|{_CAP}(?:{_GAP}(?:{_CAP}|{_PARTICLE})){{0,16}})(?:{_SPACE})?\Z"
)
"""What may still become a cue with a name or two, or a name before an address."""
_CUE_REACH = 64


_JOINING = frozenset(word for cue in _CUES for word in cue.split()) | frozenset(
    word for pattern in (_PARTICLE, _AND) for word in pattern[3:-1].split("|")
)
"""Words in small letters that a cue or a name can end in so far."""
_EXACT = {cue: re.compile(rf"{_START}(?i:{_cue(cue)})(?:{_SPACE})\Z") for cue in _CUES}
"""Each cue, right before a name."""
_SIZES: dict[str, list[int]] = {}
"""A cue's last word -> how many words the cues that end in it have, most first."""
for _words in map(str.split, _CUES):
    _SIZES[_words[-1]] = sorted({*_SIZES.get(_words[-1], ()), len(_words)}, reverse=True)

_BOX = re.compile(r"[ \t]<(?=[^\s<>@]{1,64}@)")
_BEFORE_BOX = re.compile(rf"{_START}{_NAME}[ \t]?\Z")
_WORD = re.compile(r"\S+")
_OPENED = re.compile(rf"^.*[{re.escape(_OPENERS)}]", re.DOTALL)
_POSSESSIVE = re.compile(r"['\u2019]s\Z")
_REACH = 160
_LONG_WORD = 256
_TAIL = 64
"""A word without end is let go but for its last characters: no cue and no name is longer than that inside one word."""


class Person:
    """PERSON. The span is the name without the cue."""

    def quiet(self, text: str) -> bool:
        return _FIRST.search(text) is None and _BOX.search(text) is None

    def find(self, text: str, begin: int = 0) -> list[Span]:
        found = self._matches(text, begin)
        return resolve(Span("PERSON", start, end, 0.5) for _, _, names in found for start, end in names)

    def _matches(self, text: str, begin: int) -> Iterator[tuple[int, int, list[tuple[int, int]]]]:
        """(start, end, names) of each cue with what it tells. From the capital letters back to the cues: most have none
        before them, and one word tells."""
        done = begin
        for first in _FIRST.finditer(text, begin):
            at = first.start()
            if at < done:
                continue
            cue, start = _cue_before(text, max(done, at - _CUE_REACH), at)
            match = _NAMES.match(text, at) if cue else None
            if match is None:
                continue
            name = _trimmed(match["name"], cue in _WEAK)
            if name:
                names = [(at, at + name)]
                also = _trimmed(match["also"], True) if match["also"] and name == len(match["name"]) else 0
                if also:
                    names.append((match.start("also"), match.start("also") + also))
                done = names[-1][1]
                yield start, match.end(), names
        yield from self._boxes(text, begin)

    @staticmethod
    def _boxes(text: str, begin: int) -> Iterator[tuple[int, int, list[tuple[int, int]]]]:
        """`Ada Lovelace <ada@example.com>`."""
        last = begin
        for box in _BOX.finditer(text, begin):
            match = _BEFORE_BOX.search(text, max(last, box.start() - _REACH), box.start())
            last = box.end()
            if match is None:
                continue
            start = match.start() + _leading(match[0])
            size = _trimmed(text[start : match.end()].rstrip(), False)
            if size:
                yield match.start(), box.end(), [(start, start + size)]

    def settle(self, text: str, limit: int) -> int:
        """Down to a word's start, then to where a cue, or a name after one, is still being said."""
        boundary = limit
        while boundary and not text[boundary - 1].isspace():
            boundary -= 1
        if limit - boundary > _LONG_WORD:
            ahead = text[limit : limit + _TAIL]
            return limit if len(ahead) == _TAIL and not any(map(str.isspace, ahead)) else limit - _TAIL
        near = text[max(0, boundary - 1024) : boundary]
        live = _LIVE.search(text, boundary - len(near), boundary) if _may_be_live(near) else None
        cut = live.start() if live else boundary
        for start, end, _ in sorted(self._matches(text[:boundary], 0), reverse=True):
            if start < cut < end:
                cut = start
        return cut


def _may_be_live(text: str) -> bool:
    """Whether what `text` ends in can be a part of a cue or of a name at all. `_LIVE` tries every place, this one."""
    words = text.rsplit(None, 1)
    last = _bare(words[-1].rstrip()) if words else ""
    return last[:1].isupper() or last.lower() in _JOINING


def _cue_before(text: str, begin: int, at: int) -> tuple[str, int]:
    """The longest cue that ends before the capital letter at `at`, and where it begins; "" if there is none."""
    before = text[begin:at].lower()
    last = before.rsplit(None, 1)
    sizes = _SIZES.get(_bare(last[-1].rstrip())) if last else None
    if sizes is None:
        return "", at
    words = before.rsplit(None, sizes[0])[-sizes[0] :]
    for size in sizes:
        cue = " ".join([_bare(words[-size]), *words[len(words) - size + 1 :]]) if size <= len(words) else ""
        exact = _EXACT.get(cue)
        match = exact.search(text, begin, at) if exact is not None else None
        if match is not None:
            return cue, match.start()
    return "", at


def _bare(word: str) -> str:
    """Without what is before the last quote or bracket in it."""
    return _OPENED.sub("", word, count=1)


def _trimmed(name: str, weak: bool) -> int:
    """How much of it is a name: up to the first word that is none. 0 if that is nothing, or one word where two are
    needed."""
    words = end = 0
    for match in _WORD.finditer(name):
        if match[0].rstrip(".,'\u2019").lower() in _NOT_A_NAME:
            break
        if match[0][0].isupper():
            words, end = words + 1, match.end()
    if words < (2 if weak else 1):
        return 0
    return len(_POSSESSIVE.sub("", name[:end]).rstrip(".'\u2019-")) or end


def _leading(name: str) -> int:
    """Where in it the name begins, behind "Dear" and the like."""
    for match in _WORD.finditer(name):
        if match[0].rstrip(".,").lower() not in _NOT_A_NAME:
            return match.start()
    return len(name)
