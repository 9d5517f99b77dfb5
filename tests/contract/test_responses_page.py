"""The pages about the Responses API and about feedback: what they show is read, and what they promise is answered."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from gateway import config as configuration
from gateway.commands.check import report_of
from gateway.feedback.known import MOST
from gateway.feedback.rating import Rated, read
from gateway.http.feedback import A_MINUTE

DOCS = Path(__file__).resolve().parents[2] / "docs"
RESPONSES, FEEDBACK = (DOCS / f"{name}.md" for name in ("responses", "feedback"))
HOUSE = """
version: 1
providers: {up: {type: openai-compatible, base_url: "http://127.0.0.1:9/v1"}}
models: {fast: {targets: [{provider: up, model: m}]}}
"""


def examples(page: Path, kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", page.read_text("utf-8"), re.DOTALL)


@pytest.mark.parametrize("page", [RESPONSES, FEEDBACK], ids=lambda page: page.stem)
def test_the_examples_are_configurations(page: Path, tmp_path: Path) -> None:
    """Each is read and checked as it stands."""
    for example in examples(page, "yaml"):
        text = ("version: 1\n" if "providers:" in example else HOUSE) + example
        assert report_of(configuration.read(text, tmp_path, {"OPENAI_API_KEY": "-"}))["routes"]


def test_codexs_file_is_read() -> None:
    """The provider that it names is one that it defines, in this API."""
    (example,) = examples(RESPONSES, "toml")
    told = tomllib.loads(example)
    provider = told["model_providers"][told["model_provider"]]
    assert provider["wire_api"] == "responses"
    assert provider["base_url"].endswith("/v1")


def test_the_ratings_example_is_one() -> None:
    """The body that is shown is accepted, and the table's bounds are the code's."""
    text = FEEDBACK.read_text("utf-8")
    (command,) = examples(FEEDBACK, "bash")
    body = re.search(r"-d '(.*)'", command)
    assert body is not None
    assert read(body[1].encode()).word == "down"
    assert set(json.loads(body[1])) <= set(Rated.__struct_fields__)
    assert f"{MOST:,} exchanges are remembered" in text
    assert f"may give {A_MINUTE} ratings a minute" in text
    fields = {field.name for field in msgspec.structs.fields(Rated)}
    assert set(re.findall(r"^\| `([a-z]+)` \|", text, re.MULTILINE)) == fields
