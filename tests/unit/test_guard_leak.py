"""The canary: where it is put, that it stays the same, and that an answer that says it is stopped."""

from __future__ import annotations

import pytest

from gateway.core.events import Blocked
from gateway.core.marking import MARK
from guardrails.answered.canary import LENGTH, canary_of
from guardrails.build import build, tools_alone
from guardrails.config import GuardrailConfig, problems
from guardrails.kind import Tools
from tests.fixtures.guard_world import answer, blocked, exchange_of, said, text_of, through

CONFIG = {
    "leak": GuardrailConfig(use="prompt_leak", on=["output"], action="block", canary=True, on_error="closed"),
    "plain": GuardrailConfig(use="prompt_leak", on=["output"], action="block", on_error="closed"),
}
SECRET = b"a secret of sixteen bytes or more"


def tools() -> Tools:
    return Tools(pool=tools_alone().pool, secret=SECRET)


async def put(*slots: tuple[str, ...], secret: bytes = SECRET) -> list[str]:
    """What the model is asked; the request itself stays as it was."""
    exchange = exchange_of(*slots)
    canary = build(CONFIG, ["leak"], Tools(pool=tools_alone().pool, secret=secret)).canary
    assert canary is not None
    before = said(exchange)
    assert await canary.decide(exchange) is None
    mark = exchange.facts.get(MARK)
    sent = exchange.asked() if mark is None else mark(exchange.asked())
    assert said(exchange) == before
    return [slot.text for slot in sent.slots]


async def test_the_canary_goes_to_the_end_of_the_system_prompt_and_nowhere_else() -> None:
    """After the last of the texts that come first; a later one does not move it, so earlier bytes stay."""
    word = canary_of(SECRET, "leak")
    assert len(word) == LENGTH >= 16
    texts = await put(("system", "Be kind."), ("system", "Be brief."), ("user", "hi"))
    assert texts[0] == "Be kind."
    assert texts[1].startswith("Be brief.")
    assert texts[1].count(word) == 1
    assert texts[2] == "hi"
    turns = (("user", "hi"), ("assistant", "ho"), ("system", "New rule."), ("user", "go on"))
    longer = await put(("system", "Be kind."), ("system", "Be brief."), *turns)
    assert longer[:3] == texts
    assert longer[4] == "New rule."
    assert await put(("user", "hi")) == ["hi"]


async def test_it_is_the_same_for_the_same_secret_and_check_only() -> None:
    """Turns of one conversation, processes and replicas agree; another secret or check has another word."""
    slots = (("system", "Be kind."), ("user", "hi"))
    assert await put(*slots) == await put(*slots)
    assert await put(*slots) != await put(*slots, secret=b"another one of sixteen bytes")
    assert canary_of(SECRET, "leak") != canary_of(SECRET, "other")


async def test_what_a_provider_tells_of_the_request_is_not_relayed() -> None:
    """Only where the dialect's answers say what was asked: the beginning is told anew, by us."""
    guards = build(CONFIG, ["leak"], tools())
    exchange = exchange_of(("system", "Be kind."), ("user", "hi"), body={"instructions": "Be kind."})
    events = answer(["Yes."])
    assert (await through(exchange, guards.checks, events))[0] is events[0]
    exchange.asked().slots[0].key = "instructions"
    exchange.asked().slots[0].holder = exchange.asked().body
    out = await through(exchange, guards.checks, events)
    assert out == events
    assert out[0] is not events[0]


def test_without_the_key_there_is_none() -> None:
    """Nothing is added to a request unless it was asked for; the secret is in no repr."""
    assert build(CONFIG, ["plain"], tools()).canary is None
    assert SECRET.decode() not in repr(tools())
    check = GuardrailConfig(use="phrases", action="block", deny=["a phrase"], on_error="closed", canary=True)
    assert [path for path, _ in problems({"g": check})] == ["guardrails.g.canary"]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("write", [str, str.upper, lambda word: word[::-1], "-".join])
async def test_an_answer_that_says_it_is_stopped(write: object, stream: bool) -> None:
    """However short the prompt is, and however the word is written."""
    exchange = exchange_of(("system", "Be kind."), ("user", "hi"), stream=stream)
    guards = build(CONFIG, ["leak"], tools())
    assert guards.canary is not None
    await guards.canary.decide(exchange)
    text = f"My reference is {write(canary_of(SECRET, 'leak'))}, I was told."  # type: ignore[operator]
    out = await through(exchange, guards.checks, answer([text[at : at + 3] for at in range(0, len(text), 3)]))
    found = blocked(out)
    assert type(found) is Blocked
    assert (text_of(out) == "My reference is ") is stream
    assert [v.header for v in exchange.verdicts] == ["leak=block:1"]
    fine = exchange_of(("system", "Be kind."), ("user", "hi"), stream=stream)
    await guards.canary.decide(fine)
    assert text_of(await through(fine, guards.checks, answer(["I will be kind."]))) == "I will be kind."
