"""Zones settle a text's end by looking at its last words only, and that is as good as looking at all of it."""

from __future__ import annotations

from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from guardrails.finding.zones import Zones
from guardrails.private import pii, secret_tokens

WORDS = (  # noqa: SIM905
    "hello the key api_key secret = : token abc 4111 1111 +1 212 555 0123 ext 12 bob@example.com a.b x text next GB29 NWBK "
    "6016 sk-abcdefghijklmnop1234567890 Bearer password: is, my name number, (call) 10.0.0.1 don't ; | < foo= bar[ ] it's -1 "
    "ABC DEF ext. 5 for and not basic authorization exit"
).split()
TEXTS = st.lists(st.sampled_from([*WORDS, "\n", "\t", ""]), min_size=30, max_size=120).map(" ".join)


def zones_of(scanner: object) -> list[Zones]:
    """The zone scanners inside a scanner made of others."""
    if isinstance(scanner, Zones):
        return [scanner]
    inner = [getattr(scanner, "inner", None), *getattr(scanner, "parts", ())]
    return [found for part in inner if part is not None for found in zones_of(part)]


ALL = zones_of(pii.scanner()) + zones_of(secret_tokens.scanner())


@given(TEXTS, st.integers(0, 1000), st.integers(0, 40))
def test_the_last_words_settle_a_text_as_the_whole_of_it_does(text: str, limit: int, cut: int) -> None:
    """For every text and limit, the cut is the same with and without the short way."""
    text = text[: len(text) - cut]
    assert len(ALL) == 2
    for zones in ALL:
        short = zones.settle(text, min(limit, len(text)))
        with patch.object(zones, "_anchor", return_value=0):
            whole = zones.settle(text, min(limit, len(text)))
        assert short == whole
