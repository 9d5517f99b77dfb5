"""Letters beside meanings: counted right, the same however a text is typed, and helping where vectors cannot tell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from routing.fit import fit_head
from routing.pieces import SMOOTHING, count_pieces, pieces_of
from routing.store import load_head, save_head

NONE = np.zeros((0, 8), np.float32)
EXAMPLES = ["block my card", "please block it", "unlock my card", "unlocking it please", "hi"]
LABELS = np.array([0, 0, 1, 1, 1])


@given(st.text(max_size=100))
def test_typing_does_not_matter(text: str) -> None:
    """Case and punctuation around words change no piece; pieces are distinct and ascending."""
    pieces = pieces_of(text)
    assert (pieces == np.unique(pieces)).all()
    assert (pieces_of(f"  {text.upper().casefold()}!? ") == pieces_of(text.upper().casefold())).all()


def test_a_piece_has_five_characters() -> None:
    """Blanks around words count, so short words are pieces with their neighbours."""
    assert len(pieces_of("card")) == 2
    assert len(pieces_of("my card")) == 5
    assert len(pieces_of("a")) == 0
    assert len(pieces_of("")) == 0
    assert set(pieces_of("my card").tolist()) & set(pieces_of("your card").tolist())


def test_scores_are_the_log_odds_that_they_are_said_to_be() -> None:
    """Against a plain count over all examples, piece by piece."""
    pieces = [pieces_of(text) for text in EXAMPLES]
    counted = count_pieces(pieces, LABELS, 2)
    asked = pieces_of("block that card")
    expected = np.zeros(2)
    known = 0
    for piece in asked.tolist():
        seen = np.array([sum(piece in own for own, y in zip(pieces, LABELS, strict=True) if y == k) for k in (0, 1)])
        if not seen.sum():
            continue
        known += 1
        prior = (seen.sum() + 1) / (len(EXAMPLES) + 1)
        expected += np.log((seen + SMOOTHING * prior) / (np.array([2, 3]) + SMOOTHING) / prior)
    assert known
    # What an intent never had counts as its base, which is the same without the prior.
    assert np.allclose(counted.scores(asked), expected / np.sqrt(known), atol=1e-4)


@given(st.text(st.characters(codec=None), max_size=200))
def test_any_text_has_finite_scores(text: str) -> None:
    """Also one of which no example has a piece: then they are all zero."""
    counted = count_pieces([pieces_of(text) for text in EXAMPLES], LABELS, 2)
    assert np.isfinite(counted.scores(pieces_of(text))).all()
    assert not counted.scores(pieces_of("zzzzzzzz qqqqqq")).any()
    assert not count_pieces([pieces_of("")], np.array([0]), 1).scores(pieces_of(text)).any()


def test_letters_tell_apart_what_vectors_do_not(tmp_path: Path) -> None:
    """Two intents whose vectors say nothing are read by their words; and the head comes back from disk as it was."""
    rng = np.random.default_rng(0)
    texts = [f"block card {at}" for at in range(12)] + [f"release payment {at}" for at in range(12)]
    x = rng.normal(size=(24, 8)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    x[:] = x.mean(axis=0) / np.linalg.norm(x.mean(axis=0))
    head = fit_head(x, ["block"] * 12 + ["release"] * 12, NONE, encoder="e", texts=texts)
    assert head.read(x[0], "release this payment").best == "release"
    assert head.read(x[0], "block the card").best == "block"
    save_head(tmp_path, "k", head)
    loaded = load_head(tmp_path, "k", "e")
    assert loaded is not None
    for text in ("release this payment", "block the card", "something else", ""):
        assert loaded.read(x[0], text) == head.read(x[0], text)
