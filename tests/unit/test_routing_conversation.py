"""What the router reads of a conversation, and how it asks back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.request import Request
from gateway.dialects.openai_read import read
from routing.clarify import Clarify, chosen, title
from routing.conversation import Turn, leans_on_before, normal, turn_of


def chat(*messages: dict[str, object]) -> Request:
    return read("chat", {"model": "m", "messages": list(messages)})


def user(text: object) -> dict[str, object]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, object]:
    return {"role": "assistant", "content": text}


def must(request: Request) -> Turn:
    turn = turn_of(request)
    assert turn is not None
    return turn


def test_the_latest_user_turn_is_read_with_what_came_before() -> None:
    """Text, the user turn before it, and what was said in between; system messages are not the user's."""
    turn = must(chat({"role": "system", "content": "be brief"}, user("one"), assistant("two"), user("three")))
    assert (turn.text, turn.before, turn.reply, turn.in_tools, turn.said) == ("three", "one", "two", False, ("two",))


def test_the_parts_of_a_turn_are_one_text() -> None:
    """A turn in parts is read in order; images are passed over."""
    parts = [
        {"type": "text", "text": "look"},
        {"type": "image_url", "image_url": {"url": "x"}},
        {"type": "text", "text": "here"},
    ]
    assert must(chat(user(parts))).text == "look\nhere"


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "system", "content": "only rules"}],
        [user([{"type": "image_url", "image_url": {"url": "x"}}])],
        [user("   \n ")],
    ],
)
def test_a_user_who_wrote_nothing_has_no_turn(messages: list[dict[str, object]]) -> None:
    """Images only, blanks only, or no user at all: there is nothing to route by."""
    assert turn_of(chat(*messages)) is None


def test_a_users_name_is_not_what_he_says() -> None:
    """The `name` field of a message is not part of the question."""
    assert must(chat({**user("hello there"), "name": "Ann"})).text == "hello there"


def test_a_tool_that_has_answered_since_is_noticed() -> None:
    """Between a tool's result and the model's next words, the user has not spoken."""
    call = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
    }
    result = {"role": "tool", "tool_call_id": "1", "content": "42"}
    assert must(chat(user("what is it"), call, result)).in_tools
    assert not must(chat(user("what is it"), call, result, assistant("42"), user("thanks a lot"))).in_tools


def test_a_long_turn_is_cut() -> None:
    """A megabyte of text costs four kilobytes of work."""
    turn = must(
        chat(user("x" * 1_000_000), assistant("y" * 1_000_000), user([{"type": "text", "text": "z" * 3000}] * 100))
    )
    assert max(len(turn.text), len(turn.before), len(turn.reply)) <= 4200


def test_a_turn_never_shows_its_words() -> None:
    """Its repr may be logged."""
    assert "password" not in repr(must(chat(user("my password is hunter2"))))


@pytest.mark.parametrize(
    "text",
    ["and how do I cancel it?", "what about the other one?", "in euros?", "why?", "change that", "How about tomorrow"],
)
def test_words_that_point_back_are_recognised(text: str) -> None:
    """Short or pointing questions lean on what came before."""
    assert leans_on_before(text)


@pytest.mark.parametrize(
    "text",
    [
        "how do I reset my password for the online shop",
        "thanks!",
        "ok great, got it",
        "hello",
        "I have had this problem since the last update and it does not go away",
    ],
)
def test_whole_questions_and_courtesies_stand_alone(text: str) -> None:
    """A greeting after a question is not that question again."""
    assert not leans_on_before(text)


def test_an_utterance_is_known_however_it_is_typed() -> None:
    """Case, punctuation and spacing do not make another utterance; words do."""
    assert normal("  Reset my PASSWORD!!") == normal("reset my password")
    assert normal("don't reset") != normal("do reset")
    assert normal("?!") == ""


TEMPLATE = "Do you mean {first} or {second}?"
INTENTS = ["reset_password", "billing-error", "technical"]


@given(st.permutations(INTENTS))
def test_our_own_question_is_recognised(order: list[str]) -> None:
    """What `ask` says, `options` understands, for any two intents; and nothing else."""
    clarify = Clarify(TEMPLATE, INTENTS)
    question = clarify.ask(order[0], order[1])
    assert clarify.options(f" {question}\n") == (order[0], order[1])
    assert clarify.asked(["hello", question])
    assert not clarify.asked([question + " Or something else?", "Do you mean tea or coffee?", "x" * 100_000])


@given(st.text(max_size=30))
def test_any_template_text_is_taken_literally(text: str) -> None:
    """Dots, brackets and backslashes in a template are only themselves."""
    template = text.replace("{", "{{").replace("}", "}}") + " {second}, {first}, {first}"
    clarify = Clarify(template, INTENTS)
    assert clarify.options(clarify.ask("technical", "reset_password")) == ("technical", "reset_password")


def test_a_question_without_names_offers_nothing() -> None:
    """It is recognised, so it is not asked twice, but a reply to it picks nothing."""
    clarify = Clarify("Could you say that in other words?", INTENTS)
    assert clarify.asked([clarify.ask("technical", "reset_password")])
    assert clarify.options(clarify.ask("technical", "reset_password")) is None


@pytest.mark.parametrize(
    ("reply", "picked"),
    [
        ("the first", "reset_password"),
        ("The second one, please", "billing-error"),
        ("2", "billing-error"),
        ("two", "billing-error"),
        ("b", "billing-error"),
        ("password", "reset_password"),
        ("it's about billing", "billing-error"),
        ("the latter", "billing-error"),
        ("neither", None),
        ("not billing", None),
        ("password and billing", None),
        ("first or second, I don't know", None),
        ("one of them", None),
        ("a refund", None),
        ("", None),
        ("my cat walked over the keyboard and now billing shows twelve invoices that I never asked for", None),
    ],
)
def test_a_reply_picks_one_or_none(reply: str, picked: str | None) -> None:
    """By place or by name; denials, both, neither and whole new questions pick nothing."""
    assert chosen(reply, "reset_password", "billing-error") == picked


def test_a_title_is_words() -> None:
    """Names in the config become words in a sentence."""
    assert title("reset_password") == "reset password"
    assert title("billing-error") == "billing error"
