"""The input side: every configured check over its part of the request, in order, each with its deadline and its rule
for failing. Masks rewrite the request; the first block ends it; a check that did not run is recorded as that and
never as passed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import Executor
from typing import Any, Protocol

import msgspec

from gateway.core.answer import Answer, Refusal
from gateway.core.errors import CheckFailed
from gateway.core.exchange import Exchange
from gateway.core.facts import Key
from gateway.core.request import Request, Slot
from gateway.core.verdict import Action, Side, Verdict
from guardrails.not_scanned import NotScanned
from guardrails.spans import Span, rewrite
from guardrails.vault import VAULT, Vault, blanked, unescaped

INLINE = 4096
"""Characters that are looked at on the event loop: patterns take well under 1 ms for that. More goes to a thread."""


class Finding(msgspec.Struct, frozen=True):
    """What a check says about one text."""

    spans: Sequence[Span] = ()
    score: float | None = None
    rule: str = ""

    @property
    def hit(self) -> bool:
        return bool(self.spans)


_CLEAN = Finding()


class Inspector(Protocol):
    """Looks at texts, by computing only: no I/O, no state. Raises whatever it likes; that is then "not scanned"."""

    def inspect(self, texts: Sequence[str], until: float) -> Sequence[Finding]:
        """One finding for each text. Raises TimeoutError soon after `until`, on the monotonic clock, has passed."""
        ...


class Asking(Protocol):
    """Asks something outside the process: a judge, a service. On the event loop, so it may only wait, not compute."""

    async def ask(
        self, exchange: Exchange, texts: Sequence[str], findings: Sequence[Finding], seconds: float
    ) -> Sequence[Finding]:
        """The final findings, one for each text. `findings` are the inspector's (clean ones where the check has none),
        so that only what it was unsure of need be asked about. Is cancelled after `seconds`. What it raises is "not
        scanned", and the check's `on_error` decides."""
        ...


class InputCheck(msgspec.Struct, frozen=True, kw_only=True):
    """One configured check on the input side: an inspector, or something to ask, or one after the other."""

    name: str
    category: str
    action: Action
    """`mask`, `block` or `flag`."""
    sides: frozenset[str]
    """`input`, `retrieved` or both."""
    scope: frozenset[str]
    """Whose text may block or flag."""
    restore: bool
    closed: bool
    deadline: float
    """Seconds for both together."""
    inspector: Inspector | None = None
    asking: Asking | None = None


class InputScreen:
    """Decider."""

    name = "screen"
    consumes: tuple[Key[Any], ...] = ()
    produces: tuple[Key[Any], ...] = (VAULT,)

    def __init__(self, checks: Sequence[InputCheck], pool: Executor) -> None:
        self._checks = tuple(checks)
        self._pool = pool

    async def decide(self, exchange: Exchange) -> Answer | None:
        request = exchange.asked()
        for check in self._checks:
            for side in ("input", "retrieved"):
                slots = chosen(check, side, request) if side in check.sides else []
                if slots:
                    answer = await self._one(exchange, check, "input" if side == "input" else "retrieved", slots)
                    if answer is not None:
                        return answer
        return None

    async def _one(self, exchange: Exchange, check: InputCheck, side: Side, slots: Sequence[Slot]) -> Answer | None:
        texts = [blanked(slot.text) if slot.kind == "tool_arguments" else slot.text for slot in slots]
        start = exchange.clock.now()
        findings, reason = await self._look(exchange, check, texts)
        micros = (exchange.clock.now() - start) // 1000
        if findings is None:
            return self._not_scanned(exchange, check, side, reason, micros)
        count = sum(len(finding.spans) for finding in findings)
        worst = max(findings, key=lambda finding: finding.score or 0.0)
        action: Action = check.action if count else "allow"
        exchange.verdicts.append(
            Verdict(check.name, action, side, count, check.category, worst.score, worst.rule, micros)
        )
        if action == "block":
            return refused(check.name, check.category)
        if action == "mask":
            self._mask(exchange, check, slots, findings)
        return None

    async def _look(
        self, exchange: Exchange, check: InputCheck, texts: Sequence[str]
    ) -> tuple[Sequence[Finding] | None, str]:
        """(findings, "") or (None, why not)."""
        until = time.monotonic() + min(check.deadline, exchange.remaining())
        try:
            findings: Sequence[Finding] = [_CLEAN] * len(texts)
            if check.inspector is not None:
                findings = await self._inspect(check.inspector, texts, until)
            if check.asking is not None:
                seconds = until - time.monotonic()
                async with asyncio.timeout(seconds):
                    findings = await check.asking.ask(exchange, texts, findings, seconds)
            return findings, ""
        except TimeoutError:
            return None, "timeout"
        except NotScanned as why:
            return None, why.reason
        except Exception:
            return None, "crashed"

    async def _inspect(self, inspector: Inspector, texts: Sequence[str], until: float) -> Sequence[Finding]:
        """Small inputs run here and now, in bounded time; large ones in the pool, where the deadline also covers the
        wait for a free thread."""
        if sum(map(len, texts)) <= INLINE:
            return inspector.inspect(texts, until)
        job = asyncio.get_running_loop().run_in_executor(self._pool, inspector.inspect, texts, until)
        return await asyncio.wait_for(job, until - time.monotonic())

    @staticmethod
    def _not_scanned(exchange: Exchange, check: InputCheck, side: Side, reason: str, micros: int) -> None:
        exchange.verdicts.append(Verdict(check.name, "not_scanned", side, 0, check.category, None, reason, micros))
        if check.closed:
            raise CheckFailed(f"The check {check.name!r} could not look at the request, so it may not pass.")
        exchange.degraded.append(f"guardrail:{check.name}")

    @staticmethod
    def _mask(exchange: Exchange, check: InputCheck, slots: Sequence[Slot], findings: Sequence[Finding]) -> None:
        vault = exchange.facts.get(VAULT)
        if vault is None:
            vault = Vault(slot.text for slot in exchange.asked().slots)
            exchange.facts.put(VAULT, vault)
        for slot, finding in zip(slots, findings, strict=True):
            if finding.spans:
                slot.replace(masked(slot.text, finding.spans, vault, check.restore, slot.kind == "tool_arguments"))


def masked(text: str, spans: Sequence[Span], vault: Vault, restore: bool, as_json: bool = False) -> str:
    """`text` with placeholders for `spans`. In raw JSON the vault keeps the value, not its spelling."""
    return rewrite(text, spans, lambda kind, value: vault.issue(kind, unescaped(value) if as_json else value, restore))


def refused(name: str, category: str) -> Answer:
    message = f"The request was stopped by the check {name!r} ({category})."
    return Answer(kind="refused", refusal=Refusal(name, category, message))


def chosen(check: InputCheck, side: str, request: Request) -> list[Slot]:
    """The slots that the check looks at. Masks look at every role, because history is sent again with each turn;
    others at their scope, and never at system text, which is the operator's own."""
    if side == "retrieved":
        return [slot for slot in request.slots if slot.role == "retrieved"]
    if check.action == "mask":
        return [slot for slot in request.slots if slot.role != "retrieved"]
    turn = request.latest_user_turn
    scope = check.scope
    return [slot for slot in request.slots if _in_scope(slot, scope, turn)]


def _in_scope(slot: Slot, scope: frozenset[str], turn: int) -> bool:
    """Tool results count from the latest user turn on: older ones were looked at when they came."""
    if slot.role == "user":
        return "user" in scope or ("latest_turn" in scope and slot.turn == turn)
    if slot.role == "tool":
        return "tool_results" in scope and slot.turn >= turn
    return slot.role == "assistant" and "assistant" in scope
