"""The example configurations: accepted by the gateway's own loader, and safe as they are shipped."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from gateway import config as configuration
from gateway.config import Config, ConfigError

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
EXAMPLES = sorted((DEPLOY / "examples").glob("*.yaml"))
ENVIRONMENT = {
    "OPENAI_API_KEY": "sk-not-a-real-key",
    "TIDEGATE_SECRET": "0123456789abcdef0123456789abcdef",
    "REDIS_URL": "redis://redis.example:6379/0",
    "QDRANT_URL": "http://qdrant.example:6333",
}
each = pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)


def laid_out(example: Path, place: Path) -> Path:
    """The example as it would lie in a container whose /etc/tidegate and /var/lib/tidegate are under `place`."""
    text = example.read_text()
    for directory in ("/etc/tidegate", "/var/lib/tidegate"):
        text = text.replace(directory, f"{place}{directory}")
    for file in re.findall(r"\$\{file:([^}]+)\}", text):
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).write_text("sk-not-a-real-key\n")
    for file in re.findall(r'keys: "([^"]+)"', text):
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            [sys.executable, "-m", "gateway.cli", "keys", "create", "--file", file],
            check=True,
            capture_output=True,
            cwd=ROOT,
        )
    copy = place / example.name
    copy.write_text(text)
    return copy


def load(example: Path, place: Path, environment: Mapping[str, str] = ENVIRONMENT) -> Config:
    return configuration.load(laid_out(example, place), environment)


def test_there_is_one_for_each_way_of_running_it() -> None:
    """Laptop, Compose, Kubernetes and a pool of GPUs; that of Kubernetes is the very file that the ConfigMap is made of."""
    assert [path.name for path in EXAMPLES] == [
        "tidegate.compose.yaml",
        "tidegate.gpu-pool.yaml",
        "tidegate.kubernetes.yaml",
        "tidegate.laptop.yaml",
    ]
    assert EXAMPLES[2].resolve() == DEPLOY / "kustomize/base/tidegate.yaml"


@each
def test_the_gateway_accepts_it(example: Path, tmp_path: Path) -> None:
    """The loader finds nothing wrong, given what the README says to provide."""
    config = load(example, tmp_path)
    assert config.version == 1
    assert set(config.all_routes()) >= {"default"}


@each
def test_tidegate_check_accepts_it(example: Path, tmp_path: Path) -> None:
    """The command that people are told to run says the same and exits with 0."""
    file = laid_out(example, tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "gateway.cli", "check", "--config", str(file)],
        env={**os.environ, **ENVIRONMENT}, capture_output=True, text=True, cwd=ROOT, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@each
def test_private_data_and_secrets_are_masked_and_their_checks_fail_closed(example: Path, tmp_path: Path) -> None:
    """Each route masks both on the way in and out, and refuses rather than let something pass unchecked."""
    config = load(example, tmp_path)
    for name, route in config.all_routes().items():
        uses = {config.guardrails[guard].use: config.guardrails[guard] for guard in route.guardrails}
        for kind in ("pii", "secrets"):
            assert uses[kind].on_error == "closed", name
            assert set(uses[kind].on) >= {"input", "output"}, name


@each
def test_it_is_open_on_loopback_only(example: Path, tmp_path: Path) -> None:
    """An example that listens to others asks for keys."""
    config = load(example, tmp_path)
    assert config.server.host in configuration.LOOPBACK or config.access.keys


@each
def test_every_model_has_a_price(example: Path, tmp_path: Path) -> None:
    """Spend is counted from the first request on, and TidegateUnpriced stays silent."""
    for name, model in load(example, tmp_path).models.items():
        assert model.price is not None or all(target.price for target in model.targets), name


@pytest.mark.parametrize(
    ("example", "missing", "path"),
    [
        (EXAMPLES[0], "OPENAI_API_KEY", "providers.openai.api_key"),
        (EXAMPLES[0], "TIDEGATE_SECRET", "server.secret"),
        (EXAMPLES[2], "TIDEGATE_SECRET", "server.secret"),
        (EXAMPLES[2], "REDIS_URL", "redis"),
        (EXAMPLES[2], "QDRANT_URL", "qdrant"),
    ],
)
def test_a_missing_variable_stops_the_start_and_is_named(
    example: Path, missing: str, path: str, tmp_path: Path
) -> None:
    """A pod without one of its secrets says which, by the place in the config."""
    with pytest.raises(ConfigError) as found:
        load(example, tmp_path, {name: value for name, value in ENVIRONMENT.items() if name != missing})
    assert path in {problem.path for problem in found.value.problems}
    assert missing in str(found.value)


@each
def test_a_slip_would_be_found(example: Path, tmp_path: Path) -> None:
    """The same loader refuses the example with one key misspelt, so accepting it means something."""
    file = laid_out(example, tmp_path)
    file.write_text(file.read_text().replace("guardrails:", "guardrail:", 1))
    with pytest.raises(ConfigError, match="guardrails"):
        configuration.load(file, ENVIRONMENT)
