"""The page about encoders: its example is a configuration, and its words are the code's."""

from __future__ import annotations

import re
from pathlib import Path

from gateway import config as configuration
from gateway.commands.check import report_of
from gateway.embedding import remote
from gateway.embedding.texts import MOST_CHARS

TEXT = (Path(__file__).resolve().parents[2] / "docs/embedding.md").read_text("utf-8")


def test_the_example_is_a_configuration(tmp_path: Path) -> None:
    """It is read as it stands; the check says the id the page says, and has nothing to warn of about masks."""
    (example,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    config = configuration.read("version: 1\n" + example, tmp_path, {"OPENAI_API_KEY": "sk-x"})
    report = report_of(config)
    assert report["embedding"][0].startswith("openai:text-embedding-3-small:512@1, outside: default")
    assert "`openai:text-embedding-3-small:512@1`" in TEXT
    assert not [line for line in report["warnings"] if "masks" in line]


def test_the_numbers_are_the_codes() -> None:
    """Bounds that a user may rely on."""
    assert f"{remote._MOST_WAITING} texts may wait" in TEXT
    assert f"{MOST_CHARS:,} characters" in TEXT
    assert remote._CALLS == 4
