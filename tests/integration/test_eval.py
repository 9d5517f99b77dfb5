"""`tidegate eval router` and `eval semantic-cache`, with the real encoder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cache.eligible import unfit
from gateway.cli import main
from tests.integration.test_router_quality import OUTSIDE, TEST, TRAIN, rows

PAIRS = [
    ("How do I convert miles to kilometres?", "HOW DO I CONVERT MILES TO KILOMETRES", 1),
    ("How do I convert miles to kilometres?", "How do I convert kilometres to miles?", 0),
    ("How do I enable the alarm of the house?", "How do I disable the alarm of the house?", 0),
    ("How do I enable the alarm of the house?", "What is the capital of Peru and its flag?", 0),
    ("What do these letters mean on the label?", "what do these letters mean on the label", 1),
]


def written(path: Path, values: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(value) + "\n" for value in values))
    return str(path)


def labelled(table: dict[str, str], outside: str = "") -> list[dict[str, Any]]:
    texts, intents = rows(table)
    return [
        *({"text": text, "intent": intent} for text, intent in zip(texts, intents, strict=True)),
        *({"text": text, "intent": "oos"} for text in outside.split("|") if text),
    ]


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_router_rows_and_report_agree(minilm: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line for each row, in order, from which the report's own counts follow."""
    train = written(tmp_path / "train", labelled(TRAIN, "tell me a joke|who won the cup|sing a song"))
    truth = labelled(TEST, OUTSIDE)
    out = tmp_path / "rows"
    data = written(tmp_path / "data", truth)
    assert main(["eval", "router", "--data", data, "--train", train, "--json", "--rows", str(out)]) == 0
    report, told = json.loads(capsys.readouterr().out), lines(out)
    assert len(told) == report["rows"] == len(truth)
    outside = [row["intent"] == "oos" for row, true in zip(told, truth, strict=True) if true["intent"] == "oos"]
    assert report["oos_recall"]["hits"] == sum(outside) >= 12
    right = [row["best"] == true["intent"] for row, true in zip(told, truth, strict=True) if true["intent"] != "oos"]
    assert report["accuracy"]["hits"] == sum(right) >= 20
    assert all((row["intent"] == "oos") == (row["score"] < 0.5) for row in told)
    assert report["accuracy"]["low"] < report["accuracy"]["value"] < report["accuracy"]["high"]


def test_nothing_is_refused_without_ground(minilm: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Training rows without out-of-scope texts refuse nothing unless a threshold is given."""
    train = written(tmp_path / "train", labelled(TRAIN))
    data = written(tmp_path / "data", labelled(TEST, OUTSIDE))
    refused = []
    for more in ([], ["--below", "0.5"]):
        assert main(["eval", "router", "--data", data, "--train", train, "--json", *more]) == 0
        refused.append(json.loads(capsys.readouterr().out)["oos_recall"]["hits"])
    assert refused[0] == 0 < refused[1]


def test_router_reads_the_configuration(minilm: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without training rows the route's own examples and threshold are used."""
    config = tmp_path / "tidegate.yaml"
    examples = {name: texts.split("|") for name, texts in TRAIN.items()}
    value = {
        "version": 1,
        "providers": {"p": {"type": "openai-compatible", "base_url": "http://127.0.0.1:9/v1"}},
        "models": {"m": {"targets": [{"provider": "p", "model": "m"}]}},
        "routes": {"shop": {"match": {"models": ["m"]}, "intents": {"examples": examples, "below": 0.25}}},
    }
    config.write_text(json.dumps(value))
    data = written(tmp_path / "data", labelled(TEST))
    assert main(["eval", "router", "--data", data, "--config", str(config), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["below"] == 0.25
    assert report["intents"] == len(TRAIN)


def test_savings_against_the_big_model_are_told(
    minilm: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Which models would have been asked, how often none, and what that costs beside always the dearest."""
    examples = {name: texts.split("|") for name, texts in TRAIN.items()}
    first, second, *_ = examples
    priced = {
        name: {"targets": [{"provider": "p", "model": name}], "price": {"input": price, "output": price}}
        for name, price in (("big", 10.0), ("small", 1.0))
    }
    value = {
        "version": 1,
        "providers": {"p": {"type": "openai-compatible", "base_url": "http://127.0.0.1:9/v1"}},
        "models": priced,
        "routes": {
            "shop": {
                "match": {"models": ["auto"]},
                "baseline": "big",
                "intents": {
                    "examples": examples,
                    "below": 0.0,
                    "then": {first: {"answer": "Yes."}, second: {"model": "small"}},
                    "default": "big",
                },
            }
        },
    }
    config = tmp_path / "tidegate.yaml"
    config.write_text(json.dumps(value))
    data = written(tmp_path / "data", labelled(TEST))
    arguments = ["eval", "router", "--data", data, "--config", str(config), "--answer-tokens", "100"]
    assert main([*arguments, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["savings"]
    assert sum(told["answered_by"].values()) == len(labelled(TEST))
    assert told["no_model"] > 0
    assert set(told["answered_by"]) == {"no model", "small", "big"}
    assert 0 < told["saved"] < 1
    assert told["usd"] == pytest.approx(told["baseline_usd"] * (1 - told["saved"]), rel=1e-3)
    assert main(arguments) == 0
    assert "against always big, 100 tokens an answer" in capsys.readouterr().out


def test_semantic_rows_say_what_the_cache_would_do(
    minilm: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A rephrasing is served; a reversal, an opposite, another question and one the rules keep out are not."""
    values = [{"a": a, "b": b, "label": label, "kind": f"k{label}"} for a, b, label in PAIRS]
    out = tmp_path / "rows"
    data = written(tmp_path / "data", values)
    assert main(["eval", "semantic-cache", "--data", data, "--json", "--rows", str(out)]) == 0
    report, told = json.loads(capsys.readouterr().out), lines(out)
    assert [row["served"] for row in told] == [True, False, False, False, False]
    assert [row["score"] > 0.93 for row in told] == [True, False, False, False, False]
    assert set(report["not_served"]) >= {"veto:order", "veto:antonym", "bypass:pointing"}
    assert report["same_served"]["of"] == 2
    assert report["by_kind"]["k0"] == {
        "label": 0,
        "served": 0,
        "rows": 3,
        "low": 0.0,
        "high": pytest.approx(0.5615, abs=1e-4),
    }


@pytest.mark.parametrize(
    ("kind", "line", "wrong"),
    [
        ("router", '{"text": 5, "intent": "a"}', "row 1: `text`"),
        ("router", "{", "line 1: not JSON"),
        ("router", "[1]", "line 1: expected an object"),
        ("router", "", "holds no rows"),
        ("router", '{"text": "x", "intent": "a"}', "nothing to fit"),
        ("semantic-cache", '{"a": "x", "b": "y", "label": 2}', "row 1: `label`"),
    ],
)
def test_bad_data_is_named(
    kind: str, line: str, wrong: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Data that cannot be used ends with status 2 and says which row, and never with a stack trace."""
    path = tmp_path / "data"
    path.write_text(line + "\n")
    assert main(["eval", kind, "--data", str(path)]) == 2
    assert wrong in capsys.readouterr().err


def test_a_stream_is_asked_of_a_full_cache(minilm: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With `--cached` each question gets the surest cached one; right is the same intent, and evidence can be kept."""
    kept = [{"text": text, "intent": intent} for text, intent in zip(*rows(TRAIN), strict=True)]
    fit = [row for row in kept if not unfit(row["text"], "user")]
    asked = [{"text": f"hi, {row['text']}", "intent": row["intent"]} for row in fit[::4]]
    asked.append({"text": "what is the tallest mountain of Peru", "intent": "oos"})
    out, evidence = tmp_path / "rows", tmp_path / "evidence.json"
    data, cached = written(tmp_path / "data", asked), written(tmp_path / "cached", kept)
    command = ["eval", "semantic-cache", "--data", data, "--cached", cached, "--json", "--rows", str(out)]
    assert main([*command, "--write-evidence", str(evidence)]) == 0
    report, told = json.loads(capsys.readouterr().out), lines(out)
    assert len(told) == len(asked)
    assert [row["served"] for row in told] == [True] * (len(asked) - 1) + [False]
    assert report["hit_rate"]["hits"] == len(asked) - 1
    assert report["wrong_among_served"]["hits"] == 0
    assert json.loads(evidence.read_text())["scorer"].startswith(minilm.id)
    assert main(["eval", "semantic-cache", "--data", data, "--cached", cached]) == 0
    assert "wrong among served" in capsys.readouterr().out
    assert main([*command, "--write-evidence", str(tmp_path / "no" / "where")]) == 2
    assert "cannot write" in capsys.readouterr().err
