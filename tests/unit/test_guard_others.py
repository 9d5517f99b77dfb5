"""Other people's data in an answer: the user's own comes back to them, anybody else's does not."""

from __future__ import annotations

import pytest

from gateway.core.events import Event, Reasoning, Started, ToolCall
from guardrails.build import build
from guardrails.config import GuardrailConfig
from tests.fixtures.guard_world import answer, arguments_of, call, exchange_of, said, text_of, through

BOTH = ["input", "output"]
CONFIG = {
    "private": GuardrailConfig(use="pii", on=BOTH, action="mask", on_error="closed", deadline=5.0),
    "secrets": GuardrailConfig(use="secrets", on=BOTH, action="mask", on_error="closed", deadline=5.0),
}  # fmt: skip
MINE, HERS = "bob@example.com", "eve@example.org"
MY_KEY, HER_KEY = "ghp_0123456789abcdefABCDEF0123456789abcd", "ghp_ZYXWVUTSRQPONMLKJIHG9876543210fedcba"
STREAMS = pytest.mark.parametrize("stream", [True, False])
SIZES = pytest.mark.parametrize("size", [1, 5, 1000])


async def told(asked: str, events: list[Event], stream: bool) -> tuple[str, list[Event], list[str]]:
    """(what the model was asked, what the client is told, the verdicts on the answer)"""
    exchange = exchange_of(("user", asked), stream=stream)
    guards = build(CONFIG, ["private", "secrets"])
    assert guards.mask is not None
    assert guards.restore is not None
    assert await guards.mask.decide(exchange) is None
    out = await through(exchange, [*guards.checks, guards.restore], events)
    return said(exchange)[0], out, [v.header for v in exchange.verdicts if v.side == "output"]


def cut(text: str, size: int) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


@STREAMS
@SIZES
@pytest.mark.parametrize(
    ("mine", "hers", "kind", "verdicts"),
    [
        (MINE, HERS, "EMAIL_ADDRESS", ["private=mask:1", "secrets=allow"]),
        (MY_KEY, HER_KEY, "API_KEY", ["private=allow", "secrets=mask:1"]),
    ],
)
async def test_only_the_users_own_values_come_back(
    mine: str, hers: str, kind: str, verdicts: list[str], size: int, stream: bool
) -> None:
    """As a placeholder or spelt out by the model, what the user said is theirs; another's is masked for good."""
    asked, _, _ = await told(f"I have {mine} here", answer([]), stream)
    placeholder = asked.removeprefix("I have ").removesuffix(" here")
    assert mine not in asked
    text = f"Yours is {placeholder} or {mine} and hers {hers} now."
    _, out, said_of = await told(f"I have {mine} here", answer(cut(text, size)), stream)
    reply = text_of(out)
    assert reply.startswith(f"Yours is {mine} or {mine} and hers [")
    assert hers not in reply
    assert reply.endswith("] now.")
    assert kind in reply
    assert said_of == verdicts


@STREAMS
@SIZES
async def test_the_same_in_reasoning_and_in_the_arguments_of_calls(size: int, stream: bool) -> None:
    """What is not shown as text is told all the same, and what is called runs."""
    raw = f'{{"to": "{MINE}", "cc": "{HERS}"}}'
    _, out, verdicts = await told(f"I am {MINE}", call(cut(raw, size)), stream)
    assert arguments_of(out) == f'{{"to": "{MINE}", "cc": "[EMAIL_ADDRESS]"}}'
    assert verdicts == ["private=mask:1", "secrets=allow"]
    thoughts: list[Event] = [
        Started("r", "m", 1),
        *map(Reasoning, cut(f"{MINE} knows {HERS} well", size)),
        *answer([])[1:],
    ]
    _, out, _ = await told(f"I am {MINE}", thoughts, stream)
    thought = "".join(event.text for event in out if type(event) is Reasoning)
    assert thought == f"{MINE} knows [EMAIL_ADDRESS] well"
    assert not any(type(event) is ToolCall for event in out)
