"""Names by a model: a real ONNX graph and a real tokenizer, made on the spot, and what is said of one that does not fit."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from guardrails.private import pii
from guardrails.private.pii_ner import missing, ner_scanner

BIO = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-ORG", "I-ORG", "B-MISC", "I-MISC"]
BILOU = ["O", "B-PER", "I-PER", "L-PER", "U-PER", "U-GPE"]
VOCABULARY = {
    "[UNK]": "O", "[CLS]": "O", "[SEP]": "O", "alice": "B-PER", "##son": "O", "liddell": "I-PER", "bob": "B-PER", "paris": "B-LOC",
    "acme": "B-ORG", "works": "I-ORG", "olympics": "B-MISC", "met": "O", "in": "O", ".": "O",
}  # fmt: skip


def model_at(home: Path, words: dict[str, str], labels: Sequence[str], *, most: int = 512, inputs: Sequence[str] = ("input_ids", "attention_mask"), columns: int = 0) -> str:  # fmt: skip
    """A model whose weights say of each word what it is."""
    home.mkdir()
    weights = np.full((len(words), columns or len(labels)), -4.0, dtype=np.float32)
    for row, label in enumerate(words.values()):
        weights[row, labels.index(label)] = 4.0
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "input_ids"], ["logits"])],
        "ner",
        [helper.make_tensor_value_info(name, TensorProto.INT64, [1, "n"]) for name in inputs],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, "n", weights.shape[1]])],
        [numpy_helper.from_array(weights, "table")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(made, str(home / "model.onnx"))
    vocabulary = {word: at for at, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))  # type: ignore[arg-type]
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()  # type: ignore[assignment]
    tokenizer.post_processor = processors.TemplateProcessing(  # type: ignore[assignment]
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    tokenizer.save(str(home / "tokenizer.json"))
    config = {
        "id2label": {str(at): label for at, label in enumerate(labels)},
        "max_position_embeddings": most,
        "model_type": "x",
    }
    (home / "config.json").write_text(json.dumps(config))
    return f"onnx:{home}"


def found(model: str, text: str, *entities: str) -> list[tuple[str, str]]:
    scanner = pii.scanner(
        ("EMAIL_ADDRESS",), ner=ner_scanner(model, entities or ("PERSON", "LOCATION", "ORGANIZATION"))
    )
    return [(span.kind, text[span.start : span.end]) for span in scanner.find(text)]


def test_names_places_and_firms_are_found_whole(tmp_path: Path) -> None:
    """B and I become one span, pieces of a word belong to it, MISC is dropped, and patterns run beside the model."""
    model = model_at(tmp_path / "m", VOCABULARY, BIO)
    assert missing(model) == ""
    assert found(model, "bob met alice liddell in paris.\nacme works met aliceson, a@b.example in olympics") == [
        ("PERSON", "bob"), ("PERSON", "alice liddell"), ("LOCATION", "paris"), ("ORGANIZATION", "acme works"), ("PERSON", "aliceson"),
        ("EMAIL_ADDRESS", "a@b.example"),
    ]  # fmt: skip
    assert found(model, "bob alice in paris", "PERSON") == [("PERSON", "bob"), ("PERSON", "alice")]


def test_last_and_unit_labels_end_a_name(tmp_path: Path) -> None:
    """BILOU: two names side by side stay two; GPE is a place."""
    words = dict.fromkeys(VOCABULARY, "O") | {"alice": "B-PER", "liddell": "L-PER", "bob": "U-PER", "paris": "U-GPE"}
    model = model_at(tmp_path / "m", words, BILOU)
    assert found(model, "alice liddell bob bob paris") == [
        ("PERSON", "alice liddell"), ("PERSON", "bob"), ("PERSON", "bob"), ("LOCATION", "paris"),
    ]  # fmt: skip


@pytest.mark.parametrize("most", [8, 11, 16, 512])
def test_windows_change_nothing(tmp_path: Path, most: int) -> None:
    """However few tokens the model takes at once, names are found at every place, and once."""
    model = model_at(tmp_path / "m", VOCABULARY, BIO, most=most)
    text = "met in . " * 7 + "alice liddell met " + "in . met " * 9 + "aliceson " + "bob met " * 20
    expected = [("PERSON", "alice liddell"), ("PERSON", "aliceson"), *[("PERSON", "bob")] * 20]
    assert found(model, text) == expected


def test_what_does_not_fit_is_said(tmp_path: Path) -> None:
    """Missing files, no labels of ours, strange inputs, a wrong shape, broken files: each with its own words."""
    good = Path(model_at(tmp_path / "good", VOCABULARY, BIO).removeprefix("onnx:"))
    (tmp_path / "empty").mkdir()
    assert "has no model.onnx" in missing(f"onnx:{tmp_path / 'empty'}")
    other = model_at(tmp_path / "other", dict.fromkeys(VOCABULARY, "O"), ["O", "B-MISC"])
    assert "names none of" in missing(other)
    assert "takes input_ids, pixels" in missing(
        model_at(tmp_path / "in", VOCABULARY, BIO, inputs=("input_ids", "pixels"))
    )
    assert "x 12; a token classifier's is 1 x tokens x 9" in missing(
        model_at(tmp_path / "wide", VOCABULARY, BIO, columns=12)
    )
    places = dict.fromkeys(VOCABULARY, "O") | {"paris": "B-LOC"}
    with pytest.raises(ValueError, match="has no label for PERSON"):
        ner_scanner(model_at(tmp_path / "places", places, ["O", "B-LOC"]), ("PERSON",))
    for name, words in (
        ("model.onnx", "cannot be loaded"),
        ("tokenizer.json", "cannot be read"),
        ("config.json", "id2label"),
    ):
        copy = tmp_path / name.partition(".")[0]
        copy.mkdir()
        for file in good.iterdir():
            (copy / file.name).write_bytes(b"{}" if file.name == name else file.read_bytes())
        assert words in missing(f"onnx:{copy}")
