"""Where sentences end: for windows of a growing text, and for saying which sentence is meant."""

from __future__ import annotations

import re

_END = re.compile(r"[.!?…][\"'”’)\]]*(?=\s)|[。！？]|\n")


def last_end(text: str, least: int) -> int:
    """The place after the last sentence that ends in `text`, or 0 if none does at `least` or later."""
    found = 0
    for match in _END.finditer(text):
        found = match.end()
    return found if found >= least else 0


def sentences(text: str) -> list[str]:
    """The sentences of `text`, without the white space round them; blank ones left out."""
    parts: list[str] = []
    at = 0
    for match in _END.finditer(text):
        parts.append(text[at : match.end()].strip())
        at = match.end()
    parts.append(text[at:].strip())
    return [part for part in parts if any(ch.isalnum() for ch in part)]
