"""What the pattern tier costs on text made to be costly: linear in its length, and bounded at 64 KB."""

from __future__ import annotations

import time
from functools import cache

import pytest

from guardrails.finding.automaton import Phrases
from guardrails.finding.scanner import Scanner, Several
from guardrails.private import pii, secret_tokens

SIZE = 65_536
MOST = 0.25
"""Seconds of one core at 64 KB. Measured: 0.045 for the worst of these; the rest is for slower machines."""

NASTY = {
    "digits": "7", "at signs": "@", "dots": ".", "brackets": "[", "placeholders": "[[E ", "quotes": '"', "equals": "=", "dashes": "-",
    "groups": "4111 1111 ", "single digits": "1 ", "dotted letters": "a.a.", "dotted digits": "1.1.", "colons": "a:", "hex": "0123456789abcdef:",
    "bad iban": "GB29 NWBK 6016 1331 9268 18 ", "iban": "GB29 NWBK 6016 1331 9268 19 ", "iban heads": "DE89 ", "iban run": "GB29NWBK60161331926818",
    "phones": "+44 20 7946 0958, ", "national phones": "(212) 555-0123\n", "extensions": "212-555-0123 ext 12 ", "cued": "call me 555 ",
    "mail heads": "a@b.", "mails": "bob@example.com ", "addresses": "10.1.2.3 ", "v6": "2001:db8::1 ", "mac": "00:1b:44:11:3a:b7 ",
    "ssn": "536-22-1234 ", "cards": "4111 1111 1111 1111, ", "bad cards": "4111111111111112 ", "crypto": "16Yeky6GMjeNkAiNcBY7ZhrLoMSgg1BoyZ ",
    "urls": "https://example.com/a?b=c ", "schemes": "http://", "names": "api_key=", "open values": 'api_key = "', "keys": "sk-abcDEF0123456789abcd ",
    "key heads": "sk-", "jwt heads": "eyJhbGciOiJ.", "pem": "-----BEGIN RSA PRIVATE KEY-----\n", "tokens": "token: ", "passwords": "password: hunter22x ",
    "user parts": "://a:b", "phrases": "project ", "invisible": "1\u200b", "hidden": "bob@exa\u200bmple.com ", "runs": "\u200b", "wide": "１２３ ", "emoji": "😀1 ",
    "capitals": "Ada ", "greetings": "dear Ab ", "titles": "Mr. ", "boxes": "A <a@",
}  # fmt: skip


@cache
def scanner() -> Scanner:
    return Several(
        [pii.scanner(pii.ENTITIES), secret_tokens.scanner(), Phrases(["project bluebird", "blue heron"], kind="PHRASE")]
    )


def seconds(text: str) -> float:
    """The best of three, in time of this thread, so that other work on the machine does not count."""
    taken = []
    for _ in range(3):
        began = time.thread_time()
        scanner().find(text)
        taken.append(time.thread_time() - began)
    return min(taken)


@pytest.mark.parametrize("name", sorted(NASTY))
def test_no_text_costs_more_than_its_length(name: str) -> None:
    """64 KB of anything stay bounded, and cost no more than in proportion to 16 KB of it."""
    text = (NASTY[name] * (SIZE // len(NASTY[name]) + 1))[:SIZE]
    scanner()
    whole = seconds(text)
    assert whole < MOST
    assert whole < 8 * seconds(text[: SIZE // 4]) + 0.01
