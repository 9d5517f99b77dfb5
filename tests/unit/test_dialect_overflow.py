"""A prompt that is too long: clients shorten their history and try again, if they understand that this is what was wrong."""

from __future__ import annotations

import json

import pytest

from gateway.core.errors import BadRequest, ContextOverflow
from tests.fixtures.dialects import DIALECTS

SAID = "This model's maximum context length is 8192 tokens"


@pytest.mark.parametrize(
    ("dialect", "words"),
    [
        ("openai", "context_length_exceeded"),
        ("responses", "context_length_exceeded"),
        ("anthropic", "prompt is too long"),
        ("gemini", "exceeds the maximum number of tokens allowed"),
    ],
)
def test_each_dialect_says_so_in_the_words_its_clients_look_for(dialect: str, words: str) -> None:
    """OpenAI's clients have a code for it; the others' know it by the provider's sentence, which is put before ours once."""
    told = DIALECTS[dialect].error(ContextOverflow(SAID), "tg-1").decode()
    assert words in told
    assert SAID in json.loads(told)["error"]["message"]
    again = DIALECTS[dialect].error(ContextOverflow(f"{words}."), "tg-1").decode()
    assert json.loads(again)["error"]["message"] == f"{words}."
    assert words not in DIALECTS[dialect].error(BadRequest(SAID), "tg-1").decode()
