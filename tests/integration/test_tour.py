"""The demo's printed tour: every command, pasted into a shell, shows what the tour says to look for."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from gateway.demo.tour import BASE, STOPS, Stop


@pytest.fixture(scope="module")
def demo() -> Iterator[str]:
    """`tidegate demo` as a user starts it, with none of this machine's keys; its URL as it prints it."""
    hidden = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "TIDEGATE_GGUF")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway.cli", "demo", "--port", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment,
    )  # fmt: skip
    assert process.stdout is not None
    found = next((match[1] for line in process.stdout if (match := re.match(r"Tidegate is at (\S+)", line))), None)
    assert found is not None, f"the demo ended with {process.wait(10)} before it printed its address"
    yield found
    process.terminate()
    assert process.wait(30) == 0


@pytest.mark.parametrize("stop", STOPS, ids=[stop.title for stop in STOPS])
def test_a_stop_shows_what_it_says(demo: str, stop: Stop) -> None:
    """The command's output holds what to look for, and nothing that must not be there."""
    shown = subprocess.run(
        ["bash", "-c", stop.command.replace(BASE, demo)], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    missing = [text for text in stop.expect if text not in shown]
    assert not missing, shown
    wrong = [text for text in stop.never if text in shown]
    assert not wrong, shown


def test_the_sdk_line_works(demo: str) -> None:
    """The Python line at the end of the tour, with the official SDK."""
    code = (
        f"from openai import OpenAI; print(OpenAI(base_url='{demo}/v1', api_key='-').chat.completions.create("
        "model='demo', messages=[{'role': 'user', 'content': 'hello'}]).choices[0].message.content)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert shown.stdout.strip() == "You said: hello"
