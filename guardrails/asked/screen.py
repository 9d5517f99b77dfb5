"""The input side: what a check is there, whose text it looks at, and what its findings mean.

Two stages run the checks: `guardrails.asked.masking` first, so that everything after it sees masked text only, then
`guardrails.asked.inspecting`, beside the router. A check that did not run is recorded as that and never as passed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from gateway.core.answer import Answer, Refusal
from gateway.core.errors import CheckFailed
from gateway.core.exchange import Exchange
from gateway.core.request import Request, Slot
from gateway.core.verdict import Action, Side, Verdict
from guardrails.actions import Actions
from guardrails.finding.spans import Span, resolve

INLINE = 4096
"""Characters that patterns look at on the event loop: they take well under 1 ms for that. More goes to a thread."""

STRONGEST: Sequence[Action] = ("block", "handoff", "mask", "flag")


class Finding(msgspec.Struct, frozen=True):
    """What a check says about one text."""

    spans: Sequence[Span] = ()
    score: float | None = None
    rule: str = ""
    unfinished: str = ""
    """Why a part of the look was left out, if it was (`timeout`). A hit is a hit; what is none has then not passed."""

    @property
    def hit(self) -> bool:
        return bool(self.spans)


CLEAN = Finding()


class Inspector(Protocol):
    """Looks at texts, by computing only: no I/O, no state. Raises whatever it likes; that is then "not scanned"."""

    inline: int
    """Characters of all texts together that it may look at on the event loop; 0 for whatever runs a model. More goes to
    a thread."""

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


class Throttle(Protocol):
    """Counts prompts, and says when there are too many. On the event loop, so it must be quick."""

    def take(self, caller: str, text: str, *, anyway: bool = False) -> float:
        """Counts one. Seconds until there is room for it; 0 if there is, and only then, or with `anyway`, it counts."""
        ...

    def __len__(self) -> int:
        """Callers known now."""
        ...


class Cuts(msgspec.Struct, frozen=True):
    """From which score on a text is a hit, by how far its author is trusted: a tool's result and retrieved text are
    written by whoever could reach them."""

    trusted: float
    untrusted: float

    def of(self, slot: Slot) -> float:
        return self.untrusted if untrusted(slot) else self.trusted


class InputCheck(msgspec.Struct, frozen=True, kw_only=True):
    """One configured check on the input side: an inspector, or something to ask, or one after the other."""

    name: str
    category: str
    actions: Actions
    """`mask`, `block`, `flag` or `allow`, by the kind of span."""
    sides: frozenset[str]
    """`input`, `retrieved` or both."""
    scope: frozenset[str]
    """Whose text may block or flag."""
    restore: bool
    reveal: bool = False
    """Targets of the house get the originals of what it masks."""
    closed: bool
    deadline: float
    """Seconds for both together."""
    inspector: Inspector | None = None
    asking: Asking | None = None
    throttle: Throttle | None = None
    """Instead of both: looks at who asks what how often."""
    cuts: Cuts | None = None
    """For inspectors that give scores and leave it to the screen what is a hit."""
    remembers: bool = False
    """What was found in a text holds for as long as the process remembers it."""
    handover: tuple[str, str] | None = None
    """(who takes over, what is said), where the action is `handoff`."""
    beside: bool = False
    """May still run while the model is called."""

    @property
    def masks(self) -> bool:
        return self.actions.can("mask")


class Judged(msgspec.Struct, frozen=True):
    """What findings mean for a request."""

    action: Action
    """The strongest of all that was found; `not_scanned` where nothing was, and something was not looked at."""
    verdict: Verdict
    masks: Sequence[tuple[Slot, Sequence[Span]]] = ()
    """What is to be hidden where; disjoint spans, in order."""


def judged(
    check: InputCheck, side: Side, slots: Sequence[Slot], findings: Sequence[Finding], request: Request, micros: int
) -> Judged:
    """One verdict for all: the strongest action, how often, and how often the weaker ones."""
    if check.cuts is None and not _eventful(findings):
        worst = max(findings, key=_score) if len(findings) > 1 else findings[0]
        score = _rounded(worst.score)
        return Judged("allow", Verdict(check.name, "allow", side, 0, check.category, score, worst.rule, micros))
    turn = request.latest_user_turn if check.masks else -1
    tally: dict[str, int] = {}
    masks: list[tuple[Slot, Sequence[Span]]] = []
    hits: list[tuple[Slot, Finding]] = []
    for slot, finding in zip(slots, findings, strict=True):
        spans = _spans(check, slot, finding)
        if not spans:
            continue
        in_scope = side == "retrieved" or not check.masks or _in_scope(slot, check.scope, turn)
        hidden = _count(check.actions, spans, in_scope, tally)
        if hidden:
            masks.append((slot, hidden))
        hits.append((slot, finding))
    action: Action = next((action for action in STRONGEST if tally.get(action)), "allow")
    unfinished = next((finding.unfinished for finding in findings if finding.unfinished), "")
    if action == "allow" and unfinished:
        return not_scanned(check, side, unfinished, micros)
    slot, worst = max(hits or zip(slots, findings, strict=True), key=lambda hit: _score(hit[1]))
    reason = worst.rule
    if check.cuts is not None and action != "allow" and untrusted(slot):
        reason = f"untrusted:{reason}" if reason else "untrusted"
    weaker = [f"{name}:{count}" for name, count in tally.items() if name != action]
    reason = reason or ",".join(weaker)
    score, count = _rounded(worst.score), tally.get(action, 0)
    verdict = Verdict(check.name, action, side, count, check.category, score, reason, micros)
    return Judged(action, verdict, masks)


def _eventful(findings: Sequence[Finding]) -> bool:
    for finding in findings:  # noqa: SIM110 - a generator costs more than all the rest
        if finding.spans or finding.unfinished:
            return True
    return False


def _spans(check: InputCheck, slot: Slot, finding: Finding) -> Sequence[Span]:
    if finding.spans or check.cuts is None or finding.score is None or finding.score < check.cuts.of(slot):
        return finding.spans
    return (Span("", 0, len(slot.text), finding.score),)


def _count(actions: Actions, spans: Sequence[Span], in_scope: bool, tally: dict[str, int]) -> Sequence[Span]:
    """Counts by action, and gives what is to be hidden. What would be blocked in a turn that is out of scope, because it
    was stopped when it came, and the client's history still has it, is hidden: it may not go out either."""
    hidden = []
    mixed = False
    for span in spans:
        action = actions.of(span.kind)
        if action == "block" and not in_scope:
            action, mixed = "mask", True
        if action == "mask":
            hidden.append(span)
        if action == "mask" or (action != "allow" and in_scope):
            tally[action] = tally.get(action, 0) + 1
    return resolve(hidden) if mixed else hidden


def _score(finding: Finding) -> float:
    return finding.score or 0.0


def _rounded(score: float | None) -> float | None:
    return None if score is None else round(score, 4)


def refused(name: str, category: str) -> Answer:
    message = f"The request was stopped by the check {name!r} ({category})."
    return Answer(kind="refused", refusal=Refusal(name, category, message))


def not_scanned(check: InputCheck, side: Side, reason: str, micros: int) -> Judged:
    """The verdict on a check that could not look. `left_out` says what that means."""
    return Judged("not_scanned", Verdict(check.name, "not_scanned", side, 0, check.category, None, reason, micros))


def left_out(exchange: Exchange, check: InputCheck) -> None:
    """A check did not look. Raises CheckFailed if it must; else the request goes on, marked."""
    if check.closed:
        raise CheckFailed(f"The check {check.name!r} could not look at the request, so it may not pass.")
    exchange.degraded.append(f"guardrail:{check.name}")


def untrusted(slot: Slot) -> bool:
    return slot.role in ("tool", "retrieved")


def chosen(check: InputCheck, side: str, request: Request) -> list[Slot]:
    """The slots that the check looks at. Masks look at every role, because history is sent again with each turn;
    others at their scope, and never at system text, which is the operator's own."""
    if side == "retrieved":
        return [slot for slot in request.slots if slot.role == "retrieved"]
    if check.masks:
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
