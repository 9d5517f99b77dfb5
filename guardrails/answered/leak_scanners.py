"""Which scanners look for leaks of an exchange's system prompt."""

from __future__ import annotations

from collections import OrderedDict

from gateway.core.exchange import Exchange
from guardrails.answered.canary import place
from guardrails.answered.leak_packed import Packed
from guardrails.answered.prompt_leak import Runs, system_texts
from guardrails.finding.automaton import Phrases
from guardrails.finding.scanner import Scanner, Several
from guardrails.reading.invisible import Visible

CANARY = "CANARY"


def leak_scanner(texts: tuple[str, ...], canary: str = "") -> Scanner | None:
    """For these system texts; None where they have too little to be recognised by. `canary` is in one of them."""
    runs = Runs([canary, *texts])
    parts: list[Scanner] = []
    if runs.protects or canary:
        parts += [
            Packed(runs, canary),
            *runs.readings(),
        ]  # first the one that may hold long tokens: then the others need not look
    if canary:
        parts.append(Phrases([canary, _turned(canary), canary[::-1]], kind=CANARY, words=False))
    return Visible(Several(parts)) if parts else None


class LeakScanners:
    """The latest few kept: applications send the same prompt again and again, and making one takes milliseconds. Keeps
    hashes of word runs and the letters, not the prompt as it stands."""

    _KEPT = 64

    def __init__(self, canary: str = "") -> None:
        self._canary = canary
        self._kept: OrderedDict[int, Scanner | None] = OrderedDict()

    def __call__(self, exchange: Exchange) -> Scanner | None:
        request = exchange.asked()
        texts = system_texts(request)
        if not texts:
            return None
        canary = self._canary if place(request) is not None else ""
        key = hash((texts, canary))
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        made = self._kept[key] = leak_scanner(texts, canary)
        while len(self._kept) > self._KEPT:
            self._kept.popitem(last=False)
        return made


def _turned(word: str) -> str:
    return "".join(chr((ord(letter) - ord("a") + 13) % 26 + ord("a")) for letter in word)
