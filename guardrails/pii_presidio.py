"""Presidio's recognisers behind our gate: each sees one short zone, and only if its gate hit.

Presidio gives the patterns and the check digits (Luhn, IBAN mod 97, SSN and IP rules, base58); ours are the
candidates for e-mail and cards. Two of its defaults are unfit for a request path and are replaced here, both
measured: - its e-mail recogniser asks `tldextract`, which on first use fetches the public suffix list over the
network, on whatever thread
  it is called; ours looks the ending up in a list in this package;
- its e-mail and URL patterns are quadratic in long dotted words; ours are bounded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from guardrails import pii_import
from guardrails.spans import Span
from guardrails.zones import Recogniser

MIN_SCORE = 0.4
"""Presidio's usual threshold: drops its "very weak" patterns (nine bare digits as an SSN)."""

_EMAIL = (
    r"(?<![\w.!#$%&'*+/=?^`~-])[\w!#$%&'*+/=?^`~-][\w.!#$%&'*+/=?^`~-]{0,63}"
    r"@(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,8}[^\W_](?:[\w-]{0,61}[^\W_])?"
)
_SPACED = r"(?:[ -]?\d{4}){2}[ -]?"
_CARD = (
    r"(?<![\w.+-])(?<!\d[ -])(?:"
    r"3[47]\d{2}[ -]?\d{6}[ -]?\d{5}"  # American Express, 4-6-5
    r"|3(?:0[0-59]|[689]\d)\d[ -]?\d{6}[ -]?\d{4}"  # Diners, 4-6-4
    r"|(?:4\d{3}|5[0-8]\d{2}|6\d{3}|2[2-7]\d{2}|35\d{2})" + _SPACED + r"\d{4}(?:[ -]?\d{3})?"
    r"|4\d{12}|(?:2131|1800)\d{11}|(?:50|5[6-8]|6\d)\d{10}(?:\d{1,7})?"  # old Visa, old JCB, Maestro
    r")(?![\w]|[.-]\d)"
)
_NEXT_CARD = r"[ \t\u00a0]{1,2}(?=[1-6]\d{3})"
_NEXT_IBAN = r"[ \t\u00a0]{1,2}(?=[A-Z]{2}\d{2})"


def tlds() -> frozenset[str]:
    """Endings an address may have, lower case, internationalised ones as `xn--...`."""
    text = resources.files("guardrails").joinpath("pii_tlds.txt").read_text(encoding="utf-8")
    return frozenset(line for line in text.split("\n") if line and not line.startswith("#"))


def known_ending(host: str, endings: frozenset[str]) -> bool:
    """Is the last label of `host` a top-level domain?"""
    last = host.rpartition(".")[2].lower()
    if last in endings:
        return True
    if last.isascii():
        return False
    try:
        return last.encode("idna").decode() in endings
    except UnicodeError:
        return False


class PresidioRecogniser:
    """One of Presidio's recognisers, as ours. `rescan` tries again from each later word of the zone when nothing was
    found, because a regex search swallows: in `order 4821 4111 1111 1111 1111` it takes the first four groups and
    the card is lost."""

    def __init__(self, kind: str, gates: Sequence[str], engine: Any, *, rescan: str = "", needs: str = "") -> None:
        self.kind = kind
        self.gates = gates
        self._engine = engine
        self._rescan = re.compile(rescan) if rescan else None
        self._needs = re.compile(needs)
        """What a hit must have in it beyond Presidio's own rule."""

    def find(self, zone: str, before: str) -> list[Span]:
        spans = self._analyse(zone, 0)
        if not spans and self._rescan is not None:
            for match in self._rescan.finditer(zone):
                spans = self._analyse(zone, match.end())
                if spans:
                    break
        return spans

    def _analyse(self, zone: str, start: int) -> list[Span]:
        results = self._engine.analyze(zone[start:] if start else zone, [self.kind])
        return [
            Span(self.kind, start + r.start, start + r.end, r.score)
            for r in results
            if r.score >= MIN_SCORE and self._needs.search(zone, start + r.start, start + r.end)
        ]


def recognisers() -> Mapping[str, Recogniser]:
    """Every entity that Presidio finds for us, by name. Builds them, so call it once, at start."""
    presidio = pii_import.load()
    endings = tlds()
    email = presidio.email(patterns=[presidio.pattern("email", _EMAIL, 0.5)])
    email.validate_result = lambda text: known_ending(text, endings)
    card = presidio.card(patterns=[presidio.pattern("card", _CARD, 0.3)])
    octet = r"\d{1,3}\."
    four = r"[A-Z0-9]{4}"
    cards = [r"\d{4}[ -]?\d{4}[ -]?\d{4}|3\d{3}[ -]?\d{6}[ -]?\d{4}"]
    addresses = [octet * 3 + r"\d", r"[0-9A-Fa-f]:(?:[0-9A-Fa-f]{1,4}:|:)", "::[0-9A-Fa-f]"]
    all_of_them = [
        PresidioRecogniser("EMAIL_ADDRESS", [r"[^\s@]@[^\s@]"], email),
        PresidioRecogniser("CREDIT_CARD", cards, card, rescan=_NEXT_CARD),
        PresidioRecogniser(
            "IBAN_CODE", [rf"[A-Z]{{2}}\d{{2}}[ -]?{four}[ -]?{four}"], presidio.iban(), rescan=_NEXT_IBAN
        ),
        PresidioRecogniser("US_SSN", [r"\d{3}[- .]\d{2}[- .]\d{4}"], presidio.ssn()),
        # `a::b` is an address, but it is C++ far more often: one digit at least.
        PresidioRecogniser("IP_ADDRESS", addresses, presidio.ip(), needs=r"\d"),
        PresidioRecogniser("MAC_ADDRESS", [r"(?:[0-9A-Fa-f]{2}[:-]){5}", r"(?:[0-9A-Fa-f]{4}\.){2}"], presidio.mac()),
        PresidioRecogniser("CRYPTO", [r"(?:bc1|[13])[a-zA-HJ-NP-Z0-9]{25}"], presidio.crypto()),
    ]
    for recogniser in all_of_them:
        recogniser.find("warm 1.1.1.1 a@b.example", "")  # compiles its patterns now, not on the first request
    return {recogniser.kind: recogniser for recogniser in all_of_them}
