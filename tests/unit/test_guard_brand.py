"""Names that must not be said, in all the ways they are written; and the phrases in which they may."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guardrails.build import build
from guardrails.config import GuardrailConfig, problems
from guardrails.subjects.brands import Brands, forms
from tests.fixtures.guard_world import answer, blocked, exchange_of, text_of, through
from tests.properties.test_guard_window import through as spans_through

CONFIG = {
    "rivals": GuardrailConfig(use="brand", on=["output"], action="mask", deny=["BlueBird", "Acme Corp", "apple"], allow=["apple pie"], on_error="closed"),
    "strict": GuardrailConfig(use="brand", on=["output"], action="block", deny=["BlueBird"], on_error="closed"),
}  # fmt: skip


@cache
def brands() -> Brands:
    return Brands(["BlueBird", "Acme Corp", "apple"], ["apple pie", "an apple a day"])


@pytest.mark.parametrize(
    "text",
    ["BlueBird", "bluebird", "blue bird", "Blue-Bird", "blue_bird", "BLUEBIRDS", "blue-birds", "Blue\u200bBird", "b1uebird", "b l u e b i r d",
     "B.L.U.E.B.I.R.D", "acme corp", "AcmeCorp", "Acme-Corps", "acme  corp", "4cme corp".replace(" ", ""), "Apples", "Ｂｌｕｅｂｉｒｄ"],
)  # fmt: skip
async def test_a_name_is_found_in_all_its_forms(text: str) -> None:
    """Case, plural, blanks and hyphens, camel case, digits for letters, letter by letter; the possessive stays."""
    out = await through(
        exchange_of(("user", "hi")), build(CONFIG, ["rivals"]).checks, answer(list(f"Try {text}'s one."))
    )
    assert text_of(out) == "Try [BRAND]'s one."


@pytest.mark.parametrize(
    "text", ["bluebirding", "ablue bird", "acme corporal", "pineapples", "apple pie", "An apple a day keeps"]
)
async def test_longer_words_and_allowed_phrases_are_let_by(text: str) -> None:
    """A name inside another word is another word; a phrase that is allowed has it with leave."""
    assert brands().find(f"Try {text} now") == []


async def test_a_block_stops_before_the_name() -> None:
    """Streamed: what came before is out, the name is not."""
    exchange = exchange_of(("user", "hi"))
    out = await through(exchange, build(CONFIG, ["strict"]).checks, answer(["Better than ", "blue", "-", "bird is"]))
    assert text_of(out) == "Better than "
    found = blocked(out)
    assert found is not None
    assert found.category == "brand"
    assert [v.header for v in exchange.verdicts] == ["strict=block:1"]


PIECES = st.sampled_from(
    [
        "blue",
        "bird",
        "Bird",
        "s",
        "apple",
        "pie",
        "an",
        "a day",
        " ",
        "  ",
        "-",
        "_",
        ".",
        "acme",
        "corp",
        "'s",
        "b l u e b i r",
        " d",
        "x",
    ]
)


@settings(max_examples=200, deadline=None)
@given(st.lists(PIECES, max_size=12).map("".join), st.data())
def test_every_chunking_finds_what_the_whole_text_has(text: str, data: st.DataObject) -> None:
    """The scanner's law, allowed phrases and all."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    chunks = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    whole = [(span.kind, span.start, span.end) for span in brands().find(text)]
    assert spans_through(brands(), chunks) == whole
    assert spans_through(brands(), list(text)) == whole


def test_forms_are_bounded_and_slips_are_named() -> None:
    """A long list stays a list; one allowed word would undo the check."""
    assert len(forms("International Business Machines")) < 500
    assert forms("+") == ["+"]
    check = GuardrailConfig(
        use="brand", on=["output"], action="mask", on_error="closed", deny=["apple"], allow=["apple"]
    )
    assert [path for path, _ in problems({"g": check})] == ["guardrails.g.allow[0]"]
    assert ".deny" in next(iter(problems({"g": GuardrailConfig(use="brand", action="flag")})))[0]
