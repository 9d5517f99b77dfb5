"""Ids of tool calls that one provider gave and another would refuse."""

from __future__ import annotations

import copy
import json
import re

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.plan import Target
from gateway.dialects.call_ids import fit_messages, fitted
from gateway.dialects.registry import upstream_dialects
from tests.fixtures.dialects import LAW, chat

NINE = re.compile("[a-zA-Z0-9]{9}")
TARGET = Target(provider="p", model="m")
HISTORY = [
    {"role": "user", "content": "hi"},
    {"role": "assistant", "content": None, "tool_calls": [
        {"id": "functions.weather:0", "type": "function", "function": {"name": "weather", "arguments": "{}"}},
        {"id": "a1b2c3d4e", "type": "function", "function": {"name": "weather", "arguments": "{}"}},
    ]},
    {"role": "tool", "tool_call_id": "functions.weather:0", "content": "sun"},
    {"role": "tool", "tool_call_id": "a1b2c3d4e", "content": "rain"},
]  # fmt: skip


@LAW
@given(st.text(max_size=60))
def test_an_id_is_made_to_fit_once_and_for_all(id: str) -> None:
    """What is made fits, is the same each time, and stays as it is when it comes again."""
    made = fitted(id, NINE, 9)
    assert NINE.fullmatch(made)
    assert fitted(id, NINE, 9) == made == fitted(made, NINE, 9)
    assert (made == id) == bool(NINE.fullmatch(id))


@LAW
@given(st.sets(st.text(max_size=30), max_size=50))
def test_different_calls_stay_different(ids: set[str]) -> None:
    """No two ids become one."""
    assert len({fitted(id, NINE, 9) for id in ids}) == len(ids)


def test_a_call_and_its_result_still_agree() -> None:
    """Both sides of each call are renamed alike, ids that fit are kept, and the client's messages are not written to."""
    before = copy.deepcopy(HISTORY)
    made = fit_messages(HISTORY, 9)
    first, second = (call["id"] for call in made[1]["tool_calls"])
    assert NINE.fullmatch(first)
    assert second == "a1b2c3d4e"
    assert [made[2]["tool_call_id"], made[3]["tool_call_id"]] == [first, second]
    assert made[0] is HISTORY[0]
    assert before == HISTORY


def test_other_dialects_get_ids_that_they_take() -> None:
    """Anthropic takes no dots and colons in an id; Converse does, up to 64 characters."""
    request = chat(messages=HISTORY, tools=[{"type": "function", "function": {"name": "weather"}}])
    said = json.loads(upstream_dialects()["anthropic"].call(request, TARGET, False, {}).body)["messages"]
    ids = [block["id"] for block in said[1]["content"]]
    assert re.fullmatch("[a-zA-Z0-9_-]+", ids[0])
    assert [block["tool_use_id"] for block in said[2]["content"]] == ids
    said = json.loads(upstream_dialects()["converse"].call(request, TARGET, False, {}).body)["messages"]
    assert said[1]["content"][0]["toolUse"]["toolUseId"] == "functions.weather:0"
    long = [{**message} for message in copy.deepcopy(HISTORY)]
    long[1]["tool_calls"][0]["id"] = long[2]["tool_call_id"] = "x" * 65  # type: ignore[index]
    said = json.loads(upstream_dialects()["converse"].call(chat(messages=long), TARGET, False, {}).body)["messages"]
    made = said[1]["content"][0]["toolUse"]["toolUseId"]
    assert len(made) == 24
    assert said[2]["content"][0]["toolResult"]["toolUseId"] == made
