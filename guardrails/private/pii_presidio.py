"""Presidio's recognisers, taken apart: its rules and check digits, without its engine.

A page of card numbers took Presidio's own `analyze` one second: for every hit it builds an explanation, a result with
a dictionary, and hashes of both to find doubles. Here each entity is a pattern over all zones at once and a check of
what it hit. Presidio gives the formats of every country's IBAN and the checks of MAC and crypto addresses; the rules
for cards (Luhn), SSN and IP addresses are its own, written as patterns (tests compare them). Two of its defaults are
unfit for a request path and are replaced, both measured:

- its e-mail recogniser asks `tldextract`, which on first use fetches the public suffix list over the network, on
  whatever thread it is called; ours looks the ending up in a list in this package;
- its e-mail and URL patterns are quadratic in long dotted words; ours are bounded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import resources

from guardrails.finding.spans import Span
from guardrails.finding.zones import Left, Recogniser
from guardrails.private import pii_import

_EMAIL = (
    r"(?<![\w.!#$%&'*+/=?^`~-])[\w!#$%&'*+/=?^`~-][\w.!#$%&'*+/=?^`~-]{0,63}"
    r"@(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,8}[^\W_](?:[\w-]{0,61}[^\W_])?"
)
_GAP = "[ \u00a0-]?"
_SPACED = rf"(?:{_GAP}[0-9]{{4}}){{2}}{_GAP}"
_CARD = (
    r"(?<![\w.+-])(?:"
    rf"3[47][0-9]{{2}}{_GAP}[0-9]{{6}}{_GAP}[0-9]{{5}}"  # American Express, 4-6-5
    rf"|3(?:0[0-59]|[689][0-9])[0-9]{_GAP}[0-9]{{6}}{_GAP}[0-9]{{4}}"  # Diners, 4-6-4
    rf"|(?:4[0-9]{{3}}|5[0-8][0-9]{{2}}|6[0-9]{{3}}|2[2-7][0-9]{{2}}|35[0-9]{{2}}){_SPACED}[0-9]{{4}}(?:{_GAP}[0-9]{{3}})?"
    r"|4[0-9]{12}|(?:2131|1800)[0-9]{11}|(?:50|5[6-8]|6[0-9]|06)[0-9]{10}(?:[0-9]{1,7})?"  # old Visa, old JCB, Maestro
    r")(?![\w]|[.-][0-9])"
)
_IBAN = r"(?<![A-Za-z0-9])[A-Za-z]{2}[0-9]{2}(?:[ \u00a0-]?[A-Za-z0-9]){11,30}"
_SSN = r"\b(?!000|666)[0-9]{3}([- .])(?!00)[0-9]{2}\1(?!0000)[0-9]{4}\b"
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_FOUR_OCTETS = re.compile(rf"(?:{_OCTET}\.){{3}}{_OCTET}")
_IPV4 = rf"(?<![\w.])(?:{_OCTET}\.){{3}}{_OCTET}(?:/(?:3[0-2]|[0-2]?[0-9]))?(?!\w|\.[0-9])"
_IPV6 = (
    r"(?<![\w:])[0-9A-Fa-f]{0,4}:[0-9A-Fa-f:]{1,40}(?:\.[0-9]{1,3}){0,3}(?:%[0-9A-Za-z]{1,15})?"
    r"(?:/(?:12[0-8]|1[01][0-9]|[1-9]?[0-9]))?(?![\w:]|\.[0-9])"
)
_MAC = (
    r"\b[0-9A-Fa-f]{2}([:-])(?:[0-9A-Fa-f]{2}\1){4}[0-9A-Fa-f]{2}\b|\b[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\b"
)
_CRYPTO = r"(?<![A-Za-z0-9])(?:bc1|[13])[a-zA-HJ-NP-Z0-9]{25,59}(?![A-Za-z0-9])"
_SAMPLES = frozenset({"123456789", "987654320", "078051120"})
_IBANS = {
    "BI": "n23", "DJ": "n23", "FK": "a2n12", "HN": "a4n20", "MN": "n16", "MU": "a4n19a3", "NI": "a4n20", "OM": "n3c16",
    "PS": "a4c21", "PT": "n21", "QA": "a4c21", "RU": "n14c15", "SD": "n14", "SO": "n19", "ST": "n21", "SV": "a4n20",
    "YE": "a4n4c18",
}  # fmt: skip
"""What follows the check digits where Presidio has nothing or too few characters (MU, PS, PT, QA), as in the registry
of ISO 13616: letters, digits or either, and how many."""
_MARKS = str.maketrans("", "", " -.\u00a0")
_VALUES = {ord(ch): str(int(ch, 36)) for ch in "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"}
_DOUBLED = {digit: sum(map(int, str(2 * int(digit)))) for digit in "0123456789"}


def tlds() -> frozenset[str]:
    """Endings an address may have, lower case, internationalised ones as `xn--...`."""
    text = resources.files("guardrails.private").joinpath("pii_tlds.txt").read_text(encoding="utf-8")
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


Check = Callable[["re.Match[str]"], int]
"""Where the value ends that a candidate begins with; 0 if it is none."""


class Checked:
    """A pattern for candidates, and what decides. After a candidate that is none the search goes on inside it: in
    `4821 4111 1111 1111 1111` the first four groups are no card, and the last four are one."""

    def __init__(self, kind: str, gates: Sequence[str], pattern: str, check: Check, score: float = 1.0) -> None:
        self.kind = kind
        self.gates = gates
        self._regex = re.compile(pattern)
        self._check = check
        self._score = score

    def find(self, zones: str, left: Left) -> list[Span]:
        return [Span(self.kind, start, end, self._score) for start, end in self._hits(zones)]

    def _hits(self, zones: str) -> Iterator[tuple[int, int]]:
        search, check = self._regex.search, self._check
        match = search(zones)
        while match is not None:
            start = match.start()
            end = check(match)
            if end:
                yield start, end
            match = search(zones, end or start + 1)


def luhn(digits: str) -> bool:
    """The check digit of card numbers."""
    return (sum(map(int, digits[-1::-2])) + sum(map(_DOUBLED.__getitem__, digits[-2::-2]))) % 10 == 0


def _card(match: re.Match[str]) -> int:
    return match.end() if luhn(match[0].translate(_MARKS)) else 0


def _ssn(match: re.Match[str]) -> int:
    digits = match[0].translate(_MARKS)
    return 0 if digits in _SAMPLES or digits == digits[0] * 9 else match.end()


def _ipv6(match: re.Match[str]) -> int:
    """`a::b` is an address too, but it is C++ far more often: one digit at least."""
    text = match[0]
    end = match.end() - (1 if text.endswith(":") and not text.endswith("::") else 0)
    address = text[: len(text) - (match.end() - end)].partition("/")[0].partition("%")[0]
    groups = address.split(":")
    size = len(groups)
    if "." in groups[-1]:
        if _FOUR_OCTETS.fullmatch(groups[-1]) is None:
            return 0
        groups[-1], size = "", size + 1
    if max(map(len, groups)) > 4 or ":::" in address or not any(map(str.isdigit, address)):
        return 0
    open_start, open_end = address.startswith("::"), address.endswith("::")
    if (address[0] == ":" and not open_start) or size < 3:
        return 0
    if address.count("::") == 1:
        return end if size - open_start - open_end <= 8 else 0
    return end if size == 8 and "" not in groups[:-1] else 0


def _registered(country: str, form: str) -> str:
    """`a4n20` as a pattern like Presidio's."""
    kinds = {"a": "[A-Z][ ]?", "n": "[0-9][ ]?", "c": "[A-Z0-9][ ]?"}
    body = "".join(f"(?:{kinds[kind]}){{{size}}}" for kind, size in re.findall(r"([anc])([0-9]+)", form))
    return f"{country}[0-9]{{2}}[ ]?{body}"


class _Ibans:
    """Every country's format and the check digits (ISO 7064, mod 97-10)."""

    def __init__(self, formats: Mapping[str, str]) -> None:
        all_of_them = {**formats, **{country: _registered(country, form) for country, form in _IBANS.items()}}
        self._formats = {country: re.compile(f.replace("[ ]?", _GAP)) for country, f in all_of_them.items() if f}

    def check(self, match: re.Match[str]) -> int:
        text = match[0].upper()
        form = self._formats.get(text[:2])
        value = form.match(text) if form is not None else None
        if value is None:
            return 0
        found = value[0].rstrip(" \u00a0-")
        bare = found.translate(_MARKS)
        if int((bare[4:] + bare[:4]).translate(_VALUES)) % 97 != 1:
            return 0
        end = match.start() + len(found)
        return 0 if match.string[end : end + 1].isalnum() else end


def recognisers() -> Mapping[str, Sequence[Recogniser]]:
    """Every entity that is a pattern and a check, by name. Builds them, so call it once, at start."""
    presidio = pii_import.load()
    endings = tlds()
    crypto, mac = presidio.crypto(), presidio.mac()
    gap = "[ \u00a0-]?"
    four = r"[A-Za-z0-9]{1,4}"
    cards = [rf"\d{{4}}{gap}\d{{4}}{gap}\d{{4}}|3\d{{3}}{gap}\d{{6}}{gap}\d{{4}}"]
    all_of_them = [
        Checked("EMAIL_ADDRESS", [r"[^\s@]@[^\s@]"], _EMAIL, lambda m: m.end() if known_ending(m[0], endings) else 0),
        Checked("CREDIT_CARD", cards, _CARD, _card),
        Checked("IBAN_CODE", [rf"[A-Za-z]{{2}}\d{{2}}{gap}{four}{gap}{four}"], _IBAN, _Ibans(presidio.ibans).check),
        Checked("US_SSN", [r"\d{3}[- .]\d{2}[- .]\d{4}"], _SSN, _ssn, 0.5),
        Checked("IP_ADDRESS", [r"(?:\d{1,3}\.){3}\d"], _IPV4, lambda m: m.end(), 0.6),
        Checked("IP_ADDRESS", [r"[0-9A-Fa-f]:(?:[0-9A-Fa-f]{1,4}:|:)", "::[0-9A-Fa-f]"], _IPV6, _ipv6, 0.6),
        Checked("MAC_ADDRESS", [r"(?:[0-9A-Fa-f]{2}[:-]){5}", r"(?:[0-9A-Fa-f]{4}\.){2}"], _MAC,
                lambda m: 0 if mac.invalidate_result(m[0]) else m.end(), 0.6),
        Checked("CRYPTO", [r"(?:bc1|[13])[a-zA-HJ-NP-Z0-9]{25}"], _CRYPTO,
                lambda m: m.end() if crypto.validate_result(m[0]) else 0),
    ]  # fmt: skip
    return {kind: [one for one in all_of_them if one.kind == kind] for kind in {one.kind for one in all_of_them}}
