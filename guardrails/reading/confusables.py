"""Letters that look like Latin ones and are not: "іgnоrе" with Cyrillic і, о, е.

Folded only where they are a disguise. A word that mixes them with ASCII letters is one; a word of look-alikes alone is
one in a text that has no other letter of their script. Russian and Greek prose, which is full of letters without a Latin
twin, stays as it is. Mathematical and full-width letters need no table: NFKC turns them into ASCII."""

from __future__ import annotations

import re

_TWINS = {
    "a": "аαɑ", "b": "ьƅ", "c": "сϲ", "d": "ԁɗ", "e": "еєҽε", "f": "ƒ", "g": "ɡց", "h": "һհ", "i": "іıɩιӏ", "j": "јϳ",
    "k": "кκ", "l": "ǀ", "m": "мϻ", "n": "пոη", "o": "оοσօ", "p": "рρ", "q": "ԛզ", "r": "гᴦ", "s": "ѕꜱ", "t": "тτ",
    "u": "υսʋ", "v": "ѵν", "w": "ԝω", "x": "хχ", "y": "уγү", "z": "ᴢ",
}  # fmt: skip
"""Lower case only: the text is lowered first."""

_FOLD = {ord(twin): latin for latin, twins in _TWINS.items() for twin in twins}
_MARKS = re.compile("[\u0300-\u036f]+")
"""Accents put on top of letters one by one ("i̇g̈n̈o̊r̊e"), where NFKC knows no composed letter for them."""
_ANY = re.compile("[" + "".join(map(chr, _FOLD)) + "]+")
_MIXED = re.compile("[a-z](?=[{0}])|[{0}](?=[a-z])".format("".join(map(chr, _FOLD))))
_WORD = re.compile(r"[^\W\d_]+")
_GENUINE = re.compile("[бвджзийлнфцчшщъыэюябґђљњћџёїўβδζθλμξπφψςάέήίόύώ\u0561-\u0586]")
"""Letters that nobody takes for Latin: where there are some, the script is meant. Of the look-alikes above, those that
are Armenian count as genuine only beside others, which is as good, because they are rare."""
_LATIN = re.compile("[a-z]")


def folded(text: str) -> str:
    """`text`, lower case and NFKC, with disguised letters as the ASCII that they pass for. Linear."""
    text = _MARKS.sub("", text)
    if not _ANY.search(text):
        return text
    if not _GENUINE.search(text) and _LATIN.search(text):
        return _ANY.sub(lambda run: run[0].translate(_FOLD), text)
    return _WORD.sub(_fold_mixed, text) if _MIXED.search(text) else text


def _fold_mixed(match: re.Match[str]) -> str:
    word = match[0]
    return word.translate(_FOLD) if _LATIN.search(word) and _ANY.search(word) else word
