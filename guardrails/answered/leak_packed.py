"""A prompt packed into one token: Base64 or hexadecimal, decoded once.

A token that may be packed is held until it is complete, or until it is longer than is looked at; then it is decoded and
compared. Five words are enough there: nobody packs ordinary words."""

from __future__ import annotations

import base64
import binascii
import re

from guardrails.answered.prompt_leak import KIND, Runs, words_of
from guardrails.finding.spans import Span

WORDS = 5
LEAST = 24
"""Characters of a token that may be packed: 18 bytes of Base64, 12 of hexadecimal."""
MOST = 2048
"""Characters of a token that are looked at. After them it may be cut anywhere."""

_SEPARATOR = r"\s\"'`<>(){}\[\]\\;:!?|*~#$%^&@.,\u2026\u201c\u201d\u201e\u2018\u2019\u00ab\u00bb"
_PACKED = re.compile(rf"(?<![^{_SEPARATOR}])[A-Za-z0-9+/_=-]{{{LEAST},}}")
_RUN = re.compile(f"[^{_SEPARATOR}]*")
_OTHER = re.compile(r"[^A-Za-z0-9+/_=-]")
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2})+")
_BASE64 = re.compile(r"[A-Za-z0-9+/]+")


class Packed:
    """SYSTEM_PROMPT: tokens that say, decoded, `WORDS` words in a row of the prompt, or the canary. A scanner."""

    def __init__(self, runs: Runs, canary: str) -> None:
        self._runs = runs
        self._canary = canary

    def quiet(self, text: str) -> bool:
        return _PACKED.search(text) is None

    def find(self, text: str, begin: int = 0) -> list[Span]:
        """The rest of a token that was cut is no token: what it began with was looked at."""
        spans: list[Span] = []
        for match in _PACKED.finditer(text, begin):
            start, end = match.span()
            if end - start < MOST and end < len(text) and _RUN.match(text, end, end + 1)[0]:  # type: ignore[index]
                continue
            end = min(end, start + MOST)
            if any(map(self._leaks, unpacked(text[start:end]))):
                spans.append(Span(KIND, start, end))
        return spans

    def settle(self, text: str, limit: int) -> int:
        """Down to the start of a token that is not over and may be packed."""
        if limit < len(text) and not _RUN.match(text, limit, limit + 1)[0]:  # type: ignore[index]
            return limit
        tail = text[max(0, limit - MOST) : limit]
        length = len(_RUN.match(tail[::-1])[0])  # type: ignore[index]
        if length == MOST or _OTHER.search(text, limit - length, limit):
            return limit
        return limit - length

    def _leaks(self, text: str) -> bool:
        if self._canary and self._canary in text.casefold():
            return True
        words = words_of(text, len(text))
        return any(self._runs.has(words[at : at + WORDS]) for at in range(len(words) - WORDS + 1))


def unpacked(token: str) -> list[str]:
    """What a token may say: as hexadecimal, as Base64 of either alphabet, whatever came before it in the same token.
    Bytes that are no text become signs that no word has."""
    if _HEX.fullmatch(token):
        return [bytes.fromhex(token).decode("utf-8", "replace")]
    longest = max(token.strip("=").split("="), key=len).replace("-", "+").replace("_", "/")
    if not _BASE64.fullmatch(longest):
        return []
    found = []
    for skip in range(4):
        piece = longest[skip : len(longest) - (len(longest) - skip) % 4]
        try:
            found.append(base64.b64decode(piece, validate=True).decode("utf-8", "replace"))
        except (binascii.Error, ValueError):
            return found
    return found
