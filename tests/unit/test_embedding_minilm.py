"""The encoder gives the published model's vectors, bounded in time and memory."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from gateway.embedding.build import build
from gateway.embedding.encoder import Encoder
from gateway.embedding.files import folder
from gateway.embedding.minilm import MAX_TEXTS, MiniLM
from gateway.embedding.texts import shortened
from gateway.embedding.weights import TOKENIZER, WEIGHTS, package_folder, tensors, verified

Array = np.ndarray[Any, Any]
TEXTS = [
    "how do I reset my password?",
    "I was charged twice this month",
    "What is the capital of France?",
    "the app crashes on startup with error 500",
    "translate good morning into French, please",
    "Grüße aus Köln: wie ändere ich mein Passwort?",
]


class Paper:
    """BERT as its paper and the model's card describe it, in plain numpy: what the graph is checked against."""

    def __init__(self) -> None:
        self.weights = tensors(verified(package_folder(), WEIGHTS))

    def norm(self, x: Array, name: str) -> Array:
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12)
        return scaled * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def linear(self, x: Array, name: str) -> Array:
        return x @ self.weights[f"{name}.weight"].T.astype(np.float64) + self.weights[f"{name}.bias"]

    def attention(self, x: Array, name: str) -> Array:
        q, k, v = (
            self.linear(x, f"{name}.self.{part}").reshape(-1, 12, 32).transpose(1, 0, 2)
            for part in ("query", "key", "value")
        )
        scores = np.exp(q @ k.transpose(0, 2, 1) / math.sqrt(32))
        seen = (scores / scores.sum(-1, keepdims=True)) @ v
        return seen.transpose(1, 0, 2).reshape(-1, 384)

    def embed(self, ids: list[int]) -> Array:
        tables = self.weights
        x = tables["embeddings.word_embeddings.weight"][ids].astype(np.float64)
        x = x + tables["embeddings.position_embeddings.weight"][: len(ids)]
        x = self.norm(x + tables["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
        for number in range(6):
            name = f"encoder.layer.{number}"
            seen = self.linear(self.attention(x, f"{name}.attention"), f"{name}.attention.output.dense")
            x = self.norm(seen + x, f"{name}.attention.output.LayerNorm")
            inner = self.linear(x, f"{name}.intermediate.dense")
            inner = inner * 0.5 * (1 + np.vectorize(math.erf)(inner / math.sqrt(2)))
            x = self.norm(self.linear(inner, f"{name}.output.dense") + x, f"{name}.output.LayerNorm")
        mean = x.mean(0)
        return mean / np.linalg.norm(mean)


@pytest.fixture(scope="module")
def reference(minilm_dir: Path) -> Array:
    tokenizer = Tokenizer.from_file(str(folder(minilm_dir, "int8") / TOKENIZER))
    tokenizer.no_padding()
    paper = Paper()
    return np.stack([paper.embed(tokenizer.encode(text).ids) for text in TEXTS])


def test_fp32_is_the_published_model(tmp_path: Path, reference: Array) -> None:
    """At full precision the graph gives the model's own vectors, to rounding."""
    build(tmp_path, precision="fp32")
    encoder = Encoder(tmp_path, "fp32")
    made = np.stack([encoder.encode(text) for text in TEXTS])
    assert (made * reference).sum(axis=1).min() > 0.99999


def test_int8_stays_close_to_it(minilm: MiniLM, reference: Array) -> None:
    """Eight bits turn a vector by less than a paraphrase does."""
    assert (minilm.encode(TEXTS) * reference).sum(axis=1).min() > 0.96


async def test_vectors_have_length_one(minilm: MiniLM) -> None:
    """Rows come in order, float32, of length 1, so a dot product is a cosine."""
    made = await minilm.embed(TEXTS)
    assert made.shape == (len(TEXTS), minilm.dim)
    assert made.dtype == np.float32
    assert np.allclose(np.linalg.norm(made, axis=1), 1.0, atol=1e-5)


async def test_a_texts_vector_does_not_depend_on_its_company(minilm_dir: Path) -> None:
    """A text alone, among others, or in bulk has the same vector, to the last bit."""
    one, other = MiniLM(minilm_dir, deadline=30.0), MiniLM(minilm_dir, deadline=30.0)
    try:
        together = await one.embed([*TEXTS, "x " * 100])
        alone = await other.embed(TEXTS[:1])
        assert (together[0] == alone[0]).all()
        assert (one.encode(TEXTS) == together[: len(TEXTS)]).all()
    finally:
        one.close()
        other.close()


async def test_meaning_is_nearer_than_words(minilm: MiniLM) -> None:
    """A paraphrase is nearer than a sentence that shares the words."""
    a, b, c = await minilm.embed(
        ["how do I reset my password", "I forgot my login credentials", "reset my bank card limit"]
    )
    assert a @ b > a @ c


async def test_a_recent_text_is_not_encoded_again(minilm_dir: Path) -> None:
    """The router and the cache ask for the same text: the second is a look-up, also after the thread is gone."""
    encoder = MiniLM(minilm_dir, deadline=30.0, remember=2)
    first = await encoder.embed(["one", "two", "one"])
    encoder._worker.close()
    assert (await encoder.embed(["two", "one"]) == first[[1, 0]]).all()
    with pytest.raises(RuntimeError, match="closed"):
        await encoder.embed(["three"])


async def test_what_is_remembered_is_bounded(minilm_dir: Path) -> None:
    """The oldest text is forgotten first."""
    encoder = MiniLM(minilm_dir, deadline=30.0, remember=2)
    for text in ("one", "two", "three"):
        await encoder.embed([text])
    assert len(encoder._recent) == 2
    encoder.close()
    assert not encoder._recent


async def test_the_caller_cannot_change_what_is_remembered(minilm: MiniLM) -> None:
    """The rows handed out are the caller's own."""
    (await minilm.embed(TEXTS[:1]))[0][:] = 0
    assert np.allclose(np.linalg.norm((await minilm.embed(TEXTS[:1]))[0]), 1.0, atol=1e-5)


async def test_too_many_texts_are_refused(minilm: MiniLM) -> None:
    """One call cannot take the encoder for itself."""
    with pytest.raises(ValueError, match="at most"):
        await minilm.embed(["x"] * (MAX_TEXTS + 1))


async def test_any_text_can_be_embedded(minilm: MiniLM) -> None:
    """Empty, enormous, blank, lone surrogates, other scripts: each has a vector of length 1."""
    made = await minilm.embed(["", " " * 5000, "a" * 1_000_000, "\ud800", "你好，世界", "\0"])
    assert np.allclose(np.linalg.norm(made, axis=1), 1.0, atol=1e-4)


def test_a_long_text_is_cut_before_it_is_tokenised() -> None:
    """A megabyte costs what two kilobytes cost, and white space does not use up the room."""
    assert len(shortened("word " * 300_000)) <= 2048
    assert shortened(" \n" * 3000 + "the question") == "the question"
    assert shortened("short  text ") == "short  text "


async def test_the_event_loop_goes_on_while_texts_are_encoded(minilm_dir: Path) -> None:
    """Encoding runs in its own thread: the loop takes other turns meanwhile."""
    encoder = MiniLM(minilm_dir, deadline=60.0)
    try:
        task = asyncio.create_task(encoder.embed([f"{number} " * 120 for number in range(20)]))
        turns = 0
        while not task.done():
            turns += 1
            await asyncio.sleep(0)
        assert turns > 20
        await task
    finally:
        encoder.close()


async def test_an_overloaded_encoder_says_so(minilm_dir: Path) -> None:
    """With more callers than may wait, some get a TimeoutError at once and the rest get their vectors."""
    encoder = MiniLM(minilm_dir, queue=2, deadline=60.0)
    try:
        calls = [encoder.embed([f"{number} and more words " * 20]) for number in range(12)]
        results = await asyncio.gather(*calls, return_exceptions=True)
        refused = [result for result in results if isinstance(result, TimeoutError)]
        made = [result for result in results if isinstance(result, np.ndarray)]
        assert refused
        assert len(made) >= 2
        assert len(refused) + len(made) == 12
    finally:
        encoder.close()
