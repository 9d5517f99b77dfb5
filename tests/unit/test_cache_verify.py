from __future__ import annotations

import pytest

from cache.text import normalise, read, stem
from cache.verify import judge, veto

DIFFERENT = [
    ("number", "How far is a 5 km run?", "How far is a 10 km run?"),
    ("number", "What is 1,000 plus 2?", "What is 1.000 plus 2?"),
    ("number", "Do I need two forms?", "Do I need three forms?"),
    ("number", "How much is $5 worth?", "How much is €5 worth?"),
    ("negation", "Can I pay with a card?", "Can I not pay with a card?"),
    ("negation", "Which items can be returned?", "Which items can't be returned?"),
    ("negation", "Can I fly with a passport?", "Can I fly without a passport?"),
    ("time", "Are you open on Monday?", "Are you open on Tuesday?"),
    ("time", "What did we earn this quarter?", "What did we earn last quarter?"),
    ("question_word", "Where was the treaty signed?", "When was the treaty signed?"),
    ("antonym", "How do I enable the alarm?", "How do I disable the alarm?"),
    ("antonym", "Who is eligible for a grant?", "Who is ineligible for a grant?"),
    ("antonym", "Is it safe to swim there?", "Is it unsafe to swim there?"),
    ("antonym", "Where can I deposit coins?", "Where can I withdraw coins?"),
    ("name", "Do I need a visa for Brazil?", "Do I need a visa for Chile?"),
    ("name", "Who wrote the song Hurt?", "who wrote the song"),
    ("order", "How do I convert litres to gallons?", "How do I convert gallons to litres?"),
    ("order", "Does a lion outrun a horse?", "Does a horse outrun a lion?"),
    ("order", "cheap trains from Rome to Milan", "How can I get cheap trains from Milan to Rome?"),
    ("substitution", "what licence is kafka under", "what licence is redis under"),
    ("substitution", "How do I open a savings account?", "How do I open a checking account?"),
    ("language", "Wie kann man hier mit Karte zahlen", "Wie kann man hier nicht mit Karte zahlen"),
]

ALIKE = [
    ("How do I reset a password?", "hello, how do i reset a password please"),
    ("How do I reset a password?", "How can I reset a password?? Thanks!"),
    ("What's the capital of Peru?", "what is the capital of peru"),
    ("Where do I find the top-up code?", "where do I find the top up code"),
    ("How do I increase a limit?", "How do I raise a limit?"),
    ("What are the transfer fees?", "What is the transfer fee?"),
    ("Is there a limit on transfers?", "Is there a limit to transfers"),
    ("Does it ship to GPT-4 users?", "does it ship to gpt-4 users"),
    ("Wie kann man hier zahlen", "wie kann man hier zahlen?"),
]


@pytest.mark.parametrize(("rule", "a", "b"), DIFFERENT)
def test_another_question_is_told_apart(rule: str, a: str, b: str) -> None:
    """However near two questions are, a difference that changes the answer is a veto, either way round."""
    assert veto(read(a), read(b)) == rule
    assert veto(read(b), read(a)) == rule


@pytest.mark.parametrize(("a", "b"), ALIKE)
def test_the_same_question_in_other_dress_passes(a: str, b: str) -> None:
    """Greeting, thanks, case, punctuation, plural and known synonyms change nothing."""
    assert veto(read(a), read(b)) is None


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("  Hi there, how are   you?! ", "how are you"),
        ("Good morning! Please tell me the time. Many thanks in advance!", "tell me the time"),
        ("Quick question: what is a ﬁle?", "what is a file"),
        ("thanks", "thanks"),
        ("hello", ""),
        ("?!", ""),
        ("Sorting hats: sorry, no", "sorting hats: sorry, no"),
    ],
)
def test_dress_comes_off(text: str, plain: str) -> None:
    """What is embedded is the question alone."""
    assert normalise(text) == plain


def test_endings_come_off_alike() -> None:
    """Forms of a word that differ by a common ending have one stem."""
    for forms in ("transfer transfers transferring transferred", "charge charges charged charging", "fee fees"):
        assert len({stem(word) for word in forms.split()}) == 1, forms


def test_the_threshold_comes_before_the_vetoes() -> None:
    """Below the threshold nothing is served, whatever the words; at it, the vetoes decide."""
    assert judge("Hi, what is up?", "what is up", 0.92, 0.93).reason == "similarity"
    assert judge("Hi, what is up?", "what is up", 0.93, 0.93).served
    assert judge("5 apples", "6 apples", 0.99, 0.93).reason == "number"
