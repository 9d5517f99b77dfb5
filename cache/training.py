"""Fits the verifier: `python -m cache.training STREAM.jsonl [--words FILE.jsonl ...] [--out FILE]`.

STREAM: questions with what answers them, {"text", "intent"}. Each is asked of all the others as of a full cache; its four
nearest that no veto stops are the rows, right when both have the same intent. The pairs of `written_pairs.txt` come on
top. `--words`: more texts ({"text"}) for the word weights. No randomness and no timestamps: the same files and encoder
give the same bytes on the same machine; across CPUs the encoder's last bits differ, and rounding usually hides it.

Fitted 2026 on the training half of BANKING77 (CC BY 4.0, PolyAI), words also from CLINC150's (CC BY 3.0); held out is each
question's own rows, a quarter of the questions at a time.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from cache.features import NAMES, pair_features
from cache.fitting import F64, bent, fit, knots_of
from cache.text import normalise, read
from cache.verifier import FILE, FORMAT, Line, Verifier
from cache.verify import veto

NEGATIVES_COUNT = 2.0
"""How often a wrong pair counts: real traffic holds more near-misses than a list of honest questions, and a wrong answer
costs more than a call."""
WRITTEN_COUNT = 1.0
NEAREST = 4
FOLDS = 4
_LEAST = 8
"""Questions that hold a word before its weight is kept."""

Encode = Callable[[Sequence[str]], np.ndarray[Any, Any]]


class Rows(msgspec.Struct):
    """`x` (n, features), `y` 1 for the same question, `counts` the weight, `asker` the question's number, -1 written."""

    x: F64
    y: F64
    counts: F64
    asker: np.ndarray[Any, Any]
    cosine: F64


def word_weights(texts: Iterable[str]) -> tuple[dict[str, float], float]:
    """Inverse document frequencies, rounded to a tenth, and that of a word seen too rarely to be kept."""
    seen: Counter[str] = Counter()
    count = 0
    for text in texts:
        seen.update(set(read(text).words))
        count += 1
    weights = {word: round(math.log(count / n), 1) for word, n in sorted(seen.items()) if n >= _LEAST}
    return weights, round(math.log(count / 4), 1)


def stream_rows(
    texts: Sequence[str], answers: Sequence[str], encode: Encode, words: dict[str, float], rare: float
) -> Rows:
    """Each text asked of all the others."""
    vectors = encode([normalise(text) for text in texts])
    readings = [read(text) for text in texts]
    made: list[tuple[list[float], bool, int]] = []
    for at in range(0, len(texts), 500):
        block = vectors[at : at + 500] @ vectors.T
        for row, cosines in enumerate(block):
            asker = at + row
            cosines[asker] = -1
            for other in np.argsort(-cosines, kind="stable")[:NEAREST]:
                if veto(readings[other], readings[asker]) is None:
                    values = pair_features(readings[other], readings[asker], float(cosines[other]), words, rare)
                    made.append((values, answers[other] == answers[asker], asker))
    y = np.array([float(same) for _, same, _ in made])
    x = np.array([values for values, _, _ in made])
    counts = np.where(y == 1, 1.0, NEGATIVES_COUNT)
    return Rows(x, y, counts, np.array([asker for _, _, asker in made]), x[:, 0])


def written_rows(path: Path, encode: Encode, words: dict[str, float], rare: float) -> Rows:
    pairs = [(a, b, same) for a, b, same in written(path.read_text("utf-8"))]
    cached, asked = [normalise(a) for a, _, _ in pairs], [normalise(b) for _, b, _ in pairs]
    cosines = (encode(cached) * encode(asked)).sum(1)
    made = []
    for (a, b, same), cosine in zip(pairs, cosines, strict=True):
        one, other = read(a), read(b)
        if veto(one, other) is None and one.plain != other.plain:
            made.append((pair_features(one, other, float(cosine), words, rare), same))
    y = np.array([float(same) for _, same in made])
    x = np.array([values for values, _ in made])
    return Rows(x, y, np.where(y == 1, 1.0, NEGATIVES_COUNT) * WRITTEN_COUNT, np.full(len(y), -1), x[:, 0])


def written(text: str) -> list[tuple[str, str, bool]]:
    """(cached, asked, same) of the blocks of `written_pairs.txt`."""
    pairs, cached = [], ""
    for line in text.splitlines():
        mark, _, question = line.partition(" ")
        if mark == "=":
            cached = question
        elif mark in ("+", "-"):
            pairs.append((cached, question, mark == "+"))
    return pairs


def together(*parts: Rows) -> Rows:
    fields = ("x", "y", "counts", "asker", "cosine")
    return Rows(*(np.concatenate([getattr(part, name) for part in parts]) for name in fields))


def held_out(rows: Rows) -> F64:
    """The score of each row by a model that saw no row of its question; written pairs are always learned from."""
    scores = np.zeros(len(rows.y))
    knots = [knots_of(rows.x[:, at]) for at in range(len(NAMES))]
    for fold in range(FOLDS):
        out = (rows.asker >= 0) & (rows.asker % FOLDS == fold)
        model = fit(bent(rows.x[~out], knots), rows.y[~out], rows.counts[~out])
        scores[out] = 1 / (1 + np.exp(-(bent(rows.x[out], knots) @ model[1:] + model[0])))
    return scores


def verifier_of(rows: Rows, words: dict[str, float], rare: float, encoder: str) -> Verifier:
    knots = [knots_of(rows.x[:, at]) for at in range(len(NAMES))]
    model = fit(bent(rows.x, knots), rows.y, rows.counts)
    lines, at = [], 1
    for name, points in zip(NAMES, knots, strict=True):
        rises = tuple(round(float(rise), 3) for rise in model[at : at + len(points) - 1])
        lines.append(Line(name, tuple(points), rises))
        at += len(points) - 1
    return Verifier(
        format=FORMAT, encoder=encoder, bias=round(float(model[0]), 3), lines=tuple(lines), rare=rare, words=words
    )


def packed(verifier: Verifier) -> bytes:
    return msgspec.json.encode(verifier, order="deterministic") + b"\n"


def table(rows: Rows, scores: F64, questions: int) -> list[str]:
    """For each threshold: the share of questions answered from the best candidate, and wrongly."""
    best: dict[int, int] = {}
    for at in np.flatnonzero(rows.asker >= 0):
        asker = int(rows.asker[at])
        if asker not in best or scores[at] > scores[best[asker]]:
            best[asker] = int(at)
    chosen = np.array(list(best.values()))
    lines = ["threshold   served of all   wrong among served"]
    for cut in (0.5, 0.7, 0.8, 0.85, 0.9, 0.92, 0.93, 0.94, 0.95, 0.96, 0.97, 0.98):
        served = chosen[scores[chosen] >= cut]
        wrong = int((rows.y[served] == 0).sum())
        lines.append(
            f"{cut:9.2f}   {100 * len(served) / questions:8.2f} %   {wrong:5} = {100 * wrong / max(1, len(served)):.2f} %"
        )
    return lines


def _texts(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]


def main(arguments: Sequence[str] | None = None) -> int:
    from gateway.embedding.files import models_dir
    from gateway.embedding.minilm import MiniLM

    parser = argparse.ArgumentParser(prog="python -m cache.training", description="Fits the semantic cache's verifier.")
    parser.add_argument("stream", type=Path)
    parser.add_argument("--words", type=Path, action="append", default=[])
    parser.add_argument("--out", type=Path, default=FILE)
    given = parser.parse_args(arguments)
    stream = _texts(given.stream)
    texts = [row["text"] for row in stream]
    more = [row["text"] for path in given.words for row in _texts(path)]
    words, rare = word_weights([*texts, *more])
    encoder = MiniLM(models_dir())
    asked = stream_rows(texts, [row["intent"] for row in stream], encoder.encode, words, rare)
    own = written_rows(Path(__file__).with_name("written_pairs.txt"), encoder.encode, words, rare)
    rows = together(asked, own)
    sys.stderr.write(
        "\n".join([f"{len(asked.y)} and {len(own.y)} rows, held out:", *table(rows, held_out(rows), len(texts))]) + "\n"
    )
    given.out.write_bytes(packed(verifier_of(rows, words, rare, encoder.id)))
    encoder.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
