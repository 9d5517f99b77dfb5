"""The estimate of a prompt's tokens, where no provider counts them."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.tokens import MEDIA_TOKENS, estimate
from tests.fixtures.dialects import ANTHROPIC, LAW

ENGLISH = "The quick brown fox jumps over the lazy dog while the cat sleeps on the warm windowsill in the sun. " * 10
"""200 common words."""


def counted(content: Any, **fields: Any) -> int:
    body = {"model": "m", "messages": [{"role": "user", "content": content}], **fields}
    return estimate(ANTHROPIC.read("count_tokens", body))


def test_plain_english_is_not_far_off() -> None:
    """Common English words are about a token each: the estimate is not below that, and not above half as much again."""
    assert 200 <= counted(ENGLISH) <= 300


def test_system_tools_images_and_results_count() -> None:
    """Everything that will be in the prompt adds to it."""
    plain = counted("hi")
    tool = {"name": "f", "input_schema": {"type": "object"}}
    image = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}
    assert counted("hi", system="Be brief.") > plain
    assert counted("hi", tools=[tool]) > plain
    assert counted([image, {"type": "text", "text": "hi"}]) == plain + MEDIA_TOKENS
    nested = [{"type": "tool_result", "tool_use_id": "t", "content": [image]}]
    assert counted(nested) > MEDIA_TOKENS


@LAW
@given(st.text(), st.text())
def test_more_text_is_never_fewer_tokens(one: str, more: str) -> None:
    """The estimate grows with the text, and no more than by a token a byte."""
    assert 1 <= counted(one) <= counted(one + more) <= counted(one) + len(more.encode("utf-8", "surrogatepass")) + 1
