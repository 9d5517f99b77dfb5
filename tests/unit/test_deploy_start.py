"""The gateway itself under the image's promises: read-only root, no rights, no network, and its stores all missing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.embedding.build import build

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
VARIABLES = {
    "OPENAI_API_KEY": "sk-not-a-real-key",
    "TIDEGATE_SECRET": "0123456789abcdef0123456789abcdef",
    "REDIS_URL": "redis://redis.example:6379/0",
    "QDRANT_URL": "http://qdrant.example:6333",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://otel-collector.example:4318",
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The text encoder, made as the image's build makes it."""
    directory = tmp_path_factory.mktemp("models")
    directory.chmod(0o755)  # what pytest makes is for its owner only
    build(directory)
    return directory


@pytest.mark.parametrize("name", ["laptop", "compose", "kubernetes"])
def test_the_gateway_starts_serves_and_ends_as_the_image_promises(name: str, models: Path, tmp_path: Path) -> None:
    """Each example starts with nothing around it, gets ready, passes the health check, and ends with 0 on SIGTERM."""
    example = DEPLOY / f"examples/tidegate.{name}.yaml"
    key = tmp_path / "key"
    key.write_text("sk-not-a-real-key\n")
    keys = tmp_path / "keys.yaml"
    create = [sys.executable, "-m", "gateway.cli", "keys", "create", "--file", str(keys)]
    subprocess.run(create, check=True, capture_output=True, cwd=ROOT)
    text = example.read_text().replace("/var/lib/tidegate/keys.yaml", "/etc/tidegate/access/keys.yaml")
    config = tmp_path / "tidegate.yaml"
    config.write_text(text)
    arguments = ["--env", sys.prefix, "--config", config, "--set", f"TIDEGATE_MODELS_DIR={models}", "--bind", models]
    for package in ("gateway", "guardrails", "routing", "cache"):
        arguments += ["--bind", ROOT / package]
    for variable, value in VARIABLES.items():
        arguments += ["--set", f"{variable}={value}"]
    for place in re.findall(r"\$\{file:([^}]+)\}", text):
        arguments += ["--file", f"{place}={key}"]
    for place in re.findall(r'keys: "([^"]+)"', text):
        arguments += ["--file", f"{place}={keys}"]
    done = subprocess.run(
        [sys.executable, str(DEPLOY / "readonly_check.py"), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=150,
        env={"PATH": os.environ["PATH"]},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "held" in done.stdout
