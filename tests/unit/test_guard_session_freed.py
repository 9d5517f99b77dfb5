"""What a session of checks leaves behind: nothing that has to be searched for."""

from __future__ import annotations

import gc
import weakref

import pytest

from guardrails.build import build
from guardrails.config import GuardrailConfig
from tests.fixtures.guard_world import exchange_of


@pytest.mark.parametrize("stream", [True, False])
def test_a_session_is_freed_with_its_last_reference(stream: bool) -> None:
    """It is in no cycle: with one for each request, the collector worked for a twentieth of the time."""
    config = {"private": GuardrailConfig(use="pii", on=["output"], entities=["EMAIL_ADDRESS"], action="mask")}
    (check,) = build(config, ["private"]).checks
    exchange = exchange_of(("user", "hi"), stream=stream)
    gc.disable()
    try:
        session = check.open(exchange)
        assert session is not None
        freed = weakref.ref(session)
        del session
        assert freed() is None
    finally:
        gc.enable()
