"""The toxicity check: what its list spells out is found on both sides, whole or streamed, and ordinary words are not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from guardrails.build import build
from guardrails.config import GuardrailConfig, problems
from guardrails.describe import describe
from guardrails.subjects.toxicity import CATEGORIES, entries, rate, read_entries
from tests.fixtures.guard_world import answer, blocked, exchange_of, screened, text_of, through

HARMLESS = [
    "The class passed the assessment, and Scunthorpe's analyst raised cocktails to it.",
    "If you feel you may kill yourself, please call a crisis line now; you are not alone.",
    "How do I kill a Python process that hangs?",
    "Immigrants are an important part of the city's economy.",
    "Muslims are all equal before the law, and so are Christians.",
]


def made(**keys: Any) -> dict[str, GuardrailConfig]:
    check = {"use": "toxicity", "on": ["input", "output"], "action": "block", "on_error": "closed", **keys}
    config = {"toxicity": GuardrailConfig(**check)}
    assert list(problems(config)) == []
    return config


@pytest.mark.parametrize(
    ("text", "category"),
    [
        ("honestly, FUCK   you", "harassment"),
        ("you are a fucking idiot", "harassment"),
        ("oh f\u200bu\u200bck you", "harassment"),
        ("what an a55hole", "harassment"),
        ("I will kill you", "violence"),
        ("all immigrants are vermin", "hate"),
        ("go kill yourself", "self-harm"),
        ("a blowjob", "sexual"),
    ],
)
def test_each_category_is_found_in_its_disguises(text: str, category: str) -> None:
    """Case, spacing, invisible characters and stand-ins for letters do not hide a wording of the list."""
    rated = rate(text)
    assert max(rated.scores, key=lambda name: rated.scores[name]) == category
    assert rated.scores[category] >= 0.5


@pytest.mark.parametrize("text", HARMLESS)
def test_ordinary_text_is_clean(text: str) -> None:
    """Words inside words, help in a crisis, and talk about groups are no hits."""
    assert rate(text).score < 0.5


@pytest.mark.parametrize("size", [1, 3, 100])
def test_a_stream_is_cut_before_the_wording(size: int) -> None:
    """In whatever pieces it comes, no character of a wording is sent."""
    text = "My view is this: you are a moron and more."
    guards = build(made(), ["toxicity"])
    out = asyncio.run(
        through(exchange_of(("user", "hi")), guards.checks, answer([text[at : at + size] for at in range(0, len(text), size)]))
    )  # fmt: skip
    assert text_of(out) == "My view is this: "
    stop = blocked(out)
    assert stop is not None
    assert stop.category == "toxicity"


def test_a_prompt_is_refused() -> None:
    """On the input side the latest turn blocks, under the check's public category."""
    exchange = exchange_of(("user", "I will kill you"))
    said = asyncio.run(screened(build(made(), ["toxicity"]), exchange))
    assert said is not None
    assert said.refusal is not None
    assert said.refusal.category == "toxicity"


@pytest.mark.parametrize(("threshold", "stopped"), [(0.2, True), (None, False), (0.9, False)])
def test_the_threshold_says_how_severe(threshold: float | None, stopped: bool) -> None:
    """Mild swearing acts only where the threshold is lowered to it."""
    exchange = exchange_of(("user", "this is bullshit"))
    said = asyncio.run(screened(build(made(threshold=threshold), ["toxicity"]), exchange))
    assert (said is not None) == stopped


def test_the_report_says_what_it_misses() -> None:
    """`tidegate check` names what a list cannot see."""
    lines = describe(made(), ["toxicity"], "stream")
    assert [line.mode for line in lines] == ["before", "window"]
    for word in ("paraphrase", "sarcasm", "context", "other languages"):
        assert all(word in line.misses for line in lines)


def test_the_list_is_well_formed() -> None:
    """Every category has entries, every severity is in range, and a line that cannot be read is named."""
    assert {entry.category for entry in entries()} == set(CATEGORIES)
    assert all(0 < entry.severity <= 1 for entry in entries())
    with pytest.raises(ValueError, match="line 2"):
        read_entries("# x\nrude 0.5 word\n")
