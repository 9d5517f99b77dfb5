"""Text as an attack detector should read it: what the model will understand, not how it was dressed up. Used only to
look; what is sent on is never changed by this, so no offsets are kept."""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata

MAX_DECODED = 8
"""Encoded candidates that are decoded in one text."""
MAX_ENCODED = 4096
"""Characters of one candidate that are decoded."""

_INVISIBLE: dict[int, str | None] = {
    ord(ch): None for ch in "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u2060\u2061\u2062\u2063\u2064\ufeff"
}
_INVISIBLE |= dict.fromkeys(
    [*range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2066, 0x206A), *range(0xFE00, 0xFE10)]
)
_INVISIBLE |= {code: chr(code - 0xE0000) for code in range(0xE0020, 0xE007F)}
"""Zero-width and direction marks go; "tag" characters, invisible twins of ASCII that models can read, become it."""

_ENCODED = re.compile(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{24,}={0,2}")


def normalised(text: str) -> str:
    """Lower case, NFKC, no invisible characters, every run of white space one space."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text.translate(_INVISIBLE))
    return " ".join(text.lower().split())


def decoded(text: str) -> list[str]:
    """What the Base64 in `text` says, where it says something. Bounded in number and length."""
    found: list[str] = []
    for match in _ENCODED.finditer(text):
        plain = _decode(match[0][:MAX_ENCODED])
        if plain:
            found.append(plain)
        if len(found) == MAX_DECODED:
            break
    return found


def _decode(candidate: str) -> str:
    bare = candidate.rstrip("=").replace("-", "+").replace("_", "/")
    bare = bare[: len(bare) - 1] if len(bare) % 4 == 1 else bare
    try:
        plain = base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        return ""
    letters = sum(ch.isalpha() or ch == " " for ch in plain)
    return plain if plain.isprintable() and letters >= 0.8 * len(plain) else ""
