"""Addresses of web pages. Own pattern: Presidio's takes any `word.tld`, so `main.py` (Paraguay) and `README.md`
(Moldova) are URLs to it, and it is the slowest of its patterns after telephone numbers."""

from __future__ import annotations

import re
from collections.abc import Sequence

from guardrails.finding.spans import Span
from guardrails.finding.zones import Left
from guardrails.private.pii_presidio import known_ending, tlds

_SCHEME = re.compile(r"(?i)\b(?:https?|ftps?|wss?)://[^\s()<>\"'`]{2,2040}")
_BARE = re.compile(
    r"(?i)(?<![\w@./:%-])((?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.){1,8}(?:[a-z]{2,24}|xn--[a-z0-9-]{2,59}))"
    r"((?::\d{2,5})?/[^\s()<>\"'`]{0,2000})?(?![\w@-]|\.\w)"
)
_PLAIN = frozenset(
    {"com", "org", "net", "edu", "gov", "mil", "info", "biz", "io", "dev", "app", "ai", "eu", "uk", "de", "fr"}
)
"""Endings that need neither `www.` nor a path to be taken for a site. Country codes that are also file endings or
words (`py`, `md`, `sh`, `rs`, `it`, `me`) are left out on purpose."""
_TRAILING = ".,;:!?'*_~]"


class Url:
    """URL, with or without a scheme."""

    kind = "URL"
    gates: Sequence[str] = (r"(?i)(?:https?|ftps?|wss?)://", r"(?i)www\.", r"[A-Za-z0-9]\.[A-Za-z]{2}")

    def __init__(self) -> None:
        self._endings = tlds()

    def find(self, zone: str, left: Left) -> list[Span]:
        spans = [self._trim(zone, match.start(), match.end()) for match in _SCHEME.finditer(zone)]
        for match in _BARE.finditer(zone):
            inside = any(span.start <= match.start() < span.end for span in spans)
            if not inside and self._is_site(match[1], match[2] or ""):
                spans.append(self._trim(zone, match.start(), match.end()))
        return sorted(spans, key=lambda span: span.start)

    def _is_site(self, host: str, path: str) -> bool:
        if not known_ending(host, self._endings):
            return False
        name, _, ending = host.rpartition(".")
        return bool(path) or host[:4].lower() == "www." or (ending.lower() in _PLAIN and len(name) > 1)

    def _trim(self, zone: str, start: int, end: int) -> Span:
        """Without the punctuation of the sentence around it."""
        while end > start and zone[end - 1] in _TRAILING:
            end -= 1
        return Span(self.kind, start, end, 0.6)
