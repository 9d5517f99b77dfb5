from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache import training, verifier
from cache.features import NAMES, pair_features
from cache.fitting import bent, fit, knots_of
from cache.text import read
from cache.verifier import shipped, verifier_for
from cache.verify import judge, veto
from tests.fixtures.cache_world import TrigramEmbed

VALUE = st.floats(-50, 50)
WRITTEN = training.written((Path(verifier.__file__).with_name("written_pairs.txt")).read_text("utf-8"))


@given(st.lists(VALUE, min_size=len(NAMES), max_size=len(NAMES)), st.integers(0, len(NAMES) - 1), st.floats(0, 20))
def test_nearer_in_one_respect_never_scores_lower(values: list[float], at: int, more: float) -> None:
    """The shipped model is monotone: raising any feature, all else equal, raises the score or leaves it."""
    nearer = list(values)
    nearer[at] += more
    assert 0 <= shipped().of(values) <= shipped().of(nearer) <= 1


@given(st.text(max_size=80), st.floats(-1, 1))
def test_the_same_question_in_other_dress_is_certain(text: str, cosine: float) -> None:
    """Whatever the encoder says, two questions that are equal once normalised score 1; and no text breaks the score."""
    assert shipped().score(read(text), read(f" {text} "), cosine) == 1.0
    assert 0 <= shipped().score(read(text), read("How do I reset it?"), cosine) <= 1


@given(st.sampled_from(WRITTEN), st.floats(0, 1))
def test_features_do_not_depend_on_who_asked_first(pair: tuple[str, str, bool], cosine: float) -> None:
    """All that is symmetric in the model's eyes is so: only the two `only_` features change places."""
    a, b = read(pair[0]), read(pair[1])
    one = dict(zip(NAMES, pair_features(a, b, cosine, shipped().words, shipped().rare), strict=True))
    other = dict(zip(NAMES, pair_features(b, a, cosine, shipped().words, shipped().rare), strict=True))
    one["heaviest_only_cached"], one["heaviest_only_asked"] = one["heaviest_only_asked"], one["heaviest_only_cached"]
    assert one == pytest.approx(other)


def test_another_encoder_gets_no_verifier() -> None:
    """Cosines of two encoders mean different things: for an unknown one the cosine itself is compared."""
    assert verifier_for("trigrams") is None
    assert verifier_for(shipped().encoder) is shipped()
    assert judge("How do I fix it?", "How can I fix it?", 0.92, 0.93, None).reason == "similarity"
    assert judge("How do I fix it?", "How can I fix it?", 0.94, 0.93, None).served


def test_the_file_is_small_and_of_this_version() -> None:
    """Some kilobytes, every line rising, every feature named."""
    assert verifier.FILE.stat().st_size < 64 * 1024
    for line in shipped().lines:
        assert list(line.knots) == sorted(set(line.knots))
        assert len(line.rises) == len(line.knots) - 1
        assert min(line.rises) >= 0


def test_vetoes_stand_above_the_score() -> None:
    """However sure the verifier is, a veto decides."""
    judged = judge(
        "How do I convert miles to kilometres?", "How do I convert kilometres to miles?", 1.0, 0.0, shipped()
    )
    assert (judged.served, judged.reason) == (False, "order")


def test_the_fit_finds_a_rising_line_and_ignores_a_falling_one() -> None:
    """A feature that helps gets weight, one that speaks the wrong way gets none: the model stays monotone."""
    rng = np.random.default_rng(5)
    x = rng.uniform(size=(2000, 2))
    y = (x[:, 0] - x[:, 1] + rng.normal(0, 0.1, 2000) > 0).astype(float)
    model = fit(bent(x, [knots_of(x[:, 0]), knots_of(x[:, 1])]), y, np.ones(2000))
    pieces = len(knots_of(x[:, 0])) - 1
    assert model[1 : 1 + pieces].sum() > 2
    assert not model[1 + pieces :].any()


def test_the_same_data_give_the_same_bytes() -> None:
    """Training has no randomness: twice from the same rows is the same file."""
    embed = TrigramEmbed(dim=256)

    def made() -> bytes:
        def encode(texts: object) -> np.ndarray:
            return np.stack([embed.one(text) for text in texts])  # type: ignore[attr-defined]

        texts = [text for a, b, _ in WRITTEN for text in (a, b)]
        answers = [str(at // 12) for at in range(len(texts))]
        words, rare = training.word_weights(texts)
        rows = training.together(
            training.stream_rows(texts, answers, encode, words, rare),
            training.written_rows(Path(verifier.__file__).with_name("written_pairs.txt"), encode, words, rare),
        )
        assert training.table(rows, training.held_out(rows), len(texts))
        return training.packed(training.verifier_of(rows, words, rare, embed.id))

    assert made() == made()


def test_written_near_misses_are_not_what_vetoes_catch() -> None:
    """The rows written for the verifier are for it: most near-misses among them pass every veto."""
    near = [(a, b) for a, b, same in WRITTEN if not same]
    assert sum(veto(read(a), read(b)) is None for a, b in near) > len(near) / 2
