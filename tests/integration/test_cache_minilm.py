"""The semantic cache as it is shipped: the real encoder, the default threshold, the vetoes."""

from __future__ import annotations

from typing import Any

import pytest

from cache.build import build
from cache.config import CacheConfig, SemanticConfig
from gateway.core.clock import SystemClock
from tests.fixtures.cache_world import SECRET, ask, exchange

CONFIG = {"default": CacheConfig(semantic=SemanticConfig(evidence="assume"))}

SAME = [
    ("How do I enable two-factor authentication?", "hi, how can i enable two-factor authentication? thanks!"),
    ("What is the default port of Postgres?", "please, what's the default port of postgres"),
    ("How do I convert miles to kilometres?", "HOW DO I CONVERT MILES TO KILOMETRES"),
    ("Can I return an item after 30 days?", "Quick question: can I return an item after 30 days??"),
]
OTHER = [
    ("How do I enable two-factor authentication?", "How do I disable two-factor authentication?"),
    ("What is the default port of Postgres?", "What is the default port of MySQL?"),
    ("How do I convert miles to kilometres?", "How do I convert kilometres to miles?"),
    ("Can I return an item after 30 days?", "Can I return an item after 90 days?"),
    ("Can I pay in the shop with a card?", "Can I pay in the shop without a card?"),
    ("Who is eligible for a refund?", "Who is ineligible for a refund?"),
]


@pytest.mark.parametrize(("cached", "asked"), SAME)
async def test_the_same_question_is_served(minilm: Any, cached: str, asked: str) -> None:
    """Case, greeting, thanks and a common rephrasing do not cost the hit."""
    assert await _served(minilm, cached, asked)


@pytest.mark.parametrize(("cached", "asked"), OTHER)
async def test_another_question_is_not(minilm: Any, cached: str, asked: str) -> None:
    """A near-miss goes to the model: opposite, other name, other number, turned round, negated."""
    assert not await _served(minilm, cached, asked)


async def _served(minilm: Any, cached: str, asked: str) -> bool:
    caches = build(CONFIG, secret=SECRET, clock=SystemClock(), embed=minilm, embed_budget=30)
    await caches.start()
    assert await ask(caches, exchange(cached), "answer") is None
    found = await ask(caches, exchange(asked), "fresh")
    await caches.close()
    return found is not None
