"""The page about the exact cache says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from cache.backends.near import LONGEST
from cache.backends.redis_lease import LEASE
from cache.backends.redis_store import MOST_ENTRIES
from cache.config import problems
from cache.policy import control_of
from cache.shared import MOST_FAILURES, MOST_WAIT
from cache.singleflight import PATIENCE
from cache.tap import JITTER
from gateway import config as configuration
from gateway.status import _EVENTS
from tests.fixtures.cache_world import exchange

PAGE = Path(__file__).resolve().parents[2] / "docs/exact-cache.md"
TEXT = PAGE.read_text()


def test_the_example_is_a_good_configuration() -> None:
    """The block at the top is read without complaint, beside a provider and a model."""
    match = re.search(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    assert match is not None
    rest = {
        "version": 1,
        "providers": {"up": {"type": "openai-compatible", "base_url": "http://127.0.0.1:1/v1"}},
        "models": {"m": {"targets": [{"provider": "up", "model": "m"}]}},
    }
    example = yaml.safe_load(match[1])
    example["routes"]["support"]["match"] = {"models": ["m"]}
    config = configuration.of_value({**rest, **example}, PAGE.parent)
    cache = config.routes["support"].cache
    assert cache is not None
    assert problems(cache, "routes.support.cache") == []
    assert cache.tags == ("faq", "corpus:v12")
    assert cache.exact is not None
    assert cache.exact.near is not None


def test_its_numbers_are_the_codes() -> None:
    """Lease, waits, shares and bounds are those that hold."""
    assert (LEASE, MOST_WAIT, PATIENCE, MOST_FAILURES) == (3.0, 30.0, 0.5, 2)
    assert (JITTER, LONGEST, MOST_ENTRIES) == (0.1, 5.0, 1_000_000)


@pytest.mark.parametrize("word", ["no-store", "no-cache", "only-if-cached"])
def test_every_directive_is_known(word: str) -> None:
    """What the page tells clients to say is understood."""
    assert f"`{word}`" in TEXT
    assert control_of(exchange("hi", headers={"x-tidegate-cache-control": word})) == {word}


def test_every_counted_event_is_named() -> None:
    """Whoever sees an event in a panel finds it on the page."""
    assert [event for event in _EVENTS if f"`{event}`" not in TEXT] == []
