from __future__ import annotations

from typing import Any

import pytest

from cache.eligible import Limits, question_of, unfit
from cache.key import Scope
from gateway.core.request import Slot
from gateway.core.verdict import Verdict
from gateway.dialects.registry import dialects
from tests.fixtures.cache_world import chat, exchange

LIMITS = Limits(scope="user")
Q = "How do I reset a password?"
USER = {"role": "user", "content": Q}
IMAGE = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}


def messages(*turns: dict[str, Any]) -> dict[str, Any]:
    return {"model": "fast", "messages": list(turns)}


TAKEN = {
    "plain": chat(Q),
    "with a system prompt": messages({"role": "system", "content": "Be brief."}, USER),
    "with a developer prompt": messages({"role": "developer", "content": "Be brief."}, USER),
    "one text part": messages({"role": "user", "content": [{"type": "text", "text": Q}]}),
    "n is one": chat(Q, n=1, temperature=0.2, tools=[]),
}

LEFT = {
    "tools": chat(Q, tools=[{"type": "function", "function": {"name": "f"}}]),
    "tools by search": chat(Q, web_search_options={"a": 1}),
    "many_choices": chat(Q, n=2),
    "temperature": chat(Q, temperature=1.5),
    "multi_turn": messages(USER, {"role": "assistant", "content": "So."}, USER),
    "multi_turn of calls": messages(
        USER, {"role": "assistant", "content": None, "tool_calls": []}, {"role": "tool", "content": "x"}
    ),
    "multi_turn of users": messages(USER, USER),
    "multi_turn by prefill": messages(USER, {"role": "assistant", "content": "The"}),
    "attachment": messages({"role": "user", "content": [{"type": "text", "text": Q}, IMAGE]}),
    "attachment of text": messages({"role": "user", "content": [{"type": "text", "text": Q}] * 2}),
    "attachment without text": messages({"role": "user", "content": [IMAGE]}),
    "multi_turn after an image": messages({"role": "user", "content": [IMAGE]}, USER),
}


def gemini(*parts: dict[str, Any], **fields: Any) -> Any:
    body = {"model": "fast", "contents": [{"role": "user", "parts": list(parts)}], **fields}
    made = exchange(chat(Q))
    made.request = dialects()["gemini"].read("chat", body)
    return made


def test_geminis_questions_are_held_to_the_same() -> None:
    """One plain question is taken; settings and parts that say more leave it alone."""
    text, config = {"text": Q}, {"temperature": 0.2, "candidateCount": 1}
    slot = question_of(
        gemini(text, generationConfig=config, systemInstruction={"parts": [{"text": "Be brief."}]}), LIMITS
    )
    assert isinstance(slot, Slot)
    assert slot.text == Q
    image = {"inlineData": {"mimeType": "image/png", "data": ""}}
    assert question_of(gemini(text, image), LIMITS) == "attachment"
    assert question_of(gemini(text, generationConfig={"temperature": 1.5}), LIMITS) == "temperature"
    assert question_of(gemini(text, generationConfig={"candidateCount": 2}), LIMITS) == "many_choices"
    assert question_of(gemini(text, tools=[{"googleSearch": {}}]), LIMITS) == "tools"


@pytest.mark.parametrize("body", TAKEN.values(), ids=TAKEN.keys())
def test_one_plain_question_is_taken(body: dict[str, Any]) -> None:
    """A single question, with or without instructions, is the semantic cache's work."""
    slot = question_of(exchange(body), LIMITS)
    assert isinstance(slot, Slot)
    assert slot.text == Q


@pytest.mark.parametrize(("name", "body"), LEFT.items(), ids=LEFT.keys())
def test_anything_more_than_a_question_is_left_alone(name: str, body: dict[str, Any]) -> None:
    """Tools, several answers, high temperature, history and attachments: answers depend on more than the text."""
    assert question_of(exchange(body), LIMITS) == name.split()[0]


def test_masked_private_data_is_left_alone() -> None:
    """A question with a placeholder in it is somebody's own."""
    made = exchange(Q)
    made.verdicts.append(Verdict("private", "mask", "input", count=1))
    assert question_of(made, LIMITS) == "private"


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ("long", "why " * 81),
        ("long", "é" * 161),
        ("structured", "what does this do? ```print(1)```"),
        ("structured", "a\nb\nc\nd"),
        ("script", "日本の首都はどこですか"),
        ("script", "столица России какая"),
        ("short", "help"),
        ("short", "hello there"),
        ("fleeting", "What is the weather in Oslo?"),
        ("fleeting", "Who is president now?"),
        ("pointing", "Translate the following sentence"),
        ("", "What is the capital of Peru?"),
        ("", "Où est la gare de Lyon"),
    ],
)
def test_words_alone_can_rule_a_question_out(reason: str, text: str) -> None:
    """What changes with time, points elsewhere, is no question, or the encoder cannot hear, is left alone."""
    assert unfit(text, "user") == reason


@pytest.mark.parametrize(
    ("scope", "reason"), [("user", ""), ("key", "personal"), ("tenant", "personal"), ("route", "personal")]
)
def test_personal_questions_stay_with_one_user(scope: Scope, reason: str) -> None:
    """`My order` is another order for each user."""
    assert unfit("Where is my last order?", scope) == reason
