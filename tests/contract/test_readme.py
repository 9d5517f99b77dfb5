"""Every example in the README works as it stands."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from gateway import config as configuration
from gateway.cli import COMMANDS
from gateway.demo.fleet import Fleet
from gateway.demo.settings import settings
from tests.fixtures.fleet import Serve

README = (Path(__file__).resolve().parents[2] / "README.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_configuration_is_valid(tmp_path: Path) -> None:
    """The YAML passes `tidegate check`, once its key file is there."""
    (text,) = blocks("yaml")
    (tmp_path / "keys.yaml").write_text("version: 1\nkeys: []\n")
    config = configuration.read(text, tmp_path, {"OPENAI_API_KEY": "sk-test"})
    assert set(config.models) == {"fast", "smart"}


def test_the_python_example_says_what_it_says(serve: Serve, fleet: Fleet) -> None:
    """The SDK example, against the demo's configuration: the address comes back."""
    (code,) = blocks("python")
    value = settings(fleet.providers, fleet.models, host="127.0.0.1", port=0)
    value["telemetry"] = {"log": "off"}
    served = serve(value)
    assert "http://127.0.0.1:8080" in code
    ran = subprocess.run(
        [sys.executable, "-c", code.replace("http://127.0.0.1:8080", served.url)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "You said: Write to jane.roe@example.com please" in ran.stdout, ran.stderr
    assert "<EMAIL_ADDRESS_1>" in ran.stdout


@pytest.mark.parametrize(
    "line", [line for block in blocks("sh") for line in block.splitlines() if line.startswith("tidegate ")]
)
def test_every_command_exists_with_its_options(line: str) -> None:
    """Each command line names a command that we have, with options that it takes."""
    words = shlex.split(line, comments=True)
    words = words[: words.index(">")] if ">" in words else words
    assert words[1] in COMMANDS
    named = [word for word in words[2:] if not word.startswith("-")][
        : 1 if words[1] in ("keys", "router", "eval") else 0
    ]
    helped = subprocess.run(
        [sys.executable, "-m", "gateway.cli", words[1], *named, "--help"], capture_output=True, text=True, timeout=60
    )
    assert helped.returncode == 0, helped.stderr
    for option in (word for word in words if word.startswith("--")):
        assert option in helped.stdout, option


@pytest.mark.parametrize("verb", ["run", "test", "check", "fix", "bench"])
def test_the_verbs_exist(verb: str) -> None:
    """`./dev` has the verbs that README and CONTRIBUTING name."""
    script = (Path(__file__).resolve().parents[2] / "dev").read_text("utf-8")
    assert f"\n  {verb})" in script
