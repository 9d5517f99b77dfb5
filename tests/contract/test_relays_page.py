"""The page about what is relayed: its examples are configurations, its table is the one that the paths are made of."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from gateway import config as configuration
from gateway.commands.check import report_of, text_of
from gateway.configuring.problems import ConfigError
from gateway.relay.operations import TABLE

PAGE = Path(__file__).resolve().parents[2] / "docs/relays.md"
TEXT = PAGE.read_text("utf-8")
EXAMPLES = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
HOUSE = """
version: 1
providers: {openai: {type: openai, api_key: "-"}, local: {type: vllm, base_url: "http://127.0.0.1:9/v1"}}
"""
MODELS = "models: {fast: {targets: [{provider: openai, model: m}]}}\n"
ROWS = re.compile(r"<!-- table:begin -->\n(.*)<!-- table:end -->", re.DOTALL)
SECRET = {"TIDEGATE_SECRET": "x" * 20}


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_the_examples_are_configurations(example: str, tmp_path: Path) -> None:
    """Each is read and checked as it stands."""
    text = HOUSE + example + ("" if "models:" in example else MODELS)
    assert report_of(configuration.read(text, tmp_path, SECRET))["routes"]["default"]


def table() -> str:
    forms = {"json": "JSON", "multipart": "form", "none": ""}
    rows = ["| asked | operation | body | who is asked |", "| --- | --- | --- | --- |"]
    for row in TABLE:
        asked = "by `model`" if row.model else f"`relay.{row.operation}`"
        rows.append(f"| `{row.method} /v1{row.path}` | `{row.operation}` | {forms[row.form]} | {asked} |")
    return "\n".join(rows) + "\n"


def test_the_table_is_the_codes() -> None:
    """What is said to be relayed is what is relayed."""
    found = ROWS.search(TEXT)
    assert found is not None
    assert found[1] == table()


def told(tmp_path: Path, more: str) -> dict[str, Any]:
    return report_of(configuration.read(HOUSE + MODELS + more, tmp_path, SECRET))


CHECKS = 'guardrails: {deny: {use: phrases, deny: ["ab"], on_error: closed}}\n'


def test_check_says_what_passes_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For each route: refused, or unscanned; and where ids and batches need a word."""
    monkeypatch.delenv("TIDEGATE_SECRET", raising=False)
    refused = told(
        tmp_path, CHECKS + "routes: {default: {guardrails: [deny]}}\nrelay: {files: openai, batches: openai}\n"
    )
    (line, speech) = refused["routes"]["default"]["relay"]
    assert line.startswith("refused: deny must run and cannot read them")
    assert "files, batches" in line
    assert speech.startswith("speech: its text is checked")
    assert any("server.secret is absent" in warning for warning in refused["warnings"])
    assert any("relay.batches: a batch may name any model" in warning for warning in refused["warnings"])
    assert "  relay: " + line in text_of(refused)
    passes = told(tmp_path, CHECKS + "routes: {default: {guardrails: [deny], relay: unscanned}}\n")
    assert passes["routes"]["default"]["relay"][0].startswith("unscanned: no check of this route reads them")
    assert told(tmp_path, "")["routes"]["default"]["relay"] == []


@pytest.mark.parametrize(
    ("relay", "problem"),
    [
        ("{files: opnai}", "relay.files: no provider is called 'opnai' (did you mean 'openai'?)"),
        ("{batches: local}", "relay.batches: the provider 'local' does not offer batches"),
    ],
)
def test_a_relay_that_leads_nowhere_is_a_problem(tmp_path: Path, relay: str, problem: str) -> None:
    """A provider that is not there, or has no such thing, is found before the start."""
    with pytest.raises(ConfigError) as found:
        told(tmp_path, f"relay: {relay}\n")
    assert problem in str(found.value.problems[0])
