"""The page about checks that ask outside: its examples are configurations, and its figures are the code's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway import config as configuration
from guardrails.asked import looking
from guardrails.asking import asking_kept, onnx_classifier, questioner, remote
from guardrails.asking.grounded import THRESHOLD
from tests.fixtures.onnx_model import classifier

PAGE = (Path(__file__).resolve().parents[2] / "docs/asking-outside.md").read_text("utf-8")
HOUSE = """
version: 1
providers: {up: {type: openai-compatible, base_url: "http://127.0.0.1:9/v1"}}
models: {fast: {targets: [{provider: up, model: m}]}}
"""
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_the_examples_are_configurations(example: str, tmp_path: Path) -> None:
    """Each is read and checked as it stands, with classifiers of these names and labels in place."""
    classifier(tmp_path / "models/prompt-guard-2", ("LABEL_0", "LABEL_1"))
    classifier(tmp_path / "models/toxicity", ("neutral", "toxic"))
    classifier(tmp_path / "models/ours")
    config = configuration.read(HOUSE + example, tmp_path, {"OPENAI_API_KEY": "sk-x"})
    assert len(config.guardrails) == example.count("{use:")


@pytest.mark.parametrize(
    "words",
    [
        f"at least {asking_kept.LEAST} characters",
        f"the {asking_kept.OVERLAP} characters before",
        f"{questioner.MOST_CHARS:,} characters are not",
        f"({questioner.AT_ONCE}), `tokens` the answer ({questioner.TOKENS};",
        f"default threshold of {THRESHOLD}",
        f"{remote.MOST_TEXTS} texts and {remote.MOST_CHARS:,} characters, and {remote.AT_ONCE} calls",
        f"windows, {onnx_classifier.MOST_WINDOWS} at most",
    ],
)
def test_the_figures_are_the_codes(words: str) -> None:
    """A bound that is changed is changed on the page too."""
    assert words in " ".join(PAGE.split())


def test_the_breakers_figures_are_the_codes() -> None:
    """The page says them in words."""
    assert (looking.FAILURES, looking.REST) == (5, 10.0)
