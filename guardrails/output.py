"""The output side's transforms: which session, if any, a check opens on an answer."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from gateway.core.events import Remedy
from gateway.core.exchange import Exchange
from gateway.core.facts import Key
from gateway.core.ports import Session
from gateway.core.verdict import Action, Verdict
from guardrails.config import GuardrailConfig
from guardrails.flagging import Flagged
from guardrails.prompt_leak import Leak, system_texts
from guardrails.remedies import remedies_of
from guardrails.scanner import Scanner, Whole
from guardrails.streaming import Held

if TYPE_CHECKING:
    from guardrails.kind import Kind

ScannerOf = Callable[[Exchange], Scanner | None]
"""The scanner for one exchange; None when there is nothing to look for."""


class OutputRules(msgspec.Struct, frozen=True, kw_only=True):
    """How one configured check works on answers."""

    name: str
    category: str
    action: Action
    closed: bool
    mode: str
    """`hold`, `window`, `full` or `off`."""
    remedies: tuple[Remedy, ...] = ()


def rules_of(name: str, check: GuardrailConfig, kind: Kind) -> OutputRules:
    return OutputRules(
        name=name,
        category=kind.category,
        action=check.action,
        closed=check.on_error == "closed",
        mode=check.stream or kind.streams[0],
        remedies=remedies_of(check),
    )


class OutputCheck:
    """Transform. Not interested in answers that no model has just made: those passed when they were stored."""

    consumes: tuple[Key[Any], ...] = ()
    produces: tuple[Key[Any], ...] = ()

    def __init__(self, rules: OutputRules, scanner_of: ScannerOf) -> None:
        self.name = rules.name
        self._rules = rules
        self._scanner_of = scanner_of

    def open(self, exchange: Exchange) -> Session | None:
        if exchange.answer is not None:
            return None
        rules = self._rules
        scanner = self._scanner_of(exchange)
        if scanner is None:
            return None
        if rules.mode == "off" and exchange.asked().stream:
            exchange.verdicts.append(
                Verdict(rules.name, "not_scanned", "output", 0, rules.category, None, "off_on_streams")
            )
            return None
        if rules.action == "flag":
            return Flagged(exchange, rules.name, rules.category, scanner)
        # Of an answer that is not streamed nothing leaves before its end, so there is nothing to settle piece by piece.
        whole = rules.mode == "full" or not exchange.asked().stream
        return Held(
            exchange,
            rules.name,
            rules.category,
            Whole(scanner) if whole else scanner,
            rules.action,
            closed=rules.closed,
            whole=whole,
            remedies=rules.remedies,
        )


class LeakScanners:
    """Scanners for system prompts, the latest few kept: applications send the same prompt again and again, and
    making one takes milliseconds. Keeps hashes of word runs, not the prompt."""

    _KEPT = 64

    def __init__(self) -> None:
        self._kept: OrderedDict[int, Leak] = OrderedDict()

    def __call__(self, exchange: Exchange) -> Scanner | None:
        texts = system_texts(exchange.asked())
        if not texts:
            return None
        key = hash(texts)
        leak = self._kept.get(key)
        if leak is None:
            leak = self._kept[key] = Leak(texts)
            while len(self._kept) > self._KEPT:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(key)
        return leak if leak.protects else None
