"""What a question says, in the few respects in which a nearest neighbour is often wrong.

Embeddings call "from London to Tokyo" and "from Tokyo to London" the same, and "with" and "without" nearly so. A
`Reading` keeps what they lose: numbers, negation, names, times, the question word, the content words in order.
The lists are English; a question that does not look English is held to stricter rules (`verify`).
"""

from __future__ import annotations

import re
import unicodedata

import msgspec

from cache.words import FILLER, NEGATION, NUMERAL, TIME

_GREETING = re.compile(
    r"^(?:(?:hi|hello|hey|greetings|dear (?:team|sir|madam|all)|good (?:morning|afternoon|evening|day)|please|pls|"
    r"quick question|a quick question|one question|excuse me|sorry|ok|okay|so|well)(?: there| everyone| all)?"
    r"(?:[\s,.:;!-]+|$))+"
)
_THANKS = re.compile(
    r"(?:[\s,.:;!?-]+(?:(?:many )?thanks(?: a lot| so much| in advance)?|thank you(?: very much| so much| in advance)?|"
    r"thx|ty|cheers|please|pls|regards|kind regards))+[\s,.:;!?]*$"
)
_SPACE = re.compile(r"\s+")
_EDGE = " \t\r\n.,:;!?…¿¡-–—\"'“”‘’"
_WORD = re.compile(r"[^\W_]+(?:['’.+#-][^\W_]+)*[+#]*")
_NUMBER = re.compile(r"[\d.,:/-]*\d[\d.,:/-]*")

_RELATIVE = re.compile(
    r"\b(this|last|next|previous|coming|past) (day|week|weekend|month|quarter|year|morning|afternoon|evening|night)\b"
)
_CONTRACTED = {"won't": "will", "can't": "can", "shan't": "shall", "ain't": "is"}
_SIGNS = "%#@&*/\\^_|~"
_SHORT = frozenset({"s", "re", "ve", "ll", "d", "m"})
_DIRECTION = {"from": "from", "to": "to", "into": "to", "towards": "to", "onto": "to"}
_ASKS = {"who": "who", "whom": "who", "whose": "who", "when": "when", "where": "where", "why": "why"}


class Reading(msgspec.Struct, frozen=True):
    """One question, read."""

    words: tuple[str, ...]
    """Content words, stemmed, in order."""
    every: frozenset[str]
    """All words, lower case."""
    numbers: tuple[str, ...]
    """Sorted, each as often as it occurs."""
    negations: int
    names: frozenset[str]
    """Words written like names or codes (capitals inside a sentence, letters with digits), lower case."""
    times: frozenset[str]
    """Named days, months and seasons, and phrases such as `last month`."""
    ends: frozenset[tuple[str, str]]
    """What `from`, `to` and the like point at: (preposition, next content word)."""
    signs: frozenset[str]
    """Currency and mathematical signs, and the like: `$5` is not `€5`, `C` not `C++`."""
    english: bool
    """Enough of the words are English function words for the lists in `words` to mean something."""
    plain: str
    """After `normalise`: what was embedded."""
    spread: tuple[str, ...]
    """All words, stemmed, in order."""
    asks: frozenset[str]
    """Of who, when, where, why. What, which and how are asked for the same things too often to tell apart."""


def normalise(text: str) -> str:
    """The question without dress: NFKC, one space, lower case, no greeting before, no thanks after, no edge
    punctuation. What is embedded. Empty when nothing but dress was there."""
    text = _SPACE.sub(" ", unicodedata.normalize("NFKC", text)).strip(_EDGE).casefold()
    text = _GREETING.sub("", text)
    return _THANKS.sub("", text).strip(_EDGE)


def read(text: str) -> Reading:
    """Reads a question as it was asked: capitals matter."""
    text = unicodedata.normalize("NFKC", text).replace("’", "'")
    plain = normalise(text)
    spread = [piece for word in _WORD.findall(plain) for piece in _split(word)]
    return Reading(
        words=tuple(
            stem(word) for word in spread if word not in FILLER and word not in NEGATION and not _is_number(word)
        ),
        every=frozenset(spread),
        numbers=tuple(sorted(_number(word) for word in spread if _is_number(word))),
        negations=sum(word in NEGATION for word in spread),
        names=_names(text, plain),
        times=frozenset(word for word in spread if word.removesuffix("s") in TIME)
        | frozenset(match[0] for match in _RELATIVE.finditer(plain)),
        ends=_ends(spread),
        signs=frozenset(
            letter for letter in set(plain) if letter in _SIGNS or unicodedata.category(letter) in ("Sc", "Sm")
        ),
        english=4 * sum(word in FILLER for word in spread) >= len(spread),
        plain=plain,
        spread=tuple(stem(word) for word in spread),
        asks=frozenset(_ASKS[word] for word in spread if word in _ASKS),
    )


def stem(word: str) -> str:
    """Takes off a plural and a common verb ending. Crude, and the same for both sides."""
    if len(word) < 4:
        return word
    if word.endswith("s") and word[-2] not in "sui":
        word = word[:-1]
    for ending in ("ing", "ed"):
        base = word.removesuffix(ending)
        if base != word and len(base) >= 3:
            word = base[:-1] if base[-1] == base[-2] and base[-1] not in "aeios" else base
            break
    if len(word) > 3 and not word.endswith("ee"):
        word = word.removesuffix("e")
    return word[:-1] + "i" if word.endswith("y") else word


def _split(word: str) -> list[str]:
    """`doesn't` is does and not, `what's` is what, `top-up` is top and up, `gpt-4` is gpt and 4."""
    if word.endswith("n't"):
        return [_CONTRACTED.get(word, word[:-3]), "not"]
    head, mark, tail = word.partition("'")
    word = head if mark and tail in _SHORT else word
    if "-" not in word or _is_number(word):
        return [word]
    return [piece for piece in word.split("-") if piece]


def _ends(spread: list[str]) -> frozenset[tuple[str, str]]:
    ends: set[tuple[str, str]] = set()
    for at, word in enumerate(spread):
        side = _DIRECTION.get(word)
        if side is not None:
            pointed = next((other for other in spread[at + 1 :] if other not in FILLER), None)
            if pointed is not None:
                ends.add((side, stem(pointed)))
    return frozenset(ends)


def _is_number(word: str) -> bool:
    return word in NUMERAL or _NUMBER.fullmatch(word) is not None


def _number(word: str) -> str:
    value = NUMERAL.get(word, word).replace(",", "").rstrip(".-:/")
    return value[:-2] if value.endswith(".0") else value


def _names(text: str, plain: str) -> frozenset[str]:
    """Not the first word of a sentence, whose capital says nothing, unless it has more than one or a digit."""
    names: set[str] = set()
    start = True
    end = 0
    kept = set(_WORD.findall(plain))
    for match in _WORD.finditer(text):
        word = match[0]
        if word.islower() and word.isalpha():  # most words; nothing below can name one
            start, end = False, match.end()
            continue
        between = text[end : match.start()]
        start = start if end == 0 else any(mark in between for mark in ".!?:\n,")
        end = match.end()
        inner = any(letter.isupper() for letter in word[1:])
        code = any(letter.isdigit() for letter in word) and any(letter.isalpha() for letter in word)
        if word.casefold() in kept and (inner or code or (word[0].isupper() and not start)):
            names.update(piece for piece in _split(word.casefold()) if piece not in FILLER and not _is_number(piece))
        start = False
    return frozenset(names)
