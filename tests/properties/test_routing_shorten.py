"""Shortening a conversation: whatever is left out, what is left is a conversation, and the latest question is in it."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.request import Request
from gateway.core.tokens import estimate, text_tokens
from gateway.dialects.registry import dialects
from routing.shorten import CUT, shorten

OPENAI, ANTHROPIC, RESPONSES, GEMINI = (dialects()[name] for name in ("openai", "anthropic", "responses", "gemini"))
SAID = st.text(st.characters(codec=None), min_size=1, max_size=200)
EXCHANGE = st.tuples(SAID, SAID, st.integers(0, 2))
"""What the user says, what is answered, and how many rounds of tools come before that."""
TALK = st.lists(EXCHANGE, min_size=1, max_size=6)


def openai(talk: list[tuple[str, str, int]]) -> Request:
    messages: list[dict[str, Any]] = [{"role": "system", "content": "Be brief."}]
    for number, (asked, answered, rounds) in enumerate(talk):
        messages.append({"role": "user", "content": asked})
        for at in range(rounds):
            id = f"c{number}-{at}"
            call = {"id": id, "type": "function", "function": {"name": "f", "arguments": "{}"}}
            messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
            messages.append({"role": "tool", "tool_call_id": id, "content": answered})
        messages.append({"role": "assistant", "content": answered})
    return OPENAI.read("chat", {"model": "m", "messages": messages[:-1]})


def anthropic(talk: list[tuple[str, str, int]]) -> Request:
    messages: list[dict[str, Any]] = []
    for number, (asked, answered, rounds) in enumerate(talk):
        messages.append({"role": "user", "content": asked})
        for at in range(rounds):
            id = f"c{number}-{at}"
            use = {"type": "tool_use", "id": id, "name": "f", "input": {"q": asked}}
            messages.append({"role": "assistant", "content": [use]})
            result = {"type": "tool_result", "tool_use_id": id, "content": answered}
            messages.append({"role": "user", "content": [result]})
        messages.append({"role": "assistant", "content": answered})
    body = {"model": "m", "max_tokens": 9, "system": "Be brief.", "messages": messages[:-1]}
    return ANTHROPIC.read("chat", body)


def responses(talk: list[tuple[str, str, int]]) -> Request:
    items: list[dict[str, Any]] = []
    for number, (asked, answered, rounds) in enumerate(talk):
        items.append({"role": "user", "content": asked})
        for at in range(rounds):
            id = f"c{number}-{at}"
            items.append({"type": "function_call", "call_id": id, "name": "f", "arguments": "{}"})
            items.append({"type": "function_call_output", "call_id": id, "output": answered})
        items.append({"role": "assistant", "content": answered})
    return RESPONSES.read("chat", {"model": "m", "instructions": "Be brief.", "input": items[:-1]})


def gemini(talk: list[tuple[str, str, int]]) -> Request:
    contents: list[dict[str, Any]] = []
    for number, (asked, answered, rounds) in enumerate(talk):
        contents.append({"role": "user", "parts": [{"text": asked}]})
        for at in range(rounds):
            id = f"c{number}-{at}"
            contents.append(
                {"role": "model", "parts": [{"functionCall": {"id": id, "name": "f", "args": {"q": asked}}}]}
            )
            result = {"functionResponse": {"id": id, "name": "f", "response": {"output": answered}}}
            contents.append({"role": "user", "parts": [result]})
        contents.append({"role": "model", "parts": [{"text": answered}]})
    system = {"parts": [{"text": "Be brief."}]}
    return GEMINI.read("chat", {"model": "m", "systemInstruction": system, "contents": contents[:-1]})


MAKERS = st.sampled_from([openai, anthropic, responses, gemini])


def turns(request: Request) -> list[dict[str, Any]]:
    body = request.body
    found: list[dict[str, Any]] = body.get("messages") or body.get("input") or body["contents"]
    return found


def calls_and_results(request: Request) -> tuple[list[str], list[str]]:
    calls: list[str] = []
    results: list[str] = []
    for turn in turns(request):
        calls += [call["id"] for call in turn.get("tool_calls", ())]
        if "tool_call_id" in turn:
            results.append(turn["tool_call_id"])
        if "call_id" in turn:
            (calls if turn["type"] == "function_call" else results).append(turn["call_id"])
        for part in turn.get("parts", ()):
            calls += [part["functionCall"]["id"]] if "functionCall" in part else []
            results += [part["functionResponse"]["id"]] if "functionResponse" in part else []
        for block in turn["content"] if isinstance(turn.get("content"), list) else ():
            if block["type"] == "tool_use":
                calls.append(block["id"])
            elif block["type"] == "tool_result":
                results.append(block["tool_use_id"])
    return calls, results


@given(TALK, MAKERS, st.floats(0, 400), st.integers(1, 3))
def test_calls_keep_their_results_and_the_latest_turns_stay(
    talk: list[tuple[str, str, int]], make: Any, too_many: float, keep: int
) -> None:
    """Every call that is left has its result, instructions and the newest user turns stay, the rest keeps its order."""
    request = make(talk)
    before = copy.deepcopy(request.body)
    made = shorten(request, too_many, keep)
    assert request.body == before, "the original is as it was"
    left = turns(made.request)
    walked = iter(turns(request))
    assert all(turn in walked for turn in left), "the order is as it was"
    assert left[-1] == turns(request)[-1]
    calls, results = calls_and_results(made.request)
    assert calls == results[: len(calls)]
    assert len(calls) == len(results)
    asked = [slot.text for slot in made.request.slots if slot.role == "user" and slot.kind == "text"]
    assert asked[-keep:] == [said for said, _, _ in talk][-keep:]
    assert [slot.text for slot in made.request.slots if slot.role == "system"] == ["Be brief."]
    assert left[0]["role"] in ("system", "user")


@given(TALK, MAKERS, st.floats(0, 400))
def test_what_it_says_is_lost_is_lost(talk: list[tuple[str, str, int]], make: Any, too_many: float) -> None:
    """The estimate falls by what was told, and by no more than one exchange too much."""
    request = make(talk)
    made = shorten(request, too_many, 1)
    assert estimate(request) - estimate(made.request) >= int(made.tokens) - 1
    again = make(talk)
    slots = {(slot.path, slot.text) for slot in again.slots}
    assert {(slot.path, slot.text) for slot in made.request.slots} <= slots, (
        "nothing is rewritten, places are as they were"
    )


@given(st.lists(SAID, min_size=1, max_size=5), st.floats(1, 300))
def test_retrieved_text_is_cut_from_its_end(documents: list[str], too_many: float) -> None:
    """What is left of each is a beginning of it and a mark; what stands later is cut first, unless it is too short to be."""
    blocks: list[dict[str, Any]] = [
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": text}} for text in documents
    ]
    body = {
        "model": "m",
        "max_tokens": 9,
        "messages": [{"role": "user", "content": [*blocks, {"type": "text", "text": "?"}]}],
    }
    made = shorten(ANTHROPIC.read("chat", body), too_many, 1)
    left = [slot.text for slot in made.request.slots if slot.role == "retrieved"]
    assert len(left) == len(documents)
    cut = [now != then for now, then in zip(left, documents, strict=True) if text_tokens(then) > 3]
    assert cut == sorted(cut)
    for now, then in zip(left, documents, strict=True):
        if now != then:
            assert now.endswith(CUT)
            assert then.startswith(now.removesuffix(CUT).rstrip()) or then.strip().startswith(
                now.removesuffix(CUT).strip()
            )


def test_a_placeholder_is_not_cut_in_two() -> None:
    """What stands for a hidden value is there whole or not at all."""
    text = "a " * 40 + "[[PERSON_123456789]]" * 3
    for too_many in range(1, 40):
        block = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": text}}
        body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": [block]}]}
        made = shorten(ANTHROPIC.read("chat", body), too_many, 1)
        left = made.request.slots[0].text.removesuffix(CUT)
        assert left.count("[[") == left.count("]]")
        assert left.replace("[[PERSON_123456789]]", "").replace("a", "").strip() == ""
