"""The page on answer checks: its example is a configuration without problems, and its words are the code's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway import config as configuration
from guardrails.answered.json_flaws import FLAWS
from guardrails.answered.refusal_rules import LANGUAGES
from guardrails.kinds import KINDS

PAGE = Path(__file__).parents[2] / "docs" / "answer-checks.md"

REST = """
version: 1
providers: {up: {type: openai-compatible, base_url: "http://127.0.0.1:1/v1"}}
models:
  m: {targets: [{provider: up, model: m}], on_failure: [n]}
  n: {targets: [{provider: up, model: n}]}
"""


@pytest.fixture(scope="module")
def page() -> str:
    return PAGE.read_text("utf-8")


def test_its_example_has_no_problems(page: str, tmp_path: Path) -> None:
    """Every key of it means something."""
    found = re.search(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert found is not None
    file = tmp_path / "tidegate.yaml"
    names = re.findall(r"^  ([a-z]+):", found[1], re.MULTILINE)
    file.write_text(f"{REST}routes: {{default: {{guardrails: [{', '.join(names)}]}}}}\n{found[1]}")
    config = configuration.load(file)
    assert list(config.guardrails) == names
    assert {check.use for check in config.guardrails.values()} <= set(KINDS)
    assert configuration.needs_embedding(config)


def test_its_words_are_those_of_the_code(page: str) -> None:
    """All flaws but `ok` are named, and the languages counted."""
    assert all(f"`{flaw}`" in page for flaw in FLAWS - {"ok"})
    assert f"in {len(LANGUAGES)} languages" in page
