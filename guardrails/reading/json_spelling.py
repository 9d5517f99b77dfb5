"""The inside of raw JSON, read as the characters it means, with the way back to where they stand."""

from __future__ import annotations

import re
from collections.abc import Sequence

_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_SIMPLE = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}


def spoken(raw: str) -> tuple[str, Sequence[int]]:
    """(what it says, where in `raw` each character of that begins, and at last where `raw` ends).

    Escapes are read wherever they stand: outside of strings JSON has none."""
    if "\\" not in raw:
        return raw, range(len(raw) + 1)
    text: list[str] = []
    places: list[int] = []
    at = 0
    high = 0
    for match in _ESCAPE.finditer(raw):
        text.extend(raw[at : match.start()])
        places.extend(range(at, match.start()))
        code, simple = match.groups()
        value = int(code, 16) if code else 0
        if code and 0xDC00 <= value < 0xE000 and high and at == match.start():
            text[-1] = chr(0x10000 + ((high - 0xD800) << 10) + (value - 0xDC00))
            high = 0
        else:
            text.append(chr(value) if code else _SIMPLE.get(simple, simple))
            places.append(match.start())
            high = value if 0xD800 <= value < 0xDC00 else 0
        at = match.end()
    text.extend(raw[at:])
    places.extend(range(at, len(raw)))
    places.append(len(raw))
    return "".join(text), places
