"""What trusted targets get instead of the masked request, and what their answers are turned back into."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from typing import Any

import pytest

from gateway.core.errors import CheckFailed
from gateway.core.events import ChoiceFinished, Event, Finished, Reasoning, Started, Text, ToolCall, Unknown, Usage
from gateway.core.exchange import Exchange
from gateway.core.reveal import REVEAL
from gateway.dialects.registry import dialects
from guardrails.answered.tracks import MAX_HELD
from guardrails.build import build
from guardrails.config import GuardrailConfig
from guardrails.hiding.own_values import OwnValues, folded
from guardrails.hiding.reveal import REVEALING
from guardrails.hiding.vault import VAULT
from guardrails.reading.json_spelling import spoken
from tests.fixtures.guard_world import answer, arguments_of, call, exchange_of, said, screened, text_of, through

CONFIG = {
    "mail": GuardrailConfig(use="pii", on=["input", "retrieved"], action="mask", internal="original", entities=["EMAIL_ADDRESS"], on_error="closed"),
    "cards": GuardrailConfig(use="pii", on=["input", "retrieved"], action="mask", entities=["CREDIT_CARD"], on_error="closed"),
    "hidden": GuardrailConfig(use="pii", on=["input"], action="mask", internal="mask", entities=["EMAIL_ADDRESS"], on_error="closed"),
    "phrases": GuardrailConfig(use="phrases", on=["output"], action="block", deny=["bluebird"], on_error="closed", stream="full"),
}  # fmt: skip
BOB, CARD = "bob@example.com", "4111 1111 1111 1111"


async def asked(*slots: tuple[Any, ...], names: tuple[str, ...] = ("mail", "cards")) -> Exchange:
    exchange = exchange_of(*slots)
    assert await screened(build(CONFIG, names), exchange) is None
    return exchange


def shown(exchange: Exchange) -> list[str]:
    """The texts that a trusted target would get."""
    reveal = exchange.facts.get(REVEAL)
    request = exchange.asked() if reveal is None else reveal.request(exchange.asked())
    return [slot.text for slot in request.slots]


async def test_one_call_gets_what_its_checks_leave_to_the_house() -> None:
    """Values of `internal: original` in a copy; values of other masks stay masked; the request itself does, too."""
    exchange = await asked(("user", f"I am {BOB}, card {CARD}. {BOB}!"))
    before = copy.deepcopy(exchange.asked().body)
    assert said(exchange) == ["I am [[EMAIL_ADDRESS_1]], card [[CREDIT_CARD_1]]. [[EMAIL_ADDRESS_1]]!"]
    assert shown(exchange) == [f"I am {BOB}, card [[CREDIT_CARD_1]]. {BOB}!"]
    assert exchange.asked().body == before


async def test_nothing_to_show_costs_no_copy() -> None:
    """Without a value, and without a check that says so, a trusted target gets the same request."""
    exchange = await asked(("user", f"card {CARD}"))
    assert exchange.facts.get(REVEAL) is None
    exchange = await asked(("user", f"I am {BOB}"), names=("hidden",))
    assert exchange.facts.get(REVEAL) is None
    exchange = await asked(("user", f"I am {BOB}"))
    reveal = exchange.facts.get(REVEAL)
    assert reveal is not None
    exchange.asked().slots[0].replace("nothing here")
    assert reveal.request(exchange.asked()) is exchange.asked()


@pytest.mark.parametrize("names", [("hidden", "mail"), ("mail", "hidden")])
async def test_a_value_that_one_check_hides_stays_hidden(names: tuple[str, ...]) -> None:
    """The stricter of two checks holds, wherever the value stands and whichever found it there first."""
    config = {**CONFIG, "hidden": GuardrailConfig(use="pii", on=["retrieved"], action="mask", entities=["EMAIL_ADDRESS"], on_error="closed")}  # fmt: skip
    config["mail"] = GuardrailConfig(use="pii", on=["input"], action="mask", internal="original", entities=["EMAIL_ADDRESS"], on_error="closed")  # fmt: skip
    exchange = exchange_of(("user", f"I am {BOB}"), ("retrieved", f"{BOB} is known"))
    assert await screened(build(config, names), exchange) is None
    assert shown(exchange) == ["I am [[EMAIL_ADDRESS_1]]", "[[EMAIL_ADDRESS_1]] is known"]


async def test_what_only_looks_like_a_placeholder_is_left_alone() -> None:
    """The client's own brackets are its own."""
    exchange = await asked(("user", f"[[EMAIL_ADDRESS_1]] and {BOB}"))
    assert said(exchange) == ["[[EMAIL_ADDRESS_1]] and [[EMAIL_ADDRESS_2]]"]
    assert shown(exchange) == [f"[[EMAIL_ADDRESS_1]] and {BOB}"]


BODIES: dict[str, dict[str, Any]] = {
    "openai": {
        "model": "m",
        "messages": [
            {"role": "system", "content": f"Serve {BOB}."},
            {"role": "user", "content": [{"type": "text", "text": f"I am {BOB}"}, {"type": "image_url", "image_url": {"url": "data:,"}}]},
            {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"to": "a\\\\b\\n' + BOB + '"}'}}]},
            {"role": "tool", "tool_call_id": "c", "content": f"sent to {BOB}"},
        ],
    },
    "anthropic": {
        "model": "m",
        "max_tokens": 9,
        "system": [{"type": "text", "text": f"Serve {BOB}.", "cache_control": {"type": "ephemeral"}}],
        "messages": [
            {"role": "user", "content": f"I am {BOB}"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": "f", "input": {"to": [f'say "{BOB}"'], "n": 1}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": [{"type": "text", "text": f"sent to {BOB}"}]}]},
        ],
    },
    "responses": {
        "model": "m",
        "store": False,
        "instructions": f"Serve {BOB}.",
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": f"I am {BOB}"}]},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": '{"to": "\\u0062ob@example.com ' + BOB + '"}'},
            {"type": "function_call_output", "call_id": "c", "output": f"sent to {BOB}"},
        ],
    },
    "gemini": {
        "model": "m",
        "systemInstruction": {"parts": [{"text": f"Serve {BOB}."}]},
        "contents": [
            {"role": "user", "parts": [{"text": f"I am {BOB}"}, {"inlineData": {"mimeType": "image/png", "data": "aGk="}}]},
            {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {"to": [f'say "{BOB}"'], "n": 1}}}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"output": f"sent to {BOB}"}}}]},
        ],
    },
}  # fmt: skip


@pytest.mark.parametrize("dialect", BODIES)
async def test_the_copy_is_what_the_client_sent(dialect: str) -> None:
    """In every dialect, in every place, to the last escape; and the masked body has no original in it."""
    given = BODIES[dialect]
    exchange = exchange_of()
    exchange.request = dialects()[dialect].read("chat", copy.deepcopy(given))
    assert await screened(build(CONFIG, ["mail"]), exchange) is None
    masked = exchange.asked()
    assert BOB not in json.dumps(masked.body)
    reveal = exchange.facts.get(REVEAL)
    assert reveal is not None
    in_path = given.keys() - masked.body.keys()  # what the URL says in this dialect, and no body
    assert in_path <= {"model"}
    assert reveal.request(masked).body == {name: value for name, value in given.items() if name not in in_path}
    assert BOB not in json.dumps(masked.body)


async def test_it_says_nothing_of_what_it_knows() -> None:
    """Not when printed, alone or in the facts."""
    exchange = await asked(("user", f"I am {BOB}"))
    reveal = exchange.facts.get(REVEAL)
    assert reveal is not None
    assert BOB not in repr(exchange.facts) + repr(reveal) + repr(exchange)


# --- the answer


async def answered(exchange: Exchange, events: Sequence[Event], *names: str, revealed: bool = True) -> list[Event]:
    """What comes out before `restore`."""
    exchange.revealed = revealed
    return await through(exchange, build(CONFIG, ["mail", "cards", *names]).checks, events)


async def test_originals_become_placeholders_before_any_check() -> None:
    """Across pieces; what the checks, the caches and the records see is masked."""
    exchange = await asked(("user", f"I am {BOB}"))
    events = answer(["Hello bo", "b@exam", "ple.com, ", "bob", " and bob@ex."])
    assert text_of(await answered(exchange, events)) == "Hello [[EMAIL_ADDRESS_1]], bob and bob@ex."
    assert not exchange.unshared


async def test_the_client_gets_what_the_model_wrote() -> None:
    """Restored, also in another letter case; an answer with such a spelling is nobody else's."""
    exchange = await asked(("user", f"I am {BOB}"))
    exchange.revealed = True
    guards = build(CONFIG, ["mail", "cards"])
    assert guards.restore is not None
    said_it = f"{BOB}, or BOB@Example.COM"
    out = await through(exchange, [*guards.checks, guards.restore], answer([said_it]))
    assert text_of(out) == said_it
    assert exchange.unshared


async def test_an_answer_of_another_target_is_not_touched() -> None:
    """Whoever was not shown originals cannot give them away; the transform costs nothing there."""
    exchange = await asked(("user", f"I am {BOB}"))
    events = answer([f"you are {BOB}"])
    assert await answered(exchange, events, revealed=False) == events


async def test_arguments_are_masked_by_what_they_mean() -> None:
    """However they are escaped; they stay JSON."""
    exchange = await asked(("user", f"I am {BOB}"))
    raw = '{"a": "\\u0062ob\\u0040example.com", "b": "x\\n' + BOB + '", "c": "é"}'
    out = arguments_of(await answered(exchange, call([raw[:9], raw[9:30], raw[30:]])))
    assert json.loads(out) == {"a": "[[EMAIL_ADDRESS_1]]", "b": "x\n[[EMAIL_ADDRESS_1]]", "c": "é"}


async def test_calls_without_a_value_keep_their_pieces() -> None:
    """The same events, in order, after the text that came before them."""
    exchange = await asked(("user", f"I am {BOB}"))
    events = [Started("r", "m", 1), Text("look: bo"), *call(['{"a"', ": 1}"])[1:]]
    out = await answered(exchange, events)
    assert [event for event in out if type(event) is ToolCall] == [e for e in events if type(e) is ToolCall]
    assert [type(event).__name__ for event in out][:4] == ["Started", "Text", "Text", "ToolCall"]
    assert text_of(out) == "look: bo"


async def test_every_place_of_an_answer_is_masked() -> None:
    """Reasoning, fields beside the text, unknown deltas whole and in pieces, and what comes with the ends."""
    exchange = await asked(("user", f"I am {BOB}"))
    note = {"note": [f"to {BOB}"]}
    events = [
        Started("r", "m", 1, note),
        Reasoning(f"{BOB} asks", 0, note),
        Text("hi ", 0, note),
        Unknown({"odd": f"see {BOB}"}),
        Unknown({"odd": "plain"}, 1),
        ChoiceFinished("stop", 0, note),
        ChoiceFinished("stop", 1),
        Usage(1, 1, raw=note, extra=note),
        Finished(),
    ]
    out = await answered(exchange, events)
    assert BOB not in repr(out)
    assert repr(out).count("[[EMAIL_ADDRESS_1]]") == 6
    pieces = [Started("r", "m", 1), Unknown({"odd": "bob@ex"}), Unknown({"odd": "ample.com"}), *answer([])[1:]]
    again = await asked(("user", f"I am {BOB}"))
    assert not [event for event in await answered(again, pieces) if type(event) is Unknown]
    assert again.unshared


async def test_log_probabilities_go_with_the_text_they_spell() -> None:
    """They would give the value away token by token."""
    exchange = await asked(("user", f"I am {BOB}"))
    tokens = {"logprobs": {"content": [{"token": "bob"}, {"token": "@example.com"}]}}
    out = await answered(exchange, [Started("r", "m", 1), Text(f"{BOB} ", 0, tokens), *answer([])[1:]])
    assert [event.extra for event in out if type(event) is Text] == [None]


async def test_what_cannot_be_masked_does_not_pass() -> None:
    """More than may be held back is a refusal, never a gap."""
    exchange = await asked(("user", f"I am {BOB}"))
    for events in (
        [ToolCall(0, "x" * (MAX_HELD + 1), "c", "f")],
        [Unknown({"odd": "x" * (MAX_HELD + 1)})],
        [ToolCall(at, "", "c", "f") for at in range(600)],
        [Text("x", at) for at in range(600)],
    ):
        with pytest.raises(CheckFailed) as caught:
            await answered(exchange, [Started("r", "m", 1), *events])
        assert BOB not in caught.value.message


@pytest.mark.parametrize(("text", "private"), [("Ask eve@example.org.", True), ("Ask Eve.", False)])
async def test_private_data_of_others_keeps_an_answer_out_of_the_caches(text: str, private: bool) -> None:
    """A model of the house knows the house. The client reads it, if no output check objects; nobody else does."""
    for kind in (Text, Reasoning):
        exchange = await asked(("user", f"I am {BOB}"))
        events = [Started("r", "m", 1), kind(text[:8]), kind(text[8:]), ChoiceFinished("stop"), Finished()]
        assert (await answered(exchange, events))[1:3] == events[1:3]
        assert exchange.unshared == private


async def test_placeholders_are_no_private_data() -> None:
    """An answer that repeats only the client's own values may be stored, masked."""
    exchange = await asked(("user", f"I am {BOB}, {CARD}"))
    await answered(exchange, answer([f"You are {BOB} with [[CREDIT_CARD_1]]."]))
    assert not exchange.unshared


async def test_checks_see_the_masked_answer() -> None:
    """The client's own value trips no check, as with any other target."""
    exchange = await asked(("user", "I am bluebird@example.com"))
    out = await answered(exchange, answer(["You are bluebird@example.com"]), "phrases")
    assert text_of(out) == "You are [[EMAIL_ADDRESS_1]]"


# --- finding


def test_the_longest_value_counts() -> None:
    """And where two stand in one place, none of either is left."""
    values = OwnValues({"[[A_1]]": "ann", "[[B_1]]": "ann@example.com", "[[C_1]]": "ANN@EXAMPLE.COM.AU"})
    spans = values.find("Ann ann@example.com ann@Example.com.au Hann")
    assert [(span.kind, span.start, span.end) for span in spans] == [
        ("[[A_1]]", 0, 3),
        ("[[B_1]]", 4, 19),
        ("[[C_1]]", 20, 38),
    ]


def test_folding_keeps_the_length() -> None:
    """Whatever the character; a fold that looked at its neighbours would depend on how a text is cut."""
    for code in range(0x11000):
        assert len(folded(chr(code))) == 1
    assert folded("ΟΔΟΣ") == folded("ΟΔΟ") + folded("Σ")


def test_nothing_to_find_finds_nothing() -> None:
    """No values, or empty ones."""
    for values in ({}, {"[[A_1]]": ""}):
        assert OwnValues(values).find("anything") == []
        assert OwnValues(values).settle("anything", 8) == 8


@pytest.mark.parametrize("value", ["plain", 'a "b" \\ / \n\t\r\b\f', "é😀\u2028", "\ud83d x", "\x00\x1f"])
def test_spoken_is_what_json_means(value: str) -> None:
    """With the way back, for both ways of escaping."""
    for ascii_only in (True, False):
        raw = json.dumps(value, ensure_ascii=ascii_only)
        text, places = spoken(raw)
        assert text == f'"{value}"'
        assert len(places) == len(text) + 1
        for at in range(1, len(text) - 1):
            assert json.loads('"' + raw[places[at] : places[at + 1]] + '"') == text[at]


async def test_the_vault_is_the_exchanges_own() -> None:
    """Two exchanges share nothing."""
    first, second = await asked(("user", f"I am {BOB}")), await asked(("user", "I am eve@example.org"))
    assert first.facts.get(VAULT) is not second.facts.get(VAULT)
    assert first.facts.get(REVEALING) is not second.facts.get(REVEALING)
    assert shown(second) == ["I am eve@example.org"]
