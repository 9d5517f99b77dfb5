"""Trains the injection head: `python -m guardrails.injection.train ROWS.jsonl [--encoder DIR] [--out head.bin]`.

Rows: {"text", "label" (1 attack), "src", "lang", "kind"}; the rows written for training (`own_rows.py`) come on top. No
randomness, no timestamps, and one BLAS thread (two cut sums differently, and the network's weights come out different): the
same rows and encoder give the same bytes on the same machine; the shipped head was made twice to see that. On another CPU
the n-grams' weights usually come out the same, as eight bits swallow the last bit of `exp`; the network's may not, because
BLAS and the encoder sum in another order there. Such a head is as good, and not the same.

Thresholds are what few harmless rows exceed in *leave-one-source-out* folds: a random split shares templates between its
halves, and a threshold picked on one let 9 to 27 % of unseen harmless prompts be flagged."""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from guardrails.injection.check import FLOOR
from guardrails.injection.features import BITS, VERSION
from guardrails.injection.folds import GROUPED, SOURCES, grouped_folds
from guardrails.injection.head import Header, ModelPart, dump
from guardrails.injection.holding_out import Held, Vectors, hold_out, network_of
from guardrails.injection.logistic import F64, fit_grams
from guardrails.injection.own_rows import SOURCE
from guardrails.injection.samples import Example, read, samples
from guardrails.injection.tuning import calibration, figures, table

SHARE = 0.3
"""What the network's logit counts for; 0.2 to 0.45 gave nearly the same recall."""
LOW, HIGH = -3.0, 6.0
"""First-tier logits, from the cut, between which the encoder is asked."""

Say = Callable[[str], Any]


class Encoder(msgspec.Struct):
    """`encode`: as in `check.py`. `id`: goes into the head, which then takes no other."""

    id: str
    encode: Callable[[Sequence[str]], np.ndarray[Any, Any]]


class Trained(msgspec.Struct):
    data: bytes
    examples: list[Example]
    sources: dict[int, Held]
    grouped: dict[int, Held]


def train(path: Path, encoder: Encoder | None, *, grouped: bool = True) -> Trained:
    """The head file and the held-out scores. Without an encoder the head has one tier."""
    examples, digest = read(path)
    for example, fold in zip(examples, grouped_folds([example.pieces[0] for example in examples]), strict=True):
        example.fold = fold
    cut_up = samples(examples)
    vectors = remembering(encoder) if encoder is not None else None
    by_source = hold_out(examples, cut_up, [partial(_of_sources, fold) for fold in SOURCES], vectors)
    groups = [partial(_of_group, fold) for fold in range(GROUPED)] if grouped else []
    by_group = hold_out(examples, cut_up, groups, vectors)
    learn = [sample for sample in cut_up if sample.learn]
    weights, scale, bias = quantised(fit_grams(learn))
    network = network_of(learn, vectors) if vectors is not None else None
    first = calibration(examples, first_tier(by_source))
    told = {"grams": figures(examples, first_tier(by_source), first.cut)}
    part = None
    if encoder is not None and network is not None:
        both = calibration(examples, second_tier(by_source))
        told["model"] = figures(examples, second_tier(by_source), both.cut)
        dim, units = network.w1.shape
        part = ModelPart(encoder.id, dim, units, SHARE, first.cut + LOW, first.cut + HIGH, both)
    header = Header(
        version=VERSION, bits=BITS, scale=scale, bias=bias, grams=first, model=part, data=digest, figures=told
    )  # fmt: skip
    return Trained(dump(header, weights, network), examples, by_source, by_group)


def _of_sources(prefixes: Sequence[str], example: Example) -> bool:
    return example.row.src.startswith(tuple(prefixes))


def _of_group(fold: int, example: Example) -> bool:
    return example.row.src != SOURCE and example.fold == fold


def first_tier(held: dict[int, Held]) -> dict[int, float]:
    return {at: one.grams for at, one in held.items()}


def second_tier(held: dict[int, Held]) -> dict[int, float]:
    return {at: one.grams + SHARE * max(one.model, FLOOR) for at, one in held.items()}


def remembering(encoder: Encoder) -> Vectors:
    """Vectors in float16, as they are precise enough and the same rows are asked for in every fold."""
    kept: dict[str, np.ndarray[Any, Any]] = {}

    def vectors(texts: Sequence[str]) -> np.ndarray[Any, np.dtype[np.float32]]:
        for text in texts:
            if text not in kept:
                kept[text] = encoder.encode([text])[0].astype(np.float16)
        return np.stack([kept[text] for text in texts]).astype(np.float32)

    return vectors


def quantised(x: F64) -> tuple[np.ndarray[Any, np.dtype[np.int8]], float, float]:
    """(eight bits a weight, the scale, the bias). The few largest weights are clipped, which measured better than coarser
    steps for all."""
    scale = float(np.quantile(np.abs(x[:-1]), 0.9999)) / 127
    return np.clip(np.rint(x[:-1] / scale), -127, 127).astype(np.int8), scale, round(float(x[-1]), 6)


def tell(trained: Trained, say: Say) -> None:
    header = msgspec.json.decode(trained.data.partition(b"\n")[0], type=Header)
    say(f"{len(trained.data)} bytes, sha256 {hashlib.sha256(trained.data).hexdigest()}\n")
    tiers = [("rules and n-grams", first_tier, header.grams)]
    if header.model is not None:
        tiers.append(("with the encoder", second_tier, header.model.calibration))
    for name, logits, found in tiers:
        for held, what in ((trained.sources, "held-out sources"), (trained.grouped, "grouped folds")):
            if held:
                say(f"\n{name}, {what}: {figures(trained.examples, logits(held), found.cut)}\n")
                say("\n".join(table(trained.examples, logits(held), found.cut)) + "\n")


def main(arguments: Sequence[str], encoder: Encoder | None = None) -> int:
    parser = argparse.ArgumentParser(prog="guardrails.injection.train", description=__doc__)
    parser.add_argument("rows", type=Path)
    parser.add_argument("--encoder", type=Path, help="folder with the encoder's model.onnx and tokenizer.json")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("head.bin"))
    options = parser.parse_args(arguments)
    if options.encoder is not None:
        from guardrails.injection.onnx_encoder import opened

        encoder = opened(options.encoder)
    trained = train(options.rows, encoder)
    options.out.write_bytes(trained.data)
    tell(trained, sys.stdout.write)
    return 0


def _one_thread() -> None:
    """Starts this command over with one BLAS thread, unless it has one: numpy reads that when it is imported only."""
    want = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1")
    if not want.items() <= os.environ.items():
        again = [sys.executable, "-m", "guardrails.injection.train", *sys.argv[1:]]
        os.execve(sys.executable, again, {**os.environ, **want})  # noqa: S606


if __name__ == "__main__":
    _one_thread()
    sys.exit(main(sys.argv[1:]))
