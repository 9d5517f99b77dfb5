"""Answers of targets that were shown originals, as laws: whatever the chunking, no original is seen behind the first
transform, and the client reads what the model wrote."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.events import Event, Reasoning, Text
from gateway.core.ports import Transform
from guardrails.build import build
from guardrails.config import GuardrailConfig
from guardrails.finding.spans import Span
from guardrails.finding.window import Window
from guardrails.hiding.own_values import _WORD, OwnValues, folded
from tests.fixtures.guard_world import answer, arguments_of, call, exchange_of, screened, text_of, through

CONFIG = {
    "private": GuardrailConfig(use="pii", on=["input"], action="mask", internal="original", on_error="closed",
                               entities=["EMAIL_ADDRESS", "CREDIT_CARD"], words={"NAME": ["Al", "Ann Lee", "Ann"]}),
}  # fmt: skip
GUARDS = build(CONFIG, ["private"])
REMASK = GUARDS.checks[0]
BACK: list[Transform] = [REMASK, *([GUARDS.restore] if GUARDS.restore else [])]
VALUES = ["bob@example.com", "bob@example.community", "4111 1111 1111 1111", "Ann Lee", "Ann", "Al"]
ASKED = "; ".join(VALUES)
PIECES = [*VALUES, "BOB@example.com", "ann lee", "bo", "b@", "example", ".com", "munity", "4111 ", "A", "l", "n", " ", "x", "é", "İ", "\n", '"', "\\", "[[", "[[NAME_1]]"]  # fmt: skip
TEXTS = st.lists(st.sampled_from(PIECES), max_size=14).map("".join)


def cut(data: st.DataObject, text: str) -> list[str]:
    places = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=len(text))))
    return [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]


def standing(text: str) -> list[Span]:
    """The longer values; shorter ones may stand inside a word, also one that ends in a placeholder now."""
    return OwnValues({value: value for value in VALUES if len(value) > 3}).find(text)


@given(st.data(), TEXTS)
def test_a_growing_text_is_found_as_the_whole(data: st.DataObject, text: str) -> None:
    """The scanners' law: what is settled is settled, and a value is found however it arrives."""
    scanner = OwnValues({str(at): value for at, value in enumerate(VALUES)})
    window, spans, at = Window(scanner), [], 0
    pieces = cut(data, text)
    for step in range(len(pieces) + 1):
        for piece in window.push(pieces[step]) if step < len(pieces) else window.finish():
            if piece.span is not None:
                spans.append(Span(piece.span.kind, at, at + piece.length))
            at += piece.length
    assert at == len(text)
    assert spans == scanner.find(text)
    low = folded(text)
    assert all(low[span.start : span.end] == folded(VALUES[int(span.kind)]) for span in spans)


@given(st.data(), TEXTS, st.sampled_from([Text, Reasoning]))
async def test_no_original_is_seen_and_none_is_lost(
    data: st.DataObject, text: str, kind: type[Text | Reasoning]
) -> None:
    """In text and in reasoning, to the letter, in any pieces."""
    exchange = exchange_of(("user", ASKED))
    await screened(GUARDS, exchange)
    exchange.revealed = True
    events: list[Event] = answer([])
    events[1:1] = [kind(piece) for piece in cut(data, text)]

    def told(out: list[Event]) -> str:
        return "".join(event.text for event in out if isinstance(event, kind))

    masked = await through(exchange, [REMASK], events)
    assert not standing(told(masked))
    if "[[" not in text:  # the model's own brackets may be taken for ours
        assert told(await through(exchange, BACK, events)) == text


@given(st.data(), TEXTS, st.booleans())
async def test_arguments_stay_json_and_say_the_same(data: st.DataObject, text: str, ascii_only: bool) -> None:
    """In either way of escaping, in any pieces."""
    exchange = exchange_of(("user", ASKED))
    await screened(GUARDS, exchange)
    exchange.revealed = True
    raw = json.dumps({"a": text, "b": [text]}, ensure_ascii=ascii_only)
    events = call(cut(data, raw))
    masked = json.loads(arguments_of(await through(exchange, [REMASK], events)))
    assert not standing(masked["a"])
    assert not standing(masked["b"][0])
    if "[[" not in text:
        out = arguments_of(await through(exchange, BACK, events))
        assert json.loads(out) == {"a": text, "b": [text]}


@given(st.data(), TEXTS)
async def test_nothing_is_held_that_could_go(data: st.DataObject, text: str) -> None:
    """What is kept back between two pieces is never more than the longest value, and a short one that stands right before
    it: were they parted, that would stand alone and be taken for one."""
    exchange = exchange_of(("user", ASKED))
    await screened(GUARDS, exchange)
    exchange.revealed = True
    out = await through(exchange, [REMASK], answer(cut(data, text)))
    short = max(len(value) for value in VALUES if len(value) < _WORD)
    assert exchange.held_chars <= max(map(len, VALUES)) + short
    assert text_of(out).replace("[[", "") != "" or not text.replace("[[", "")
