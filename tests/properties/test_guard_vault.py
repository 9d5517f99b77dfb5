"""Masking and restoring, as laws: what goes in comes out, whatever stands around it and however the answer is cut."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from guardrails.asked.masking import masked
from guardrails.finding.spans import Span
from guardrails.hiding.restore import Placeholders, Restorer, restore
from guardrails.hiding.vault import Vault, blanked, escaped, unescaped

KINDS = ("EMAIL_ADDRESS", "PERSON", "API_KEY")
SURROUND = st.text(st.sampled_from('[]\\_ \n1AEMIL_DRSaemildrs"é[[]]'), max_size=20)
PIECES = st.one_of(
    SURROUND,
    st.sampled_from(
        ["[[EMAIL_ADDRESS_1]]", "[[email_address_2]]", "[[ PERSON_1 ]]", "\\[\\[API\\_KEY\\_1\\]\\]", "[[EMAIL_ADDRESS_", "[[", "]]", "\\"]
    ),
)  # fmt: skip
VALUES = st.text(st.sampled_from('ab@.c"\\\n[]é1_'), min_size=1, max_size=8)
PARTS = st.lists(st.tuples(PIECES, st.sampled_from(KINDS), VALUES), max_size=6)


def assembled(parts: list[tuple[str, str, str]], tail: str) -> tuple[str, list[Span]]:
    """A text, and the spans of the values planted in it."""
    text, spans = "", []
    for before, kind, value in parts:
        text += before
        spans.append(Span(kind, len(text), len(text) + len(value)))
        text += value
    return text + tail, spans


def cut(text: str, places: list[int]) -> list[str]:
    places = sorted(place % (len(text) + 1) for place in places)
    return [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]


def streamed(vault: Vault, chunks: list[str], as_json: bool = False) -> str:
    restorer = Restorer(Placeholders(vault.values), as_json)
    return "".join([*map(restorer.push, chunks), restorer.finish()])


@settings(max_examples=400)
@given(PARTS, PIECES, st.lists(st.integers(0, 500), max_size=10))
def test_unmask_of_mask_is_the_text_itself(parts: list[tuple[str, str, str]], tail: str, places: list[int]) -> None:
    """For every text, also one that contains look-alikes of placeholders, unmask(mask(text)) == text in any chunking."""
    text, spans = assembled(parts, tail)
    vault = Vault([text])
    hidden = masked(text, spans, vault, restore=True)
    assert restore(hidden, vault.values) == text
    assert streamed(vault, cut(hidden, places)) == text
    assert streamed(vault, list(hidden)) == text


@settings(max_examples=400)
@given(PARTS, PIECES, st.lists(st.integers(0, 500), max_size=10))
def test_chunking_never_changes_what_is_restored(
    parts: list[tuple[str, str, str]], tail: str, places: list[int]
) -> None:
    """Whatever a model makes of the placeholders, restoring its answer in pieces is restoring it whole."""
    text, _ = assembled(parts, tail)
    vault = Vault()  # knows nothing of the text, so look-alikes in it are the model's bent copies
    masked("".join(value for _, _, value in parts), _own_spans(parts), vault, restore=True)
    whole = restore(text, vault.values)
    assert streamed(vault, cut(text, places)) == whole
    assert streamed(vault, list(text)) == whole


def _own_spans(parts: list[tuple[str, str, str]]) -> list[Span]:
    spans, at = [], 0
    for _, kind, value in parts:
        spans.append(Span(kind, at, at + len(value)))
        at += len(value)
    return spans


@given(
    st.lists(st.tuples(st.sampled_from(KINDS), VALUES), min_size=1, max_size=5),
    st.lists(st.integers(0, 300), max_size=8),
)
def test_restored_tool_arguments_are_json_that_says_the_originals(
    values: list[tuple[str, str]], places: list[int]
) -> None:
    """Inside a tool call's arguments originals are escaped: the JSON parses, and its strings are the values."""
    vault = Vault()
    raw = json.dumps([f"to {vault.issue(kind, value)}!" for kind, value in values])
    restored = streamed(vault, cut(raw, places), as_json=True)
    assert json.loads(restored) == [f"to {value}!" for _, value in values]


@given(st.text(max_size=30))
def test_escaping_is_undone_by_unescaping(text: str) -> None:
    """unescaped(escaped(t)) == t, and blanking keeps every offset."""
    assert unescaped(escaped(text)) == text
    assert len(blanked(escaped(text))) == len(escaped(text))


@given(PARTS)
def test_same_value_same_placeholder_and_numbers_follow_first_appearance(parts: list[tuple[str, str, str]]) -> None:
    """Masking is a function of the text: the same conversation is masked the same way each time it is sent."""
    text, spans = assembled(parts, "")
    first, second = Vault([text]), Vault([text])
    assert masked(text, spans, first, True) == masked(text, spans, second, True)
    assert len(set(first.values.values())) <= len(first.values)
    assert len(first) == len({(kind, value) for _, kind, value in parts})


@given(st.text(st.sampled_from("[]EMAILADRS_12 \\"), max_size=60))
def test_what_was_not_issued_is_left_alone(text: str) -> None:
    """With no placeholder issued, restoring changes nothing."""
    assert restore(text, {}) == text


@given(st.lists(VALUES, min_size=1, max_size=6))
def test_a_vault_tells_nobody_its_values(values: list[str]) -> None:
    """repr shows counts only."""
    vault = Vault()
    for value in values:
        vault.issue("EMAIL_ADDRESS", value)
    assert repr(vault) == f"Vault(issued={len(set(values))}, restorable={len(set(values))})"


@given(SURROUND, st.integers(1, 30))
def test_only_a_beginning_of_an_issued_placeholder_is_held(text: str, number: int) -> None:
    """What the restorer holds is a suffix of the text that can still become a placeholder, and it is short."""
    vault = Vault()
    for value in range(number):
        vault.issue("PERSON", str(value))
    restorer = Restorer(Placeholders(vault.values))
    restorer.push(text)
    assert text.endswith(restorer.held)
    assert len(restorer.held) <= 3 * len(f"[[PERSON_{number}]]")
    assert not restorer.held or restorer.held[0] in "[\\"
