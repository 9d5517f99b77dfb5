"""Tiers: an easy question for the small model, a hard one for the large, and a conversation keeps what it has."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.clock import ManualClock
from gateway.core.exchange import Exchange, Principal
from gateway.core.plan import Target
from gateway.core.request import Request
from gateway.dialects.registry import dialects
from routing import tiers as module
from routing.complexity import complexity
from routing.config import ContextConfig, TiersConfig
from routing.tiers import Tiers
from tests.unit.test_routing_fitting import IMAGE, SCHEMA, TOOL, chat
from tests.unit.test_routing_fitting import model as with_targets
from tests.unit.test_routing_plans import exchange as bare
from tests.unit.test_routing_plans import model, plans

EASY = [
    "hi",
    "What's the capital of France?",
    "Translate 'good morning' into German.",
    "How do I reset my password?",
    "Summarise this email in two sentences: Dear all, the meeting is moved to Tuesday.",
]
HARD = [
    "Compare Postgres and MongoDB for a multi-tenant SaaS, analyse the trade-offs, and design a migration plan step by "
    "step, given these constraints: zero downtime and 2 TB of data.",
    "Prove that the sum of the first n odd numbers is n^2, then derive a closed form for the sum of their squares.",
    "Here is a traceback:\n```python\nTraceback (most recent call last):\n  File 'a.py'\nTypeError\n```\nDebug it, explain "
    "why it fails and refactor the function so that it is tested.",
]
CONFIG = TiersConfig(small="fast", large="smart")


def tiers(config: TiersConfig = CONFIG) -> Tiers:
    return Tiers(config, ContextConfig(), plans(model("fast"), model("smart")))


def asked(*texts: Any, session: str = "", key: str = "k", clock: ManualClock | None = None, **fields: Any) -> Exchange:
    made = bare("auto", Principal(key_id=key))
    if clock is not None:
        made.clock = clock
    made.session = session
    made.request = chat(*texts, **fields)
    return made


def test_easy_questions_score_below_hard_ones() -> None:
    """At the default threshold everyday questions stay small and multi-step, code and proof questions rise."""
    assert max(complexity(chat(text)).score for text in EASY) < 0.3
    assert min(complexity(chat(text)).score for text in HARD) > CONFIG.above


def test_the_score_is_the_sum_of_its_parts() -> None:
    """Nothing goes in that is not told, and every sign that is told adds something."""
    told = complexity(chat(HARD[2], tools=[TOOL] * 5, response_format=SCHEMA))
    assert told.score == pytest.approx(min(1.0, sum(told.parts.values())), abs=0.002)
    assert {"code", "steps", "tools", "output"} <= told.parts.keys()
    assert all(value > 0 for value in told.parts.values())


ANY_TEXT = st.text(st.characters(codec=None), max_size=3000)
"""Lone surrogates too: JSON can hold them."""


@given(ANY_TEXT, ANY_TEXT)
def test_a_score_is_bounded_and_a_longer_conversation_no_easier(one: str, more: str) -> None:
    """0 to 1 for any text; adding a turn never lowers it."""
    alone = complexity(chat(one)).score
    assert 0.0 <= alone <= complexity(chat(one, {"role": "assistant", "content": "ok"}, more)).score + 0.002 <= 1.003


def test_a_large_conversation_costs_little() -> None:
    """However much is sent, a bounded part of it is read: the score of 10 MB is that of its newest turns."""
    huge = "Prove this theorem step by step. " * 300_000
    assert complexity(chat(huge)).parts["steps"] == complexity(chat(huge[:4000])).parts["steps"]


def test_each_tier_has_its_model() -> None:
    """Tier, score and plan say the same."""
    chooser = tiers()
    for text, tier, alias in ((EASY[0], "small", "fast"), (HARD[0], "large", "smart")):
        exchange = asked(text)
        assert chooser.plan(exchange).alias == alias
        assert exchange.tier == tier
        assert exchange.tier_score == complexity(exchange.asked()).score


def test_a_conversation_that_has_risen_stays() -> None:
    """In a session an easy question after a hard one, and all of a tool loop, stay with the large model; others do not."""
    chooser = tiers()
    assert chooser.plan(asked(HARD[0], session="s")).alias == "smart"
    assert chooser.plan(asked("and in short?", session="s")).alias == "smart"
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    loop = ({"role": "assistant", "tool_calls": [call]}, {"role": "tool", "tool_call_id": "1", "content": "x"})
    assert chooser.plan(asked("go on", *loop, session="s")).alias == "smart"
    assert chooser.plan(asked("and in short?", session="another")).alias == "fast"
    assert chooser.plan(asked("and in short?", session="s", key="somebody else")).alias == "fast"


def test_without_a_session_the_beginning_tells_conversations_apart() -> None:
    """A client that trims its history keeps its tier, known by how the conversation began."""
    chooser = tiers()
    said = {"role": "assistant", "content": "ok"}
    assert chooser.plan(asked("about my database", said, HARD[0])).alias == "smart"
    assert chooser.plan(asked("about my database", said, "thanks")).alias == "smart"
    assert chooser.plan(asked("about my cat", said, "thanks")).alias == "fast"


def test_another_process_decides_alike() -> None:
    """What was hard is still in the conversation, so a process that has not seen it comes to the same tier."""
    said = {"role": "assistant", "content": "ok"}
    assert tiers().plan(asked("hello", said, HARD[1], said, "thanks")).alias == "smart"


def test_a_quiet_conversation_is_forgotten() -> None:
    """After `forget` without a word the session is new."""
    clock, chooser = ManualClock(), tiers(TiersConfig(small="fast", large="smart", forget=60.0))  # type: ignore[arg-type]
    assert chooser.plan(asked(HARD[0], session="s", clock=clock)).alias == "smart"
    clock.advance(59)
    assert chooser.plan(asked("hi", session="s", clock=clock)).alias == "smart"
    clock.advance(61)
    assert chooser.plan(asked("hi", session="s", clock=clock)).alias == "fast"


def test_the_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The conversations heard of longest ago go first."""
    monkeypatch.setattr(module, "MOST_CONVERSATIONS", 3)
    chooser = tiers()
    for at in range(10):
        chooser.plan(asked(HARD[0], session=f"s{at}"))
    assert len(chooser) == 3
    assert chooser.plan(asked("hi", session="s9")).alias == "smart"
    assert chooser.plan(asked("hi", session="s0")).alias == "fast"


def test_what_the_small_model_cannot_do_rises() -> None:
    """A picture or a prompt that the small model cannot take goes to the large one, however easy it looks."""
    small = with_targets("fast", Target(provider="p", model="m", context_window=2000, capabilities=frozenset()))
    chooser = Tiers(CONFIG, ContextConfig(), plans(small, model("smart")))
    for content in ([{"type": "text", "text": "what is this?"}, IMAGE], "word " * 5000):
        exchange = asked({"role": "user", "content": content})
        assert (chooser.plan(exchange).alias, exchange.tier) == ("smart", "large")
    assert chooser.plan(asked("hi")).alias == "fast"


def test_a_tier_that_is_no_model_stops_the_start() -> None:
    """A dangling name is found before the first request."""
    with pytest.raises(ValueError, match="'smrt' is no model"):
        tiers(TiersConfig(small="fast", large="smrt"))


def test_embeddings_have_a_tier_too() -> None:
    """An operation without a conversation is served, and is small."""
    exchange = bare("auto")
    read = dialects()["openai"].read
    request: Request = read("embeddings", {"model": "auto", "input": ["one", "two"]})
    exchange.request = request
    assert tiers().plan(exchange).alias == "fast"
