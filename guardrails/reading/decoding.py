"""What a text says in a way that filters do not read and models do: Base64, hex, character codes, Caesar's cipher,
leetspeak, spelt-out and glued words, reversed text, pieces to be joined.

Base64, hex and codes are read wherever they say something. Everything else can be read out of any text, so it is read
only where that gives words which attacks are made of and which were not there before: harmless text gives nothing.

Every step is one pass: RE2, `str.translate` or slices, never a search inside a search. Bounded: at most `MAX_DECODED`
pieces of `MAX_ENCODED` characters. Not read: ciphers with a key, Morse, encodings inside of encodings, homophones."""

from __future__ import annotations

import base64
import binascii
import html
import re
import string
from collections.abc import Iterator, Set

import re2

MAX_DECODED = 8
"""Pieces that are decoded of one text."""
MAX_ENCODED = 4096
"""Characters of one piece."""
_BEFORE = 512
"""Characters that are kept before the first word that gave a cipher away."""

_TELLING = (
    "ignore", "disregard", "forget", "bypass", "override", "reveal", "instruction", "previous", "prompt", "password",
    "secret", "system", "restriction", "jailbreak", "guideline", "unfiltered", "disclose", "developer", "pretend", "repeat",
)  # fmt: skip
"""Words that attacks are made of. Six letters or more, so that no other text holds one by chance."""
_URGING = frozenset(
    {"ignore", "disregard", "forget", "bypass", "override", "reveal", "jailbreak", "unfiltered", "disclose", "pretend"}
)
"""Those of them that ask for something. Names in code and addresses are glued from the others all the time."""
_JOINING = (
    "previous", "instructions", "instruction", "everything", "restrictions", "guidelines", "developer", "disregard",
    "unfiltered", "jailbreak", "password", "override", "execute", "without", "forget", "ignore", "bypass", "reveal",
    "system", "prompt", "secret", "pretend", "repeat", "hidden", "before", "above", "limits", "rules", "print", "show",
    "tell", "your", "with", "from", "mode", "what", "that", "this", "have", "all", "and", "the", "you", "are", "now", "act",
    "any", "key", "say",
)  # fmt: skip
"""Words that are looked for in letters written without gaps."""

_BASE64 = re.compile(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{24,}={0,2}")
_LETTERS = string.ascii_lowercase
_LEET = str.maketrans("013457@$!|", "oieastasii")


def _options() -> re2.Options:
    options = re2.Options()
    options.log_errors = False
    return options


_CODES = re2.compile(
    r"(?:(?:\\x|0x|%|\\u00)[0-9a-f]{2}[ ,]{0,2}){8,}|\b(?:[0-9a-f]{2}[ ,:]{0,2}){8,}|(?:\b[0-9]{2,3}[ ,]{1,2}){7,}[0-9]{2,3}"
    r"|(?:[01]{8} ?){6,}",
    _options(),
)
_SPELT = re2.compile(r"\b[a-z0-9@$!](?:[^a-z0-9@$!\n]{1,4}[a-z0-9@$!]){4,}(?:\b|$)", _options())
_LONG = re2.compile(r"[a-z][a-z0-9_./|*+,;:-]{17,}[a-z]", _options())
_LEETISH = re2.compile(r"[a-z][013457@$!]+[a-z]|\b[1@0$]+[a-z]{2}", _options())
_GAP = re.compile(r"[^a-z0-9@$!]+")
_LEET_LEAST = 3
"""Words with a digit inside: one or two are in any text about products."""
_QUOTED = re.compile(r'"([^"\n]{1,200})"')
_TELLS = re2.compile("|".join(_TELLING), _options())
_WORDS = re2.compile("|".join(_JOINING), _options())


def _ciphers() -> re2.Set:
    """One pattern a shift, 1 to 25, and number 26 for reversed words."""
    found = re2.Set.SearchSet(_options())
    for shift in range(1, 26):
        table = _shifted(shift)
        found.Add("|".join(word.translate(table) for word in _TELLING))
    found.Add("|".join(word[::-1] for word in _TELLING))
    found.Compile()
    return found


def _shifted(by: int) -> dict[int, int]:
    return str.maketrans(_LETTERS, _LETTERS[by:] + _LETTERS[:by])


_CIPHERS = _ciphers()
_REVERSED = 25
_BACK = [_shifted(26 - by) for by in range(1, 26)]


def hidden(text: str, low: str) -> list[str]:
    """The pieces found. `low`: the same text in lower case and without look-alikes; Base64 alone needs its case."""
    found: list[str] = []
    seen: set[str] = set()
    for piece in _pieces(text, low):
        plain = " ".join(piece.split())
        if plain and plain not in seen:
            seen.add(plain)
            found.append(plain)
            if len(found) == MAX_DECODED:
                break
    return found


def _pieces(text: str, low: str) -> Iterator[str]:
    yield from _base64(text)
    yield from _codes(low)
    for piece in _ciphered(low):
        yield _around(piece)
    told = _telling(low)
    for plain in (*_leet(low), *_entities(low), *_spelt(low)):
        if _telling(plain) - told:
            yield _around(plain, told)
    for plain in _joined(low):
        if _telling(plain) - told:
            yield plain
    yield from _glued(low)


def _telling(text: str) -> set[str]:
    """Which of the telling words are in the text. A few hits settle it: the rest is not looked for."""
    found: set[str] = set()
    for count, match in enumerate(_TELLS.finditer(text)):
        found.add(match[0])
        if count == 64:
            break
    return found


def _around(text: str, known: Set[str] = frozenset()) -> str:
    """The part of `text` that begins shortly before its first telling word that was not known."""
    for count, match in enumerate(_TELLS.finditer(text)):
        if match[0] not in known or count == 64:
            return text[max(0, match.start() - _BEFORE) :][:MAX_ENCODED]
    return text[:MAX_ENCODED]


def _ciphered(low: str) -> Iterator[str]:
    for which in sorted(_CIPHERS.Match(low.encode("utf-8", "replace")) or ())[:2]:
        yield low[::-1] if which == _REVERSED else low.translate(_BACK[which])


def _base64(text: str) -> Iterator[str]:
    for count, match in enumerate(_BASE64.finditer(text)):
        plain = _said(_of_base64(match[0][:MAX_ENCODED]))
        if plain:
            yield plain
        if count == 64:
            break


def _of_base64(candidate: str) -> bytes:
    bare = candidate.rstrip("=").replace("-", "+").replace("_", "/")
    bare = bare[: len(bare) - 1] if len(bare) % 4 == 1 else bare
    try:
        return base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except binascii.Error:
        return b""


def _codes(low: str) -> Iterator[str]:
    """Hex, percent and backslash escapes, decimal codes, binary."""
    for count, match in enumerate(_CODES.finditer(low)):
        plain = _said(_of_codes(match[0][:MAX_ENCODED].strip()))
        if plain:
            yield plain
        if count == 64:
            break


def _of_codes(run: str) -> bytes:
    bare = re.sub(r"\\x|0x|\\u00|[%:,]", " ", run)
    units = bare.split()
    try:
        if set("".join(units)) <= {"0", "1"} and all(len(unit) % 8 == 0 for unit in units):
            bits = "".join(units)
            return bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8))
        if len(units) > 7 and all(unit.isdigit() for unit in units) and any(len(unit) == 3 for unit in units):
            return bytes(int(unit) for unit in units)
        joined = "".join(units)
        return bytes.fromhex(joined[: len(joined) // 2 * 2])
    except ValueError:
        return b""


def _said(data: bytes) -> str:
    """`data` as text if it reads like some."""
    try:
        plain = data.decode("utf-8")
    except UnicodeDecodeError:
        return ""
    letters = sum(ch.isalpha() or ch == " " for ch in plain)
    printable = plain.isprintable() or plain.replace("\n", " ").isprintable()
    return plain if printable and letters >= 0.8 * len(plain) else ""


def _leet(low: str) -> Iterator[str]:
    if sum(1 for _ in zip(range(_LEET_LEAST), _LEETISH.finditer(low), strict=False)) == _LEET_LEAST:
        yield low.translate(_LEET)


def _entities(low: str) -> Iterator[str]:
    if low.count("&#") > 5:
        yield html.unescape(low)


def _spelt(low: str) -> Iterator[str]:
    """`i g n o r e   a l l`: a gap that is wider than the others parts words; if none is, known words do."""
    if _SPELT.search(low):
        yield _SPELT.sub(_closed, low)


def _closed(match: re.Match[str]) -> str:
    run = match[0]
    plain = _GAP.sub(lambda gap: " " if len(gap[0]) > 2 else "", run).translate(_LEET)
    return plain if " " in plain or len(plain) < 12 else _parted(plain)


def _glued(low: str) -> Iterator[str]:
    """`ignoreallpreviousinstructions`, `ignore_previous_instructions`, `ig.nore.your.ru.les`."""
    runs = []
    for count, match in enumerate(_LONG.finditer(low)):
        plain = _GAP.sub("", match[0][:MAX_ENCODED])
        told = _telling(plain)
        if len(told) > 1 and told & _URGING:
            runs.append(plain)
        if count == 64:
            break
    if runs:
        yield _parted(" ".join(runs)[:MAX_ENCODED])


def _joined(low: str) -> Iterator[str]:
    """`a = "ignore the"; b = " rules"`: quoted pieces one after the other."""
    if low.count('"') > 3:
        pieces = [match[1] for _, match in zip(range(64), _QUOTED.finditer(low), strict=False)]
        yield "".join(pieces)[:MAX_ENCODED]


def _parted(run: str) -> str:
    return str(_WORDS.sub(r" \g<0> ", run))
