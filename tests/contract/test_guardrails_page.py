"""The page about guardrails: its examples are configurations, and what it says that checks miss is what they say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway import config as configuration
from gateway.commands.check import report_of
from gateway.core.intervals import wilson
from guardrails.config import GuardrailConfig
from guardrails.injection.head import load
from guardrails.kinds import KINDS

PAGE = Path(__file__).resolve().parents[2] / "docs/guardrails.md"
TEXT = PAGE.read_text("utf-8")
HOUSE = """
version: 1
providers: {up: {type: openai-compatible, base_url: "http://127.0.0.1:9/v1"}}
models: {fast: {targets: [{provider: up, model: m}], on_failure: [slow]}, slow: {targets: [{provider: up, model: n}]}}
"""
EXAMPLES = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
MISSES = re.compile(r"<!-- misses:begin -->\n(.*)<!-- misses:end -->", re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_the_examples_are_configurations(example: str, tmp_path: Path) -> None:
    """Each is read and checked as it stands, and `tidegate check` can say what it runs."""
    text = HOUSE + example
    if "routes:" not in example:
        names = re.findall(r"^  ([a-z]+):", example.partition("handoffs:")[0], re.MULTILINE)
        text += f"routes: {{default: {{guardrails: [{', '.join(names)}]}}}}\n"
    config = configuration.read(text, tmp_path, {"DESK_SECRET": "x" * 20})
    assert report_of(config)["routes"]["default"]["checks"]


def table() -> str:
    """One row for each kind of check, in the words of its own `misses`."""
    rows = ["| `use:` | on | cannot catch |", "| --- | --- | --- |"]
    for use, kind in KINDS.items():
        side = "output" if "output" in kind.sides else "input"
        check = GuardrailConfig(use=use, on=[side])  # type: ignore[arg-type,list-item]
        rows.append(f"| `{use}` | {', '.join(s for s in ('input', 'retrieved', 'output') if s in kind.sides)} "
                    f"| {kind.misses(check, side, 'stream').replace('|', '/')} |")  # fmt: skip
    return "\n".join(rows) + "\n"


def test_what_checks_miss_is_what_they_say() -> None:
    """The table is the code's own words: `python -m tests.contract.test_guardrails_page` writes it anew."""
    found = MISSES.search(TEXT)
    assert found is not None
    assert found[1] == table()


RATES = re.compile(r"<!-- rates:begin -->\n(.*)<!-- rates:end -->", re.DOTALL)


def rates() -> str:
    """What the shipped head says of itself."""
    rows = ["| tiers | AUC | attacks found | false alarms |", "| --- | --- | --- | --- |"]
    for tier, name in (("grams", "rules and n-grams"), ("model", "with the sentence encoder")):
        told = load().header.figures[tier]
        found, count = told["recall"] * told["attacks"], told["harmless"] * told["false_alarms"]
        caught, alarms = wilson(round(found), round(told["attacks"])), wilson(round(count), round(told["harmless"]))
        rows.append(
            f"| {name} | {told['auc']:.3f} | {told['recall']:.1%} ({caught[0]:.1%} to {caught[1]:.1%}) "
            f"| {told['false_alarms']:.2%} ({alarms[0]:.2%} to {alarms[1]:.2%}) |"
        )
    return "\n".join(rows) + "\n"


def test_the_rates_are_those_of_the_shipped_head() -> None:
    """Measured in training, on held-out sources, and kept in its file."""
    found = RATES.search(TEXT)
    assert found is not None
    assert found[1] == rates()


if __name__ == "__main__":
    page = MISSES.sub(lambda _: f"<!-- misses:begin -->\n{table()}<!-- misses:end -->", TEXT)
    page = RATES.sub(lambda _: f"<!-- rates:begin -->\n{rates()}<!-- rates:end -->", page)
    PAGE.write_text(page, "utf-8")
