"""What the types of the `guardrails:` section cannot see. Messages say what is wrong and what to write instead."""

from __future__ import annotations

from collections.abc import Iterator

from guardrails.actions import actions_of
from guardrails.config import CHECK_NAME, HOST_NAME, GuardrailConfig
from guardrails.kind import Kind
from guardrails.kinds import KINDS

OPTIONAL = frozenset().union(*(kind.keys for kind in KINDS.values()))
Found = Iterator[tuple[str, str]]


def check_problems(name: str, check: GuardrailConfig) -> Found:
    """(key, message) pairs; the key starts with a dot, or is empty for the check as a whole."""
    if not CHECK_NAME.fullmatch(name):
        yield "", "the name goes into a response header: use up to 40 lower-case letters, digits, - and _"
    yield from _sides(check)
    yield from _keys(check)
    yield from _failure(check)
    yield from _stream(check)
    yield from _values(check)
    yield from _then(check)
    yield from KINDS[check.use].problems(check)


def _sides(check: GuardrailConfig) -> Found:
    kind = KINDS[check.use]
    if not check.on:
        yield ".on", "empty: the check would never run; write at least one of input, retrieved, output"
    for side in check.on:
        if side not in kind.sides:
            yield ".on", f"{check.use!r} cannot run on {side}; it runs on {', '.join(sorted(kind.sides))}"
    if check.action not in kind.actions:
        yield ".action", f"{check.use!r} cannot {check.action}; it can {', '.join(sorted(kind.actions))}"
    for entity, action in actions_of(check).by_kind.items():
        if action not in kind.actions and action != "allow":
            yield f".actions.{entity}", f"{check.use!r} cannot {action}; it can {', '.join(sorted(kind.actions))}"
    beside = does(check) <= {"block", "flag", "allow"} and {"input", "retrieved"} & set(check.on)
    if check.beside is not None and not beside:
        yield ".beside", "only a check of the input that blocks or flags can go on while the model is called"


def _keys(check: GuardrailConfig) -> Found:
    kind = KINDS[check.use]
    for key in sorted(OPTIONAL - kind.keys):
        if getattr(check, key) is not None:
            yield f".{key}", f"means nothing for `use: {check.use}`; take it out"
    if check.restore and (not masks(check) or not {"input", "retrieved"} & set(check.on)):
        yield ".restore", "only what was masked on the way in can be restored: needs `action: mask` and `on: [input]`"
    if check.internal is not None and (not masks(check) or not {"input", "retrieved"} & set(check.on)):
        yield (
            ".internal",
            "only what is masked on the way in can be left to internal targets: needs `action: mask` and `on: [input]`",
        )
    if check.link_hosts and (check.action != "mask" or check.restore is False or "input" not in check.on):
        yield ".link_hosts", "means nothing where nothing is restored: needs `action: mask` and `on: [input]`"
    for at, host in enumerate(check.link_hosts or ()):
        if not HOST_NAME.fullmatch(host):
            yield f".link_hosts[{at}]", f"{host!r} is not a host's name, such as example.com"
    if check.scope is not None and masks(check) and not (does(check) & {"block", "flag"}):
        yield ".scope", "masking covers every role, because history is sent again with each turn; take `scope` out"


def _failure(check: GuardrailConfig) -> Found:
    acts = sorted(does(check) - {"flag", "allow"})
    if check.on_error is None and acts:
        yield (
            ".on_error",
            (
                f"missing: say what happens when a check that must {' and '.join(acts)} cannot run: "
                "`closed` (refuse the request) or `open` (let it pass, marked as degraded)"
            ),
        )
    if not 0.001 <= check.deadline <= 30:
        yield ".deadline", "must be between 1ms and 30s"


def _stream(check: GuardrailConfig) -> Found:
    if check.stream is None or "output" not in check.on:
        if check.stream is not None:
            yield ".stream", "means nothing without `on: [output]`"
        return
    modes = KINDS[check.use].streams
    if check.stream == "off":
        acts = sorted(does(check) - {"flag", "allow"})
        if acts:
            yield (
                ".stream",
                f"a check that must {' and '.join(acts)} cannot be off on streams: what it stops would pass there",
            )
    elif check.stream in ("audit", "retract") and does(check) <= {"flag", "allow"}:
        yield ".stream", f"means nothing for a check that only flags: it stops nothing that one could {check.stream}"
    elif modes and check.stream not in audited(KINDS[check.use]):
        can = ", ".join(audited(KINDS[check.use]))
        yield ".stream", f"{check.use!r} cannot {check.action} in mode {check.stream!r}; it can in {can}"


def audited(kind: Kind) -> tuple[str, ...]:
    """The stream modes that can be written for it."""
    return (*kind.streams, "audit") if "flag" in kind.actions else kind.streams


def does(check: GuardrailConfig) -> frozenset[str]:
    """All that it may do to a span."""
    return frozenset({check.action, *actions_of(check).by_kind.values()})


def masks(check: GuardrailConfig) -> bool:
    return "mask" in does(check)


def stops(check: GuardrailConfig) -> bool:
    """Whether it can stop an answer at all."""
    return bool({"block", "repair"} & does(check))


def _values(check: GuardrailConfig) -> Found:
    if check.threshold is not None and not 0 < check.threshold < 1:
        yield ".threshold", "must be above 0 and below 1"
    for at, phrase in enumerate(check.deny or ()):
        if len(phrase.strip()) < 2:
            yield f".deny[{at}]", "needs at least two characters, or it would hit everywhere"
    if check.scope is not None and not check.scope:
        yield ".scope", "empty: the check would never run"


def _then(check: GuardrailConfig) -> Found:
    steps = check.steps
    given = check.then is not None
    if given and "output" not in check.on:
        yield ".then", "means nothing without `on: [output]`: it says what happens when an answer is stopped"
    if given and not stops(check):
        yield ".then", f"means nothing for `action: {check.action}`, which stops no answer"
    if len(set(steps)) < len(steps):
        yield ".then", "says the same twice; `attempts` says how often to ask again"
    if any(step in ("pass", "block", "reply", "handoff") for step in steps[:-1]):
        yield ".then", "goes on after its end: pass, block, reply and handoff come last"
    if "pass" in steps and "flag" not in KINDS[check.use].actions:
        yield ".then", f"{check.use!r} cannot flag, so nothing that it stops can pass"
    if check.attempts is not None:
        if not {"retry", "hedge"} & set(steps):
            yield ".attempts", "means nothing without `then: retry` or `then: hedge`"
        elif not 1 <= check.attempts <= 5:
            yield ".attempts", "must be between 1 and 5"
    if "reply" in steps and not check.reply:
        yield ".reply", "missing: write what is said instead"
    if "handoff" in steps and not check.handoff:
        yield ".handoff", "missing: write who takes over"
    if check.action == "handoff":
        if not check.handoff:
            yield ".handoff", "missing: write who takes over"
        return
    if check.reply is not None and not {"reply", "handoff"} & set(steps):
        yield ".reply", "means nothing without `then: reply` or `then: handoff`"
    if check.handoff is not None and "handoff" not in steps:
        yield ".handoff", "means nothing without `then: handoff`"
