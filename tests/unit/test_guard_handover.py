"""When a person should take over."""

from __future__ import annotations

import pytest

from guardrails.asked.anger import anger
from guardrails.asked.handover import Triggers, asking_phrases, turns
from tests.fixtures.guard_world import exchange_of

ANGRY = [
    "This is ridiculous, I have been waiting for three hours",
    "I'm so frustrated, it is still broken",
    "WHAT THE HELL, I WANT MY MONEY BACK!!!",
    "you're useless, stop wasting my time",
    "Das ist eine Frechheit, mir reicht es",
    "j'en ai marre de ce service",
    "Estoy harto, no sirve para nada",
]
CALM = [
    "How do I reset my password?",
    "WELCOME TO NEW YORK",
    "Great, thank you!!!",
    "Write a poem about an angry sea",
    "I am waiting for my parcel, could you tell me where it is?",
    "Is this plugin useless without the other one?",
    "Explain the damn command in vim",
]  # fmt: skip


@pytest.mark.parametrize("text", ANGRY)
def test_anger_is_heard(text: str) -> None:
    """In wordings of seven languages, louder when shouted."""
    assert anger(text) >= 0.6


@pytest.mark.parametrize("text", CALM)
def test_calm_is_not_taken_for_anger(text: str) -> None:
    """One weak word, capitals or exclamation marks make nothing alone."""
    assert anger(text) < 0.6


@pytest.mark.parametrize(
    ("text", "asks"),
    [
        ("Can I talk to a human please?", True),
        ("I'd rather TALK TO A REAL PERSON", True),
        ("Ich möchte mit einem Mitarbeiter sprechen", True),
        ("I don't want to talk to a human, just tell me", False),
        ("No need to talk to an agent for this", False),
        ("How do humans talk to dogs?", False),
    ],
)
def test_a_wish_for_a_person_is_understood(text: str, asks: bool) -> None:
    """And one that is denied is not."""
    triggers = Triggers(phrases=asking_phrases(["the captain"]))
    assert triggers.reason(exchange_of(("user", text)).asked()) == ("phrase" if asks else "")
    assert triggers.reason(exchange_of(("user", "get me the captain")).asked()) == "phrase"


def test_only_what_was_said_last_counts() -> None:
    """The anger of an hour ago has been handed over already."""
    triggers = Triggers(phrases=asking_phrases(None), anger=0.6)
    old = exchange_of(("user", "talk to a human"), ("assistant", "ok"), ("user", "and what is your address?"))
    assert triggers.reason(old.asked()) == ""


def test_many_turns_are_a_reason() -> None:
    """Counted by the user's messages, however many parts they have."""
    request = exchange_of(("user", "a", "text", 0), ("user", "b", "text", 0), ("assistant", "c"), ("user", "d")).asked()
    assert turns(request) == 2
    assert Triggers(turns=2).reason(request) == "turns"
    assert Triggers(turns=3).reason(request) == ""
