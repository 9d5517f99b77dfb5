"""The page about routing: its example is a configuration, and its words are the code's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import msgspec
import yaml

from gateway import config as configuration
from gateway.commands.check import report_of, text_of
from gateway.core import tokens
from gateway.core.plan import Capability
from routing.config import ContextConfig, IntentsConfig, RouteMatch, Then, problems
from routing.examples import UNCLEAR

PAGE = Path(__file__).resolve().parents[2] / "docs/routing.md"
TEXT = PAGE.read_text("utf-8")


def test_the_example_is_a_configuration(tmp_path: Path) -> None:
    """It is read as it stands, and `tidegate check` says its rules and what is not known."""
    example, _ = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    config = configuration.read("version: 1\n" + example, tmp_path, {"OPENAI_API_KEY": "sk-x"})
    report = report_of(config)
    assert report["routes"]["assistant"]["planning"] == [
        "fast up to a complexity of 0.6, large above it",
        "a prompt over the window loses its oldest turns, never the latest 2 turns",
        "cost is compared with large",
    ]
    assert not [line for line in report["warnings"] if "capabilities" in line or "context_window" in line]
    assert "  plan: fast up to a complexity of 0.6, large above it" in text_of(report)


def test_what_intents_do_is_read_as_it_stands() -> None:
    """Every line of the second example is one that the configuration takes."""
    _, example = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    then = msgspec.convert(yaml.safe_load(example)["then"], dict[str, Then])
    examples = {name: ["one", "two"] for name in then if name != UNCLEAR}
    intents = IntentsConfig(examples=examples, then=then)
    assert not list(problems("r", RouteMatch(models=["smart"]), intents, ["smart"], Path()))


def test_what_is_not_known_is_told(tmp_path: Path) -> None:
    """Of a model that nobody described, `tidegate check` says what follows."""
    text = 'providers: {p: {type: vllm, base_url: "http://127.0.0.1:9/v1"}}\nmodels: {m: {targets: [{provider: p, model: m}]}}'
    report = report_of(configuration.read(f"version: 1\n{text}\nroutes: {{default: {{baseline: m}}}}", tmp_path, {}))
    assert "models.m.capabilities: absent; it is asked whatever the client asks" in report["warnings"]
    assert "models.m.context_window: absent; its upstream says when a prompt is too long" in report["warnings"]
    assert report["routes"]["default"]["planning"][-1].endswith("no known price, so nothing is compared")


def test_the_page_names_every_capability_and_mode() -> None:
    """And the numbers of the estimate."""
    for word in (*get_args(Capability), *("reroute", "truncate", "reject")):
        assert f"`{word}`" in TEXT
    assert f"{tokens.LATIN_PER_TOKEN} ASCII" in TEXT
    assert f"{tokens.BYTES_PER_TOKEN:.0f} bytes" in TEXT
    assert f"{tokens.MEDIA_TOKENS:,}" in TEXT
    assert f"reserve: {ContextConfig().reserve}" in TEXT
