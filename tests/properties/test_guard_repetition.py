"""Repetition, as laws: the place where it is noticed is the text's own, and looking costs what the length costs."""

from __future__ import annotations

import time

from hypothesis import given, settings
from hypothesis import strategies as st

from guardrails.answered.runaway import STEP, Runaway

PIECE = st.text("ab \n", min_size=1, max_size=40)


def noticed(chunks: list[str], repeats: int = 8, chars: int = 400) -> int | None:
    """Where in the whole text, if anywhere."""
    runaway, at = Runaway(repeats, chars), 0
    for chunk in chunks:
        upto = runaway.push(chunk)
        if upto is not None:
            return at + upto
        at += len(chunk)
    return None


def periodic(text: str, repeats: int, chars: int) -> bool:
    """The definition, tried for every period: the end of `text` is one piece of at most 200 characters, over and over."""
    for period in range(1, 201):
        span = max(chars, repeats * period)
        if span <= len(text) and all(text[-at] == text[-at - period] for at in range(1, span - period + 1)):
            return True
    return False


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(PIECE, st.integers(1, 40)), max_size=5), st.lists(st.integers(0, 3000), max_size=8))
def test_it_is_noticed_by_definition_and_whatever_the_chunks(parts: list[tuple[str, int]], cuts: list[int]) -> None:
    """At the first step whose text so far ends in a runaway, and nowhere else."""
    text = "".join(piece * times for piece, times in parts)
    places = sorted({min(cut, len(text)) for cut in cuts})
    chunks = [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]
    steps = range(STEP, len(text) + 1, STEP)
    expected = next((at for at in steps if periodic(text[:at], 4, 100)), None)
    assert noticed(chunks, 4, 100) == expected
    assert noticed(list(text), 4, 100) == expected


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text("abcdefghij ,.", min_size=30, max_size=300), min_size=1, max_size=40, unique=True))
def test_texts_that_differ_are_let_by(lines: list[str]) -> None:
    """Unless the definition says otherwise of them."""
    text = "\n".join(lines)
    found = noticed([text])
    assert found is None or periodic(text[:found], 8, 400)


def cost(text: str) -> float:
    best = 1.0
    for _ in range(3):
        start = time.process_time()
        Runaway(8, 400).push(text)
        best = min(best, time.process_time() - start)
    return best


def test_the_work_is_linear_for_texts_made_to_be_slow() -> None:
    """A text that offers the most periods to try, and fails them all late: twice the text, about twice the work."""
    worst = ("a" * 190 + "b" + "a" * 190 + "c") * 2000
    short, long = cost(worst[:100_000]), cost(worst[:400_000])
    assert long < 10 * short + 0.05
    assert long / 400_000 < 20e-6, f"{long / 400_000 * 1e6:.2f} µs a character"
