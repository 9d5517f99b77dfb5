"""Text as an attack detector should read it: what the model will understand, not how it was dressed up. Used only to
look; what is sent on is never changed by this, so no offsets are kept."""

from __future__ import annotations

import re
import unicodedata

from guardrails.reading.confusables import folded
from guardrails.reading.decoding import MAX_DECODED, MAX_ENCODED, hidden

__all__ = ["MAX_DECODED", "MAX_ENCODED", "both", "decoded", "lowered", "normalised"]

_INVISIBLE: dict[int, str | None] = {
    ord(ch): None for ch in "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u2060\u2061\u2062\u2063\u2064\ufeff"
}
_INVISIBLE |= dict.fromkeys(
    [*range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2066, 0x206A), *range(0xFE00, 0xFE10)]
)
_INVISIBLE |= {code: chr(code - 0xE0000) for code in range(0xE0020, 0xE007F)}
"""Zero-width and direction marks go; "tag" characters, invisible twins of ASCII that models can read, become it."""
_INVISIBLE |= {
    code: " " for code in (*range(0x3300, 0x3400), 0xFDFA, 0xFDFB) if len(unicodedata.normalize("NFKC", chr(code))) > 4
}
"""Signs that NFKC makes five to eighteen letters of, where no other makes more than four: a text could grow by that."""


_UNSEEN = re.compile("[" + "".join(map(chr, _INVISIBLE)) + "]+")


def lowered(text: str) -> str:
    """Lower case, NFKC, no invisible characters, look-alikes of Latin letters folded; white space as it was."""
    if text.isascii():
        return text.lower()
    seen = _UNSEEN.sub(lambda run: run[0].translate(_INVISIBLE), text)
    return folded(unicodedata.normalize("NFKC", seen).lower())


def normalised(text: str) -> str:
    """`lowered`, and every run of white space one space."""
    return " ".join(lowered(text).split())


def decoded(text: str) -> list[str]:
    """What is written in `text` in a way that filters do not read and models do: see `guardrails.reading.decoding`. Each
    piece has its white space as one space. Bounded in number and length."""
    return hidden(text, lowered(text))


def both(text: str) -> tuple[str, list[str]]:
    """(`normalised`, `decoded`), for less than the two apart."""
    low = lowered(text)
    return " ".join(low.split()), hidden(text, low)
