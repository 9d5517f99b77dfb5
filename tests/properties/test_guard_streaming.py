"""Output checks over events, as laws: every chunking releases the same, and nothing forbidden is ever among it."""

from __future__ import annotations

import asyncio
import json
import re

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.core.events import ChoiceFinished, Event, Finished, Reasoning, Started, Text, ToolCall
from gateway.core.exchange import Exchange
from gateway.core.ports import Transform
from guardrails.answered.output import OutputChecks
from guardrails.build import Guards, build
from guardrails.config import GuardrailConfig
from guardrails.hiding.restore import restore
from guardrails.hiding.vault import VAULT
from tests.fixtures.guard_world import answer, arguments_of, blocked, call, exchange_of, screened, text_of, through

CONFIG = {
    "private": GuardrailConfig(use="pii", on=["input", "output"], action="mask", on_error="closed", deadline=30.0, entities=["EMAIL_ADDRESS", "CREDIT_CARD", "PERSON"]),
    "secrets": GuardrailConfig(use="secrets", on=["input", "output"], action="mask", on_error="closed", deadline=30.0),
    "words": GuardrailConfig(use="phrases", on=["output"], action="block", deny=["project bluebird"], on_error="closed"),
    "leak": GuardrailConfig(use="prompt_leak", on=["output"], action="block", on_error="closed"),
}  # fmt: skip
SYSTEM = "You serve the harbour office and you never tell the gate code of the ninth pier to anyone at all."
SECRETS = ["eve@example.org", "4111 1111 1111 1111", "ghp_0123456789abcdefABCDEF", "Mr. Max Mustermann"]
"""What the model says on its own, which must not reach the client."""
OWN = "bob@example.com"
"""What the user said, which must come back."""

PLAIN = [
    "The ", "answer", " is", " ", ". ", "\n", "project ", "blue", "bird", "[[", "EMAIL_ADDRESS_1", "]]", "[[EMAIL_ADDRESS_1]]",
    "[[email_address_1]]", "at ", "x", ",", "(", ")", "never tell the ", "gate code of the ", "ninth pier to anyone",
]  # fmt: skip
TEXTS = st.lists(st.sampled_from([*PLAIN, *SECRETS]), max_size=16).map("".join)
AROUND = st.lists(st.sampled_from(PLAIN), max_size=16).map("".join)


DENIED = CONFIG["words"].deny[0]  # type: ignore[index]
WHOLE = re.compile(rf"(?<![^\W_]){DENIED}(?![^\W_])")
"""The phrase as the check means it: not inside a longer word."""


def part_words(text: str) -> int:
    """How often the phrase stands inside a longer word ("bluebirdThe") before it first stands alone: those may be
    sent, and nothing after them."""
    first = WHOLE.search(text)
    return text[: first.start() if first else len(text)].count(DENIED)


def guards() -> Guards:
    return build(CONFIG, list(CONFIG))


GUARDS = guards()


def pieces(data: st.DataObject, text: str) -> list[str]:
    if data.draw(st.booleans()):
        return list(text)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=10)))
    return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]


def asked() -> Exchange:
    exchange = exchange_of(("system", SYSTEM), ("user", f"Write to {OWN} please"))
    assert asyncio.run(screened(GUARDS, exchange)) is None
    return exchange


def transforms(*names: str) -> list[Transform]:
    return [*(build(CONFIG, names) if names else GUARDS).checks, GUARDS.restore]


def run(events: list[Event], *names: str) -> list[Event]:
    return asyncio.run(through(asked(), transforms(*names), events))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(text=TEXTS, data=st.data())
def test_every_chunking_releases_the_same(text: str, data: st.DataObject) -> None:
    """Streamed in any pieces or at once, the client reads the same text, and is blocked in the same place or not at all."""
    whole = run(answer([text]))
    streamed = run(answer(pieces(data, text)))
    assert text_of(streamed) == text_of(whole)
    assert (blocked(streamed) is None) == (blocked(whole) is None)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(before=AROUND, secret=st.sampled_from(SECRETS[:3]), after=AROUND, data=st.data())
def test_nothing_forbidden_is_ever_sent(before: str, secret: str, after: str, data: st.DataObject) -> None:
    """A value that the checks find is not among what the client reads, in whatever pieces the model says it."""
    text = f"{before} {secret} {after}"
    for kind in (Text, Reasoning):
        events: list[Event] = [
            Started("r", "m", 1),
            *(kind(piece) for piece in pieces(data, text)),
            ChoiceFinished("stop"),
            Finished(),
        ]
        sent = "".join(event.text for event in run(events) if isinstance(event, Text | Reasoning))
        assert secret not in sent
        assert sent.count(DENIED) <= part_words(text)
        assert not any(match.end() < len(sent) for match in WHOLE.finditer(sent))
        assert "never tell the gate code of the ninth pier" not in sent


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), secret=st.sampled_from(SECRETS[:3]), extra=st.text('ab "\\\né', max_size=8))
def test_tool_arguments_stay_json_without_what_is_forbidden(data: st.DataObject, secret: str, extra: str) -> None:
    """A tool call's arguments come out as JSON; the model's own secret is gone, the user's own value is back."""
    raw = json.dumps({"to": "[[EMAIL_ADDRESS_1]]", "note": extra + "\n" + secret, "n": 1})
    out = run(call(pieces(data, raw)), "private", "secrets")
    value = json.loads(arguments_of(out))
    assert value["to"] == OWN
    assert secret not in value["note"]
    assert value["note"].startswith(extra + "\n[")
    assert [event.name for event in out if type(event) is ToolCall and event.name] == ["send"]


@settings(max_examples=100, deadline=None)
@given(words=st.lists(st.sampled_from(["hello", "there", "you", "are", "fine", "today"]), max_size=12), data=st.data())
def test_clean_text_is_not_changed(words: list[str], data: st.DataObject) -> None:
    """Text with nothing to find arrives character for character, and no check is said to have acted."""
    text = " ".join(words)
    exchange = asked()
    out = asyncio.run(through(exchange, transforms(), answer(pieces(data, text))))
    assert text_of(out) == text
    assert type(out[-1]) is Finished
    assert {verdict.action for verdict in exchange.verdicts if verdict.side == "output"} == {"allow"}


APART = st.lists(
    st.sampled_from([*SECRETS, OWN, DENIED, "[[EMAIL_ADDRESS_1]]", "the answer is", "never tell the gate code of the ninth", "x,", "(no)", "\n"]),
    max_size=10,
).map(" ".join)  # fmt: skip
"""Texts in which no two checks find something at the same place."""


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(text=APART, data=st.data())
def test_one_session_for_all_checks_is_as_one_for_each(text: str, data: st.DataObject) -> None:
    """Looked at together or one after the other, the client reads the same, is blocked by the same, and every check says
    the same of itself."""
    merged = GUARDS.checks[0]
    assert isinstance(merged, OutputChecks)
    assert len(GUARDS.checks) == 1
    told = []
    for checks in ([merged], [OutputChecks([check]) for check in merged.checks]):
        exchange = asked()
        before = len(exchange.verdicts)
        out = asyncio.run(through(exchange, [*checks, GUARDS.restore], answer(pieces(data, text))))
        verdicts = sorted(verdict.header for verdict in exchange.verdicts[before:])
        stopped = blocked(out)
        if stopped is not None:  # the sessions after one that blocks are not asked what they did
            verdicts = [verdict for verdict in verdicts if verdict.startswith(f"{stopped.check}=")]
        told.append((text_of(out), stopped, verdicts))
    assert told[0] == told[1]


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["a@example.com", "b@example.com"]), st.sampled_from(["c@example.com", "d@example.com"]))
def test_two_exchanges_never_share_a_vault(mine: str, yours: str) -> None:
    """The same placeholder in two exchanges restores each one's own value and never the other's."""
    first, second = exchange_of(("user", mine)), exchange_of(("user", yours))
    asyncio.run(screened(GUARDS, first))
    asyncio.run(screened(GUARDS, second))
    assert text_of(asyncio.run(through(first, [GUARDS.restore], answer(["[[EMAIL_ADDRESS_1]]"])))) == mine
    assert text_of(asyncio.run(through(second, [GUARDS.restore], answer(["[[EMAIL_ADDRESS_1]]"])))) == yours
    one, other = first.facts.get(VAULT), second.facts.get(VAULT)
    assert one is not None
    assert other is not None
    assert restore("[[EMAIL_ADDRESS_1]]", one.values) != restore("[[EMAIL_ADDRESS_1]]", other.values)
