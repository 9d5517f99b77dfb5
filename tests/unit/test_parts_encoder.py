"""The encoder is loaded where something uses it, and its absence is told where something goes without."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway import config as configuration
from gateway.commands.check import warnings_of
from gateway.config import Config
from gateway.encoders import embedder

ATTACKS = {"attacks": {"use": "injection", "action": "block", "on_error": "open"}}
TOPIC = {"topic": {"use": "topic", "action": "flag", "topics": {"cars": ["my car", "a new engine"]}, "deny": ["cars"]}}


def config(guardrails: dict[str, Any], tmp_path: Path) -> Config:
    return configuration.of_value(
        {
            "version": 1,
            "providers": {"up": {"type": "openai-compatible", "base_url": "http://127.0.0.1:9/v1"}},
            "models": {"m": {"targets": [{"provider": "up", "model": "m"}]}},
            "guardrails": guardrails,
            "routes": {"default": {"guardrails": list(guardrails)}},
        },
        tmp_path,
    )


def test_attacks_are_looked_for_with_the_encoder_where_it_is_built(tmp_path: Path, minilm_dir: Path) -> None:
    """And then nothing is to be warned of."""
    made = config(ATTACKS, tmp_path)
    assert embedder(made) is not None
    assert not [line for line in warnings_of(made) if "embedding" in line]


def test_without_it_one_tier_is_missing_and_check_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot do without stops the start instead."""
    monkeypatch.setenv("TIDEGATE_MODELS_DIR", str(tmp_path / "nothing"))
    made = config(ATTACKS, tmp_path)
    assert embedder(made) is None
    assert any("guardrails.attacks: looks without its embedding tier" in line for line in warnings_of(made))
    with pytest.raises(ValueError, match="tidegate models build"):
        embedder(config(TOPIC, tmp_path))


def test_nothing_is_loaded_where_nothing_uses_it(tmp_path: Path) -> None:
    """It takes some 80 MB."""
    assert embedder(config({}, tmp_path)) is None
