"""What the checks that judge answers as answers (their shape, their drift, their silence) have in common: how one is
configured, and how its session says what it saw. They find no spans, so they are no scanners."""

from __future__ import annotations

import msgspec

from gateway.core.errors import CheckFailed
from gateway.core.events import Blocked, Remedy, Text
from gateway.core.exchange import Exchange
from gateway.core.verdict import Action, Verdict
from guardrails.answered.remedies import remedies_of
from guardrails.config import GuardrailConfig


class AnswerRules(msgspec.Struct, frozen=True, kw_only=True):
    """How one configured check works on answers."""

    name: str
    category: str
    action: Action
    """`block`, `repair` or `flag`."""
    remedies: tuple[Remedy, ...] = ()
    closed: bool = True
    deadline: float = 0.1
    mode: str = "full"
    retry_truncated: bool = False

    @property
    def holds(self) -> bool:
        """Whether anything may be kept back."""
        return self.action != "flag"


def answer_rules(name: str, check: GuardrailConfig, category: str, mode: str) -> AnswerRules:
    """`mode` is the kind's own, where the check names none."""
    return AnswerRules(
        name=name,
        category=category,
        action="flag" if check.stream == "audit" else check.action,
        remedies=remedies_of(check),
        closed=check.on_error == "closed" and check.stream != "audit",
        deadline=check.deadline,
        mode="window" if check.stream == "hold" else check.stream or mode,
        retry_truncated=bool(check.retry_truncated),
    )


class Voice:
    """What one session says of one answer: its verdict, once, and its refusal."""

    def __init__(self, exchange: Exchange, rules: AnswerRules) -> None:
        self._exchange = exchange
        self._rules = rules
        self.micros = 0
        self.over = False
        """The verdict is given: nothing more is looked at."""

    def say(self, action: Action, count: int = 0, reason: str = "", score: float | None = None) -> None:
        """The verdict. Only the first counts."""
        if self.over:
            return
        self.over = True
        rules = self._rules
        if rules.mode == "audit" and action == "flag":
            reason = f"audit,{reason}" if reason else "audit"
        self._exchange.verdicts.append(
            Verdict(rules.name, action, "output", count, rules.category, score, reason, self.micros)
        )

    def block(self, reason: str, message: str = "", *, cut: bool = False, score: float | None = None) -> Blocked:
        """`cut`: the answer ran into its token limit, so that asking the same again would give the same."""
        self.say("block", 1, reason, score)
        remedies = self._rules.remedies
        if cut and not self._rules.retry_truncated:
            remedies = tuple(remedy for remedy in remedies if remedy.kind not in ("retry", "hedge"))
        return Blocked(self._rules.name, self._rules.category, message, remedies)

    def unseen(self, reason: str) -> None:
        """The check could not judge: never taken for "passed". Raises `CheckFailed` where it is closed; where it is
        open the caller lets go of all that it holds."""
        self.say("not_scanned", reason=reason)
        rules = self._rules
        if rules.action == "flag":
            return
        if rules.closed:
            raise CheckFailed(f"The check {rules.name!r} could not look at the answer, so it may not pass.") from None
        self._exchange.degraded.append(f"guardrail:{rules.name}")


def declined(event: Text) -> bool:
    """Said in the field that a dialect keeps for refusals, beside the text."""
    return any(isinstance(own, dict) and own.get("refusal") is True for own in (event.extra or {}).values())


def note_held(exchange: Exchange, since: int) -> None:
    """Something goes out that came at `since`, by the exchange's clock; 0 for nothing held."""
    if since and exchange.asked().stream:
        exchange.held = max(exchange.held, exchange.clock.now() - since)


def interested(exchange: Exchange, rules: AnswerRules) -> bool:
    """Whether there is an answer that a model has just made, and that the check may look at."""
    if exchange.answer is not None or exchange.request is None:
        return False
    if rules.mode == "off" and exchange.request.stream:
        Voice(exchange, rules).say("not_scanned", reason="off_on_streams")
        return False
    return True
