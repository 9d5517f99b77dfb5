"""What a user installs: the wheel, in an environment of its own, far from the checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import httpx
import pytest

from gateway.faults.server import FaultServer

ROOT = Path(__file__).resolve().parents[2]
CONFIG = {
    "version": 1,
    "providers": {"up": {"type": "openai-compatible", "base_url": "${UPSTREAM}"}},
    "models": {"m": {"targets": [{"provider": "up", "model": "ok"}]}},
    "guardrails": {"private": {"use": "pii", "on": ["input"], "action": "mask", "on_error": "closed"}},
    "routes": {"default": {"guardrails": ["private"], "cache": {"exact": {"ttl": "1h"}}}},
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with nothing but the wheel and what it asks for. Takes about half a minute."""
    home = tmp_path_factory.mktemp("clean")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", home, ROOT], check=True, cwd=home
    )
    (wheel,) = home.glob("tidegate-*.whl")
    venv.create(home / "env", with_pip=True)
    python = home / "env/bin/python"
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel], check=True, cwd=home
    )
    return home


def run(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [home / "env/bin/tidegate", *arguments]
    return subprocess.run(command, cwd=home, env=clean(), capture_output=True, text=True, timeout=60)


def clean(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return {**kept, **more}


def test_the_wheel_holds_the_four_packages_and_their_data(installed: Path) -> None:
    """Nothing is read from the checkout: commands work from an empty folder, data files included."""
    assert run(installed, "--version").stdout.startswith("tidegate ")
    schema = json.loads(run(installed, "schema").stdout)
    assert "providers" in schema["$defs"]["Config"]["properties"]
    asked = run(installed, "redteam", "--url", "http://127.0.0.1:9/v1")
    assert (asked.returncode, "cannot be asked" in asked.stderr) == (2, True), asked.stderr  # after it read its texts
    where = subprocess.run(
        [installed / "env/bin/python", "-c", "import gateway, guardrails, routing, cache; print(gateway.__file__, guardrails.__file__)"],
        cwd=installed, env=clean(), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert str(ROOT) not in where.stdout


async def test_the_installed_command_serves(installed: Path) -> None:
    """`tidegate serve` from the wheel answers a request through its guards."""
    async with FaultServer() as upstream:
        (installed / "t.yaml").write_text(json.dumps(CONFIG))
        command = [installed / "env/bin/tidegate", "serve", "--config", "t.yaml", "--port", "0"]
        server = subprocess.Popen(
            command, cwd=installed, env=clean(UPSTREAM=upstream.base_url), stderr=subprocess.PIPE, text=True
        )
        try:
            assert server.stderr is not None
            line = next((line for line in server.stderr if "listening" in line), "")
            address = json.loads(line)["address"]
            body = {"model": "m", "messages": [{"role": "user", "content": "mail a@example.com"}]}
            async with httpx.AsyncClient(timeout=20) as client:
                reply = await client.post(f"{address}/v1/chat/completions", json=body)
            assert reply.status_code == 200
            assert reply.headers["x-tidegate-guardrails"] == "private=mask:1"
            assert b"a@example.com" not in upstream.requests[-1].body
        finally:
            server.terminate()
            assert server.wait(20) == 0
