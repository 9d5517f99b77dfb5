"""Answers under a check that asks: whatever the mix of events, nothing is lost, added or put in another order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.clock import SystemClock
from gateway.core.events import (
    ChoiceFinished,
    Event,
    Finished,
    Reasoning,
    Started,
    Text,
    ToolCall,
    Unknown,
    Usage,
)
from gateway.core.exchange import Exchange
from guardrails.answered.answers import AnswerRules
from guardrails.asked.screen import Finding
from guardrails.asking.asking_kept import LEAST
from guardrails.asking.asking_output import OutputAsking
from guardrails.finding.spans import Span
from tests.fixtures.guard_world import blocked, exchange_of, through

BAD = "forbidden"
WORDS = st.text("ab. \n", max_size=2 * LEAST) | st.just(f"x {BAD}. ")
CHOICES = st.integers(0, 1)
EVENTS = st.one_of(
    st.builds(Text, WORDS, CHOICES),
    st.builds(Text, WORDS, CHOICES, st.fixed_dictionaries({"note": st.text("cd", max_size=9)})),
    st.builds(Reasoning, WORDS, CHOICES),
    st.builds(lambda call, arguments, choice: ToolCall(call, arguments, choice=choice), CHOICES, WORDS, CHOICES),
    st.builds(lambda text, choice: Unknown({"audio": text}, choice), WORDS, CHOICES),
    st.builds(ChoiceFinished, st.just("stop"), CHOICES),
    st.builds(Usage, st.integers(0, 9)),
)


class Service:
    """Finds texts that hold the word."""

    async def ask(
        self, exchange: Exchange, texts: Sequence[str], findings: Sequence[Finding], seconds: float
    ) -> Sequence[Finding]:
        return [Finding([Span("X", 0, len(text))], 1.0) if BAD in text else Finding((), 0.0) for text in texts]


def merged(events: Iterable[Event], choice: int) -> list[tuple[Any, ...]]:
    """What one choice says, cuts between pieces of the same text forgotten; blank pieces too."""
    out: list[tuple[Any, ...]] = []
    for event in events:
        if getattr(event, "choice", None) != choice:
            continue
        kind = type(event)
        if kind is Text or kind is Reasoning:
            if out and out[-1][0] is kind:
                out[-1] = (kind, out[-1][1] + event.text, out[-1][2] + _note(event))  # type: ignore[attr-defined]
            elif event.text or _note(event):  # type: ignore[attr-defined]
                out.append((kind, event.text, _note(event)))  # type: ignore[attr-defined]
        else:
            out.append((kind, event))
    return out


def _note(event: Any) -> str:
    return event.extra["note"] if event.extra else ""


def said(events: Iterable[Event]) -> list[str]:
    """Every text there is, each place by itself."""
    parts: dict[tuple[Any, ...], str] = {}
    for event in events:
        if type(event) is Text or type(event) is Reasoning:
            key: tuple[Any, ...] = (type(event), event.choice)
            parts[key] = parts.get(key, "") + event.text
        elif type(event) is ToolCall:
            key = (ToolCall, event.choice, event.call)
            parts[key] = parts.get(key, "") + event.arguments
        elif type(event) is Unknown:
            key = (Unknown, event.choice)
            parts[key] = parts.get(key, "") + event.fields["audio"]
    return list(parts.values())


@given(events=st.lists(EVENTS, max_size=30), mode=st.sampled_from(["full", "window"]))
@settings(max_examples=300, deadline=None)
async def test_nothing_is_lost_and_nothing_forbidden_is_said(events: list[Event], mode: str) -> None:
    """A clean answer comes out choice by choice as it went in; of one that is not, no text with the word comes out."""
    rules = AnswerRules(name="ask", category="c", action="block", deadline=5.0, mode=mode)
    check = OutputAsking(rules, Service(), clock=SystemClock())
    what = exchange_of(("user", "hi"))
    whole = [Started("r", "m", 1), *events, Finished()]
    out = await through(what, [check], whole)
    assert not any(BAD in text for text in said(out))
    if not any(BAD in text for text in said(events)):
        assert blocked(out) is None
        assert what.verdicts[0].action == "allow"
        for choice in (0, 1):
            assert merged(out, choice) == merged(whole, choice)
        assert type(out[-1]) is Finished
    else:
        assert blocked(out) is not None
        assert what.verdicts[0].action == "block"
