"""Whole-word phrases: the quick way finds what the automaton finds, in every text, and cuts where nothing is lost."""

from __future__ import annotations

import time

from hypothesis import given, settings
from hypothesis import strategies as st

from guardrails.finding.automaton import Phrases
from guardrails.finding.word_phrases import WordPhrases

LISTED = [
    "project bluebird", "bluebird", "bird in the hand", "ﬁsh", "hand over", "i'll hurt you", "a$$", "$lut one", "one two", "two three four",
    "one", "-x-", "a a a a b", "straße", "naïve plan", "u.s. plan",
]  # fmt: skip
PARTS = [
    "project", "bluebird", "Bird", "in the", "hand", "over", " ", " ", "  ", "s", ".", "\u200b", "\n", "i'll", "hurt", "you", "a$$",
    "$lut", "one", "two", "three", "four", "-", "x", "a", "a ", "b", "strasse", "straße", "NAÏVE", "plan", "fiſh", "fish", "u.s.", "u.s", "…",
    "’", "１", "_", "中",
]  # fmt: skip
TEXTS = st.one_of(
    st.lists(st.sampled_from(PARTS), max_size=12).map("".join), st.lists(st.sampled_from(PARTS), max_size=12).map(" ".join)
)  # fmt: skip
AUTOMATON = Phrases(LISTED, kind="P")
QUICK = WordPhrases(LISTED, kind="P")


def places(spans: object) -> list[tuple[int, int]]:
    return sorted((span.start, span.end) for span in spans)  # type: ignore[attr-defined]


@settings(max_examples=400, deadline=None)
@given(text=TEXTS, data=st.data())
def test_it_finds_what_the_automaton_finds(text: str, data: st.DataObject) -> None:
    """The same spans, from the start and from any place in the text; quiet only where there are none."""
    begin = data.draw(st.integers(0, len(text)))
    assert places(QUICK.found(text)) == places(AUTOMATON.found(text))
    assert places(QUICK.found(text, begin)) == places(AUTOMATON.found(text, begin))
    assert QUICK.find(text) == AUTOMATON.find(text)
    assert not (QUICK.quiet(text) and AUTOMATON.found(text))


@settings(max_examples=400, deadline=None)
@given(text=TEXTS, more=TEXTS, data=st.data())
def test_no_phrase_crosses_a_cut(text: str, more: str, data: st.DataObject) -> None:
    """Whatever comes after the text, no span of the whole crosses where it was cut."""
    cut = QUICK.settle(text, data.draw(st.integers(0, len(text))))
    assert all(span.end <= cut or span.start >= cut for span in QUICK.find(text + more))


def test_text_made_to_be_slow_is_not() -> None:
    """Sixty-four thousand characters that begin one long phrase over and over cost no more than a pass of the automaton."""
    slow = WordPhrases(["a " * 90 + "b"], kind="P")
    start = time.process_time()
    assert slow.find("a " * 32_768) == []
    assert time.process_time() - start < 1.0
