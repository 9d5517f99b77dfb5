from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from cache.text import normalise, read
from cache.verify import judge, veto

_WORDS = (
    "how do i the my a not never can't from to rome milan Paris London 5 10 $5 7% enable disable fee fees today "
    "last week who when why gpt-4 C++ can't hello thanks please top-up naïve été don't ? , ."
)
SENTENCES = st.lists(st.sampled_from(_WORDS.split()), max_size=10).map(" ".join) | st.text(max_size=40)


@settings(deadline=None)
@given(SENTENCES)
def test_a_question_is_itself(text: str) -> None:
    """No question is told apart from itself, whatever is in it."""
    assert veto(read(text), read(text)) is None


@settings(deadline=None)
@given(SENTENCES, SENTENCES)
def test_the_order_of_the_two_does_not_matter(a: str, b: str) -> None:
    """Which of two questions was asked first changes no verdict."""
    assert veto(read(a), read(b)) == veto(read(b), read(a))


@settings(deadline=None)
@given(SENTENCES)
def test_dress_is_taken_off_once(text: str) -> None:
    """Text in its plain form has no edge to trim and no space to fold."""
    plain = normalise(text)
    assert plain == plain.strip()
    assert "  " not in plain


@settings(deadline=None)
@given(SENTENCES, SENTENCES, st.floats(-1, 1), st.floats(-1, 1))
def test_more_likeness_never_costs_a_hit(a: str, b: str, one: float, other: float) -> None:
    """What is served at some similarity is served at any higher one."""
    low, high = sorted((one, other))
    if judge(a, b, low, 0.5).served:
        assert judge(a, b, high, 0.5).served
