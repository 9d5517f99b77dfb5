"""Checks that ask outside or bring a model: every slip has a path and a sentence, and the report tells who looks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gateway import config as configuration
from gateway.configuring.problems import ConfigError
from gateway.core.secret import Secret
from gateway.revisions import revisions
from guardrails.build import build
from guardrails.config import GuardrailConfig, JudgeConfig, problems
from guardrails.describe import describe
from tests.fixtures.onnx_model import classifier

JUDGE: dict[str, Any] = {"use": "judge", "on": ["input", "output"], "question": "Is it?", "judge": JudgeConfig(model="fast"),
                         "on_error": "closed", "deadline": 5.0}  # fmt: skip
GROUNDED: dict[str, Any] = {"use": "grounded", "on": ["output"], "judge": JudgeConfig(model="fast"), "on_error": "closed",
                            "deadline": 5.0}  # fmt: skip
REMOTE: dict[str, Any] = {"use": "remote", "on": ["input", "output"], "url": "https://moderation.example/v1/moderations",
                          "form": "openai_moderation", "on_error": "open"}  # fmt: skip
CLASSIFIER: dict[str, Any] = {"use": "classifier", "on": ["input", "output"], "on_error": "open"}
INJECTION: dict[str, Any] = {"use": "injection", "on": ["input"], "on_error": "open"}
TOXICITY: dict[str, Any] = {"use": "toxicity", "on": ["output"], "on_error": "open"}


def found(base: dict[str, Any], **changes: Any) -> list[tuple[str, str]]:
    given = {key: value for key, value in {**base, **changes}.items() if value is not ...}
    return list(problems({"guard": GuardrailConfig(**given)}))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(classifier(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(scope="module")
def nameless(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(classifier(tmp_path_factory.mktemp("nameless"), ("LABEL_0", "LABEL_1")))


def test_what_is_written_well_has_no_problems(tiny: str) -> None:
    """Each kind in its fullest form."""
    then = {"then": ["retry", "reply"], "attempts": 1, "reply": "No."}
    fine: list[dict[str, Any]] = [
        {**JUDGE, **then, "at_once": 4, "scope": ["latest_turn"], "stream": "full"},
        {**GROUNDED, **then, "context": ["retrieved", "system"], "threshold": 0.2, "at_once": 4},
        {**REMOTE, **then, "api_key": Secret("k"), "threshold": 0.5, "categories": ["violence"], "model": "omni", "stream": "window"},
        {**REMOTE, "form": "tidegate", "url": "http://127.0.0.1:9/hook?a=b"},
        {**CLASSIFIER, **then, "model": tiny, "labels": ["injection"], "stream": "window", "providers": ["CPUExecutionProvider"]},
        {**INJECTION, "model": tiny, "band": [0.2, 0.8], "judge": JudgeConfig(model="fast", band=[0.4, 0.6], tokens=64),
         "deadline": 5.0, "at_once": 2},
        {**INJECTION, "model": tiny, "escalate": "always"},
        {**TOXICITY, "model": tiny, "stream": "full"},
    ]  # fmt: skip
    for check in fine:
        assert found(check) == [], check


@pytest.mark.parametrize(
    ("base", "changes", "key", "words"),
    [
        (JUDGE, {"question": None}, ".question", "missing"),
        (JUDGE, {"question": "  "}, ".question", "missing"),
        (JUDGE, {"question": "x" * 2001}, ".question", "longer"),
        (JUDGE, {"judge": None}, ".judge", "missing"),
        (JUDGE, {"judge": JudgeConfig(model="fast", band=[0.1, 0.2])}, ".judge.band", "every text"),
        (JUDGE, {"judge": JudgeConfig(model="fast", tokens=1)}, ".judge.tokens", "between 16"),
        (JUDGE, {"deadline": ...}, ".deadline", "too short for asking a model"),
        (JUDGE, {"at_once": 0}, ".at_once", "between 1"),
        (JUDGE, {"stream": "window"}, ".stream", "cannot block in mode 'window'"),
        (JUDGE, {"stream": "off"}, ".stream", "cannot be off"),
        (JUDGE, {"on": ["input"], "then": "retry"}, ".then", "without `on: [output]`"),
        (JUDGE, {"action": "flag", "then": "retry"}, ".then", "stops no answer"),
        (JUDGE, {"action": "mask"}, ".action", "cannot mask"),
        (JUDGE, {"on_error": None}, ".on_error", "missing"),
        (JUDGE, {"url": "http://x/"}, ".url", "means nothing"),
        (GROUNDED, {"on": ["input"]}, ".on", "cannot run on input"),
        (GROUNDED, {"context": []}, ".context", "empty"),
        (GROUNDED, {"threshold": 1.5}, ".threshold", "above 0"),
        (REMOTE, {"url": None}, ".url", "missing"),
        (REMOTE, {"url": "ftp://x/"}, ".url", "http://host/path"),
        (REMOTE, {"url": "https://me:secret@x/"}, ".url", "without a user name"),
        (REMOTE, {"url": "https://x/a b"}, ".url", "percent-encoded"),
        (REMOTE, {"url": "https://x/a\r\nhost: y"}, ".url", "percent-encoded"),
        (REMOTE, {"form": None}, ".form", "missing"),
        (REMOTE, {"categories": ["violence"]}, ".threshold", "by their score"),
        (REMOTE, {"form": "tidegate", "categories": ["a"], "threshold": 0.5}, ".categories", "means nothing"),
        (REMOTE, {"form": "tidegate", "model": "omni"}, ".model", "means nothing"),
        (REMOTE, {"api_key": Secret("a\nb")}, ".api_key", "no header"),
        (REMOTE, {"question": "?"}, ".question", "means nothing"),
        (CLASSIFIER, {}, ".model", "missing"),
        (CLASSIFIER, {"model": "no/such/place"}, ".model", "holds no model.onnx"),
        (CLASSIFIER, {"labels": ["a"], "model": None}, ".labels", "without `model`"),
        (INJECTION, {"band": [0.1, 0.9]}, ".band", "without `model`"),
        (INJECTION, {"escalate": "always"}, ".escalate", "without `model`"),
        (INJECTION, {"at_once": 3}, ".at_once", "without `judge`"),
        (INJECTION, {"judge": JudgeConfig(model="fast", band=[0.9, 0.1]), "deadline": 5.0}, ".judge.band", "lower first"),
        (INJECTION, {"judge": JudgeConfig(model="fast", band=[0.1]), "deadline": 5.0}, ".judge.band", "two scores"),
        (TOXICITY, {"labels": ["x"]}, ".labels", "without `model`"),
        (TOXICITY, {"model": "no/such/place"}, ".model", "holds no"),
    ],
)  # fmt: skip
def test_a_slip_is_told(base: dict[str, Any], changes: dict[str, Any], key: str, words: str) -> None:
    """Where it is, what is wrong, and what to write instead."""
    said = found(base, **changes)
    assert any(path == f"guardrails.guard{key}" and words in message for path, message in said), said


def test_bands_belong_together(tiny: str) -> None:
    """A band means nothing where everything goes on."""
    said = found(INJECTION, model=tiny, band=[0.1, 0.9], escalate="always")
    assert [key for key, _ in said] == ["guardrails.guard.band"]
    said = found(INJECTION, model=tiny, band=[0.1, 1.9])
    assert [key for key, _ in said] == ["guardrails.guard.band"]


def test_labels_that_are_not_clear_are_listed(nameless: str) -> None:
    """So that the operator can write which of them count."""
    ((key, message),) = found(CLASSIFIER, model=nameless)
    assert key == "guardrails.guard.model"
    assert "LABEL_0, LABEL_1" in message
    assert found(CLASSIFIER, model=nameless, labels=["LABEL_1"]) == []


def test_the_report_tells_who_looks(tiny: str) -> None:
    """Tiers in their order, with their bands."""
    checks = {
        "attacks": GuardrailConfig(**INJECTION, model=tiny, judge=JudgeConfig(model="fast"), deadline=5.0),
        "plain": GuardrailConfig(**INJECTION),
        "toxic": GuardrailConfig(**TOXICITY, model=tiny),
        "facts": GuardrailConfig(**GROUNDED),
        "mod": GuardrailConfig(**REMOTE),
    }
    acts = {line.check: line.acts for line in describe(checks, list(checks), "stream")}
    assert acts["attacks"] == (
        "block; on error let pass, marked degraded; looks with rules and the built-in detector, then an ONNX classifier from "
        "0.15 to 0.85, then the model 'fast' from 0.3 to 0.7"
    )
    assert acts["plain"] == "block; on error let pass, marked degraded"
    assert acts["toxic"].endswith("looks with an ONNX classifier instead of the list")
    assert acts["facts"].endswith("looks with the model 'fast', where context was supplied")
    assert acts["mod"].endswith("looks with a service outside")


@pytest.mark.parametrize("check", [JUDGE, GROUNDED, REMOTE, {**INJECTION, "judge": JudgeConfig(model="fast")}])
def test_without_a_gateway_there_is_nobody_to_ask(check: dict[str, Any]) -> None:
    """Built alone, such a check is an error and not one that never looks."""
    with pytest.raises(ValueError, match="only a running gateway"):
        build({"guard": GuardrailConfig(**check)}, ["guard"])


def house(**check: Any) -> dict[str, Any]:
    return {
        "version": 1,
        "providers": {"up": {"type": "openai-compatible", "base_url": "http://127.0.0.1:9/v1"}},
        "models": {"fast": {"targets": [{"provider": "up", "model": "m"}]}},
        "guardrails": {"guard": check},
    }


def test_a_judge_must_be_one_of_the_models(tmp_path: Path) -> None:
    """Found when the configuration is read, with a guess at what was meant."""
    check = {"use": "judge", "question": "?", "judge": {"model": "fats"}, "deadline": "5s", "on_error": "closed"}
    with pytest.raises(ConfigError) as raised:
        configuration.of_value(house(**check), tmp_path)
    (problem,) = raised.value.problems
    assert str(problem) == "guardrails.guard.judge.model: no model is called 'fats' (did you mean 'fast'?)"


def test_no_route_is_called_as_the_judges_questions_are(tmp_path: Path) -> None:
    """Their receipts and counters would be taken for clients'."""
    check = {"use": "secrets", "on_error": "closed"}
    value = {**house(**check), "routes": {"judge": {"match": {"models": ["fast"]}}}}
    with pytest.raises(ConfigError, match="the name is kept"):
        configuration.of_value(value, tmp_path)


def test_a_model_directory_starts_at_the_configuration(tmp_path: Path) -> None:
    """Like every path in the file, wherever the command is run."""
    classifier(tmp_path / "models" / "tiny")
    check = {"use": "classifier", "model": "models/tiny", "on_error": "closed"}
    config = configuration.of_value(house(**check), tmp_path)
    assert config.guardrails["guard"].model == str(tmp_path / "models" / "tiny")
    remote = {"use": "remote", "url": "http://x/", "form": "openai_moderation", "model": "omni", "on_error": "open"}
    assert configuration.of_value(house(**remote), tmp_path).guardrails["guard"].model == "omni"


def test_other_weights_are_another_check(tmp_path: Path) -> None:
    """What was cached under the old classifier is not served under the new one; where its files lie changes nothing."""

    def revision(place: str, **made: Any) -> str:
        classifier(tmp_path / place / "tiny", **made)
        value = house(use="classifier", model="tiny", on_error="closed")
        value["routes"] = {"default": {"guardrails": ["guard"]}}
        config = configuration.of_value(value, tmp_path / place)
        return revisions(config, tmp_path / place)["default"]

    assert revision("a") == revision("b") != revision("c", scale=2.0)


def test_no_runtime_is_loaded_for_checks_that_need_none() -> None:
    """onnxruntime takes time and memory; most checks use none of it."""
    code = "import sys, guardrails.kinds, guardrails.build; sys.exit('onnxruntime' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_services_key_is_never_shown(tmp_path: Path) -> None:
    """Not in the configuration's own words either."""
    check = {"use": "remote", "url": "http://x/", "form": "tidegate", "api_key": "sk-very-secret", "on_error": "open"}
    config = configuration.of_value(house(**check), tmp_path)
    assert config.guardrails["guard"].api_key == Secret("sk-very-secret")
    assert "very-secret" not in repr(config)
    assert revisions(config, tmp_path)["default"]
