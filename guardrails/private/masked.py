"""A text that somebody keeps to read later: with what looks private taken out of it for good."""

from __future__ import annotations

from functools import cache

from guardrails.finding.scanner import Scanner, Several
from guardrails.private import pii, secret_tokens


@cache
def _scanner() -> Scanner:
    return Several([pii.scanner(), secret_tokens.scanner()])


def masked(text: str) -> str:
    """`call 030 1234567` -> `call [PHONE_NUMBER]`. The first call is slow: the recognisers are made then."""
    out, at = [], 0
    for span in _scanner().find(text):
        out += [text[at : span.start], f"[{span.kind}]"]
        at = span.end
    return "".join([*out, text[at:]])
