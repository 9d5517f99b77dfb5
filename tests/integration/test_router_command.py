"""`tidegate router calibrate` and `explain`, with the real encoder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import main
from tests.integration.test_router_quality import TRAIN

TWIN = "please cancel my order now"
"""Written under two intents, as happens when two people keep one file."""


def config(folder: Path, **changes: Any) -> Path:
    examples = {name: texts.split("|") for name, texts in TRAIN.items()}
    examples["cancel_order"].append(TWIN)
    examples["return_item"].append("Please cancel my order now!")
    examples["out_of_scope"] = ["what is the capital of Peru", "tell me a joke"]
    intents = {"examples": examples, **changes}
    value = {
        "version": 1,
        "providers": {"p": {"type": "openai-compatible", "base_url": "http://127.0.0.1:9/v1"}},
        "models": {"m": {"targets": [{"provider": "p", "model": "m"}]}},
        "routes": {"shop": {"match": {"models": ["m"]}, "intents": intents}},
    }
    path = folder / "tidegate.yaml"
    path.write_text(json.dumps(value))
    return path


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert main(["router", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_calibrate_names_what_is_wrong(minilm: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Near-duplicates across intents, what is read as what, and a threshold nothing reaches are told by name."""
    found = told(capsys, "calibrate", "--config", str(config(tmp_path, margin=1.0)))["shop"]
    pairs = [(pair["intent"], pair["other"], pair["text"]) for pair in found["alike"]]
    assert ("cancel_order", "return_item", TWIN) in pairs
    assert any(c["intent"] in ("cancel_order", "return_item") for c in found["confusions"])
    assert found["rows"] == sum(len(texts.split("|")) for texts in TRAIN.values()) + 2
    assert {each["intent"] for each in found["unreachable"] if each["threshold"] == "margin"} == set(TRAIN)
    assert found["accuracy"]["hits"] + sum(c["rows"] for c in found["confusions"]) == found["rows"]


def test_the_lock_notices_every_change(minilm: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The lock holds right after calibrating; another threshold or another example breaks it, and calibrating mends it."""
    path = config(tmp_path)
    check = ["router", "calibrate", "--config", str(path), "--check"]
    assert main(check) == 1
    assert main(["router", "calibrate", "--config", str(path)]) == 0
    assert main(check) == 0
    lock = json.loads((tmp_path / "tidegate.router.lock").read_text())
    assert lock["routes"]["shop"]["encoder"] == minilm.id
    assert main([*check[:3], str(config(tmp_path, below=0.4)), "--check"]) == 1
    path.write_text(path.read_text().replace("tell me a joke", "tell me two jokes"))
    assert main(["router", "calibrate", "--config", str(path)]) == 0
    assert main(check) == 0
    assert "tell me" not in (tmp_path / "tidegate.router.lock").read_text()


def test_explain_shows_the_way_to_the_decision(minilm: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The best intent comes first in the scores and its examples are nearest; the threshold decides what is outside."""
    path = str(config(tmp_path))
    known = told(capsys, "explain", "--config", path, "--route", "shop", "where's the package I'm waiting for")
    assert known["intent"] == "track_parcel" == next(iter(known["scores"])) == known["nearest"][0]["intent"]
    assert known["confidence"] >= known["below"]
    other = told(capsys, "explain", "--config", path, "how tall is mount everest")
    assert other["intent"] == "out_of_scope"
    assert other["confidence"] < other["below"]
    cosines = [near["cosine"] for near in other["nearest"]]
    assert cosines == sorted(cosines, reverse=True)


def test_wrong_use_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A route that is not there, and a lock file that is none, end with status 2 and a sentence."""
    path = config(tmp_path)
    assert main(["router", "explain", "--config", str(path), "--route", "shp", "hello"]) == 2
    assert "'shp'" in capsys.readouterr().err
    (tmp_path / "tidegate.router.lock").write_text("[]")
    assert main(["router", "calibrate", "--config", str(path), "--check"]) == 2
    assert "not a lock file" in capsys.readouterr().err


def test_explain_says_how_hard_a_text_looks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A route with tiers and no intents needs no encoder: score, its parts and the tier are told."""
    path = config(tmp_path)
    value = json.loads(path.read_text())
    value["models"]["big"] = value["models"]["m"]
    value["routes"] = {"auto": {"match": {"models": ["auto"]}, "tiers": {"small": "m", "large": "big"}}}
    path.write_text(json.dumps(value))
    hard = (
        "Prove that the sum of the first n odd numbers is n^2, then derive a closed form and compare both step by step."
    )
    for text, tier, model in (("hi there", "small", "m"), (hard, "large", "big")):
        found = told(capsys, "explain", text, "--config", str(path))["complexity"]
        assert (found["tier"], found["model"], found["above"]) == (tier, model, 0.6)
        assert sum(found["parts"].values()) == pytest.approx(found["score"], abs=0.002)
    assert main(["router", "explain", hard, "--config", str(path)]) == 0
    assert "large: big" in capsys.readouterr().out
