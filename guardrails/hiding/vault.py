"""The vault: placeholders given out in one exchange, and the values they stand for.

A placeholder reads `[[EMAIL_ADDRESS_1]]`: plain ASCII, typed and numbered by first appearance, so that a model can
speak about it, and so that the same conversation, replayed with its next turn, is masked the same way (caches rely
on it). The same value has the same placeholder. A number whose placeholder already stands in the request, in any
form the restorer would accept, is skipped: what the client itself wrote is never taken for ours.

A vault lives in one exchange's facts and nowhere else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from gateway.core.facts import Key
from guardrails.reading.invisible import is_invisible

_LITERAL = re.compile(r"\[[\s\\]{0,6}\[[\s\\]{0,6}([A-Za-z][A-Za-z0-9_\\]{0,80}?)[\s\\]{0,6}\][\s\\]{0,6}\]")


class Vault:
    """`issue` while masking, `values` while restoring. Not thread-safe: one exchange, one task."""

    __slots__ = ("_by_value", "_next", "_taken", "values")

    def __init__(self, texts: Iterable[str] = ()) -> None:
        """`texts`: everything the client wrote; its look-alikes are kept clear of."""
        self._taken = {
            f"[[{match[1].replace(chr(92), '').upper()}]]"
            for text in texts
            if "[" in text
            for match in _LITERAL.finditer(text)
        }
        self._by_value: dict[tuple[str, str], str] = {}
        self._next: dict[str, int] = {}
        self.values: dict[str, str] = {}
        """Placeholder -> original, for those that are to be restored."""

    def issue(self, kind: str, value: str, restore: bool = True) -> str:
        """The placeholder for `value`. `kind` is upper-case ASCII with underscores."""
        known = self._by_value.get((kind, value))
        if known is not None:
            return known
        number = self._next.get(kind, 0) + 1
        while f"[[{kind}_{number}]]" in self._taken:
            number += 1
        self._next[kind] = number
        placeholder = self._by_value[kind, value] = f"[[{kind}_{number}]]"
        if restore:
            self.values[placeholder] = value
        return placeholder

    def known(self, kind: str, value: str) -> str | None:
        """The placeholder already given for `value`, if any."""
        return self._by_value.get((kind, value))

    def __len__(self) -> int:
        return len(self._by_value)

    def __repr__(self) -> str:
        """Counts only. The values are why this class exists."""
        return f"Vault(issued={len(self._by_value)}, restorable={len(self.values)})"


VAULT: Key[Vault] = Key("vault")


def unescaped(text: str) -> str:
    """A piece of a JSON string's inside, as the characters it means; itself if it is not valid there."""
    if "\\" not in text:
        return text
    try:
        value = json.loads(f'"{text}"', strict=False)
    except ValueError:
        return text
    return value if isinstance(value, str) else text


def escaped(text: str) -> str:
    """Text as it stands inside a JSON string."""
    return json.dumps(text, ensure_ascii=False)[1:-1]


_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_SHORT = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\", "/": "/"}
_FILLER = "\u200b"
"""Not seen by scanners, and part of the character before it (see `invisible.py`): so no span begins or ends inside."""


def blanked(text: str) -> str:
    """Raw JSON with every escape sequence as what it says, same length: `\\u0040` as an `@` and five invisible
    characters. Halves of characters beyond 16 bits become spaces."""
    return _ESCAPE.sub(_said, text) if "\\" in text else text


def _said(match: re.Match[str]) -> str:
    code, simple = match.groups()
    ch = chr(int(code, 16)) if code else _SHORT.get(simple, " ")
    if ch.isspace() or ch.isprintable() or is_invisible(ch):
        return ch.ljust(len(match[0]), _FILLER)
    return " " * len(match[0])
