"""The first half of the input side: the checks that hide something. They come before everything else, wherever they
stand in the configuration, so that the other checks, the router, the caches, the model and whatever records see masked
text only; one after the other, because each reads what the last one left.

A check that masks some kinds and blocks others does both here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.core.answer import Answer
from gateway.core.exchange import Exchange
from gateway.core.facts import Key
from gateway.core.request import Slot
from gateway.core.reveal import REVEAL
from guardrails.asked.inspecting import works_of
from guardrails.asked.looking import Look
from guardrails.asked.screen import InputCheck, judged, left_out, not_scanned, refused
from guardrails.finding.spans import Span, rewrite
from guardrails.hiding.reveal import REVEALING, Revealing
from guardrails.hiding.vault import VAULT, Vault, unescaped


class Mask:
    """Decider."""

    name = "mask"
    consumes: tuple[Key[Any], ...] = ()
    produces: tuple[Key[Any], ...] = (VAULT, REVEAL)

    def __init__(self, looks: Sequence[Look]) -> None:
        self.looks = tuple(looks)
        self._reveals = any(look.check.reveal for look in looks)

    async def decide(self, exchange: Exchange) -> Answer | None:
        request = exchange.asked()
        for work in works_of(exchange, self.looks):
            look, check = work.look, work.look.check
            findings, reason = look.at_once(work, exchange.remaining()) or await look.wait(exchange, work)
            micros = (exchange.clock.now() - work.start) // 1000
            if findings is None:
                result = not_scanned(check, work.side, reason, micros)
            else:
                result = judged(check, work.side, work.slots, findings, request, micros)
            exchange.verdicts.append(result.verdict)
            if result.action == "not_scanned":
                left_out(exchange, check)
            if result.action == "block":
                return refused(check.name, check.category)
            for slot, spans in result.masks:
                self._hide(exchange, check, slot, spans)
        return None

    def _hide(self, exchange: Exchange, check: InputCheck, slot: Slot, spans: Sequence[Span]) -> None:
        vault = exchange.facts.get(VAULT)
        if vault is None:
            vault = Vault(slot.text for slot in exchange.asked().slots)
            exchange.facts.put(VAULT, vault)
        text = masked(slot.text, spans, vault, check.restore, slot.kind == "tool_arguments")
        if self._reveals:
            self._note(exchange, check, slot, spans, vault)
        slot.replace(text)

    @staticmethod
    def _note(exchange: Exchange, check: InputCheck, slot: Slot, spans: Sequence[Span], vault: Vault) -> None:
        """Keeps what one mask hides, for the calls that may see it."""
        revealing = exchange.facts.get(REVEALING)
        if revealing is None:
            revealing = Revealing()
            exchange.facts.put(REVEALING, revealing)
        revealing.note(slot, spans, vault, check.reveal)
        if check.reveal:
            exchange.facts.put(REVEAL, revealing)


def masked(text: str, spans: Sequence[Span], vault: Vault, restore: bool, as_json: bool = False) -> str:
    """`text` with placeholders for `spans`. In raw JSON the vault keeps the value, not its spelling."""
    return rewrite(text, spans, lambda kind, value: vault.issue(kind, unescaped(value) if as_json else value, restore))
