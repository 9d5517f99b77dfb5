"""The model files: what is in them, and what is refused before llama.cpp would abort on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFReader

from gateway.demo import copyhead
from gateway.demo.gguf import MOST_PIECES, build_copy, build_embedding, build_scripted, build_tiny, pieces_of
from gateway.demo.vocabulary import PRINTABLE, SPACE, codes, vocabulary

BUILDS = {
    "copy": build_copy,
    "tiny": build_tiny,
    "embedding": build_embedding,
    "scripted": lambda path: build_scripted(path, pieces_of("Hello there, Jane.")),
}


def tokens_of(path: Path) -> list[Any]:
    field = GGUFReader(path).fields["tokenizer.ggml.tokens"]
    return [bytes(field.parts[index]) for index in field.data]


@pytest.mark.parametrize("name", BUILDS)
def test_a_file_is_whole_and_its_tokens_are_unique(name: str, tmp_path: Path) -> None:
    """Every build has unique token strings, one embedding for each, and only finite numbers."""
    path = tmp_path / "model.gguf"
    BUILDS[name](path)
    tokens = tokens_of(path)
    assert len(set(tokens)) == len(tokens)
    tensors = {tensor.name: tensor.data for tensor in GGUFReader(path).tensors}
    assert tensors["token_embd.weight"].shape[0] == len(tokens) == tensors["output.weight"].shape[0]
    assert all(np.isfinite(data).all() for data in tensors.values())


@pytest.mark.parametrize("name", BUILDS)
def test_a_build_is_the_same_every_time(name: str, tmp_path: Path) -> None:
    """Two builds are the same bytes, so a cached file stands for the code that made it."""
    BUILDS[name](tmp_path / "a.gguf")
    BUILDS[name](tmp_path / "b.gguf")
    assert (tmp_path / "a.gguf").read_bytes() == (tmp_path / "b.gguf").read_bytes()


@pytest.mark.parametrize(
    ("pieces", "told"),
    [
        ([], "1 to 1500 pieces"),
        ([f"p{number}" for number in range(MOST_PIECES + 1)], "not 1501: use longer pieces"),
        (["Hi ", "you ", "Hi "], "token 2 .'Hi '. repeats token 0"),
        (["a", ""], "token 1 is empty"),
        (["a", f"b{SPACE}"], "piece 1 .* holds U.2581"),
    ],
)
def test_a_script_that_cannot_be_is_refused(pieces: list[str], told: str, tmp_path: Path) -> None:
    """No pieces, too many, repeated, empty or unprintable ones are each named, and no file is left."""
    with pytest.raises(ValueError, match=told):
        build_scripted(tmp_path / "model.gguf", pieces)
    assert not list(tmp_path.iterdir())


def test_a_width_that_heads_do_not_fill_is_refused(tmp_path: Path) -> None:
    """A width that is no multiple of a head's is refused with the number it must divide by."""
    with pytest.raises(ValueError, match="multiple of 32"):
        build_tiny(tmp_path / "model.gguf", width=50)


def test_token_codes_are_far_apart() -> None:
    """No two token codes have a cosine above 0.35, so the copied token is always told from the others."""
    for count, width in ((len(vocabulary(PRINTABLE)), copyhead.SINK), (MOST_PIECES, 255)):
        cosines = np.abs(codes(count, width, seed=7) @ codes(count, width, seed=7).T)
        np.fill_diagonal(cosines, 0)
        assert cosines.max() < 0.35


def test_no_two_distances_have_like_addresses() -> None:
    """Up to 4,096 tokens from a marker, an address matches itself clearly better than NO_MATCH and no other one does."""
    turns = np.outer(np.arange(1, 4097), copyhead.TURN)
    exact = np.stack([np.cos(turns), -np.sin(turns)], axis=2).reshape(len(turns), -1)
    read = np.tanh(copyhead.SMALL * exact / 2) * 2 / copyhead.SMALL  # what the soft choice gives
    read *= np.sqrt((3 + copyhead.PAIRS) / (3 + (read**2).sum(axis=1, keepdims=True)))  # and RMS normalisation
    alike = (read @ read.T).astype(np.float32)
    assert alike.diagonal().min() > copyhead.NO_MATCH + 0.25
    np.fill_diagonal(alike, 0)
    assert alike.max() < copyhead.NO_MATCH - 0.25
