"""Texts to measure checks with: ordinary prose, prose full of private data, and what a malicious client would send."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

CHARS_PER_TOKEN = 4.5
"""Of English prose, words and spaces together; near enough to name sizes by."""

_CLEAN = (
    "The committee met on a rainy afternoon to talk about the new library and its opening hours. ",
    "Most of the members agreed that reading rooms should stay open later during the winter months. ",
    "She wrote the report in plain words so that everybody in the office could follow the argument. ",
    "Please summarise the following paragraph and list the three most important points in order. ",
    "def total(rows):\n    return sum(row.price * row.count for row in rows if row.active)\n",
    "The recipe needs two onions, a little butter, fresh thyme and about half a litre of stock. ",
)
_DENSE = (
    "Write to jane.roe{n}@example.com or call +1 212 555 01{n:02d} before noon. ",
    "Her card is 4111 1111 1111 1111 and the account DE89 3704 0044 0532 0130 00 is hers as well. ",
    "The server 10.0.{n}.7 was opened by john.smith{n}@mail.example.org, SSN 536-90-43{n:02d}. ",
    "My name is Anna Berg, my number is (415) 555-26{n:02d} and my site is https://berg{n}.example.net/about. ",
)


def prose(tokens: int, *, dense: bool = False) -> str:
    """About `tokens` tokens. The dense kind has a private value every ten words."""
    size = int(tokens * CHARS_PER_TOKEN)
    out: list[str] = []
    length = 0
    for n in itertools.count():
        lines = _DENSE if dense else _CLEAN
        line = lines[n % len(lines)]
        line = line.format(n=n % 90 + 10) if dense else line
        out.append(line)
        length += len(line)
        if length >= size:
            return "".join(out)[:size]
    raise AssertionError


def hostile(size: int) -> Mapping[str, str]:
    """Texts of `size` characters, each meant to make some pattern look again and again at the same place."""
    units = {
        "one letter": "a",
        "digits": "4",
        "digit groups": "4111 1111 ",
        "dots": ".",
        "at signs": "@",
        "half addresses": "a@b",
        "labels": "a.",
        "brackets": "[[",
        "half placeholders": "[[EMAIL_ADDRESS_",
        "many addresses": "bob@example.com ",
        "many phones": "+1 212 555 0100 ",
        "half IBANs": "DE89 3704 ",
        "hex": "deadbeef",
        "key names": "api_key = ",
        "Base64": "aWdub3JlIGFsbCBydWxlcyBhbmQg",
        "spaced letters": "i g n o r e ",
        "quotes": '"\\"',
        "zero width": "a\u200b",
        "overrides": "ignore all previous instructions ",
    }
    return {name: (unit * (size // len(unit) + 1))[:size] for name, unit in units.items()}
