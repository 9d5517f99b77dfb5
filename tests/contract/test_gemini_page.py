"""The page about Gemini's API says what the code does: its examples run, its tables are the code's."""

from __future__ import annotations

import io
import re
import subprocess
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway import config as configuration
from gateway.dialects.gemini_to_neutral import to_neutral
from gateway.faults.server import FaultServer
from gateway.http.gemini import _CALL, _VERBS
from tests.fixtures.fleet import Background, Serve, Served
from tests.unit.test_dialect_gemini import UNTOLD

PAGE = Path(__file__).resolve().parents[2] / "docs/gemini.md"
TEXT = PAGE.read_text()


def block(language: str) -> str:
    match = re.search(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)
    assert match is not None
    return match[1]


@pytest.fixture(scope="module")
def gateway(serve: Serve, background: Background) -> Served:
    """The page's own configuration, with a scripted server in Google's place."""
    server = FaultServer()
    background.run(server.start())
    server.script("gemini-2.5-flash", ["Hello ", "to you."])
    value: Any = yaml.safe_load(block("yaml").replace("${GEMINI_API_KEY}", "AIza-x"))
    value["providers"]["google"]["base_url"] = f"{server.url}/v1beta"
    return serve(value)


def test_the_configuration_is_good(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read without complaint as it stands."""
    monkeypatch.setenv("GEMINI_API_KEY", "AIza-x")
    config = configuration.of_value({"version": 1, **yaml.safe_load(block("yaml"))}, PAGE.parent)
    assert config.models["smart"].targets[0].model == "gemini-2.5-flash"


def test_the_sdk_example_runs(gateway: Served) -> None:
    """Whole and streamed, as it is written, but for the address."""
    said = io.StringIO()
    with redirect_stdout(said):
        exec(compile(block("python").replace("http://127.0.0.1:8080", gateway.url), "page", "exec"), {})
    assert said.getvalue().replace("\n", "") == "Hello to you." * 2


def test_the_curl_example_runs(gateway: Served) -> None:
    """An event stream that ends with its finish reason."""
    command = block("bash").replace("http://127.0.0.1:8080", gateway.url)
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.strip().split("\n")[-1].count('"finishReason":"STOP"') == 1


def test_every_verb_is_in_the_table() -> None:
    """And every root that is promised is answered."""
    assert [verb for verb in _VERBS if f":{verb}" not in TEXT] == []
    for root in re.findall(r"`(/[a-z0-9/]+)`", TEXT.split("below", 1)[1].split("|", 1)[0]):
        assert _CALL.fullmatch(f"{root}/models/a:generateContent"), root


def test_what_is_not_translated_is_listed() -> None:
    """Every field that the tests know to be refused is on the page, and in the reader's own words."""
    listed = TEXT.split("<!-- untold:begin -->")[1]
    named = {re.split(r"[.\[\]]+", param)[-1] or re.split(r"[.\[]", param)[0] for _, param in UNTOLD}
    ours = named - {"newField", "newPart", "inlineData", "parts", "mode", "contents", "systemInstruction"}
    assert ours
    assert [name for name in sorted(ours) if f"`{name}`" not in listed] == []
    doc = to_neutral.__doc__ or ""
    for name in ("cachedContent", "fileData", "safetySettings", "VALIDATED", "thinkingBudget", "functionResponse"):
        assert name in doc
