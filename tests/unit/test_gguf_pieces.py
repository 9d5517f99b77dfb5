"""Splitting a script's text into unique pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.demo.pieces import pieces_of


@given(st.text(min_size=1, max_size=300), st.integers(1, 9))
def test_pieces_join_to_the_text_and_are_unique(text: str, size: int) -> None:
    """Whatever the text and the size, the pieces joined are the text and no piece occurs twice."""
    pieces = pieces_of(text, size, longest=400)
    assert "".join(pieces) == text
    assert len(set(pieces)) == len(pieces)
    assert all(pieces)


@given(st.lists(st.sampled_from(["ab", "abab", "abc", "c"]), min_size=1, max_size=60))
def test_repetitive_text_is_split_or_refused(words: list[str]) -> None:
    """Text that repeats itself is split uniquely within the longest piece, or refused with the place named."""
    text, refused, pieces = "".join(words), "", []
    try:
        pieces = pieces_of(text, 2, longest=12)
    except ValueError as error:
        refused = str(error)
    assert "repeats an earlier piece" in refused or "".join(pieces) == text
    assert len(set(pieces)) == len(pieces)
    assert all(len(piece) <= 12 for piece in pieces)


def test_a_sentence_keeps_its_size() -> None:
    """Where nothing repeats, every piece but the last has the size asked for."""
    assert pieces_of("Hello, my name is Jane.", 5) == ["Hello", ", my ", "name ", "is Ja", "ne."]


@pytest.mark.parametrize(
    ("text", "size", "told"), [("", 4, "empty"), ("a" * 5000, 4, "repeats an earlier piece"), ("abc", 0, "size 0")]
)
def test_what_cannot_be_split_says_why(text: str, size: int, told: str) -> None:
    """An empty text, an endless repetition and a silly size are refused in plain words."""
    with pytest.raises(ValueError, match=told):
        pieces_of(text, size)
