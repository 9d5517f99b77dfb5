"""Training rows cut into the windows that the tiers learn from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from guardrails.injection.features import grams
from guardrails.injection.own_rows import SOURCE, Row, own_rows
from guardrails.injection.windows import WINDOW, reading, windows

MOST = {0: 8, 1: 3}
"""Windows to learn from of one row. Of an attack only the first: later ones may well be harmless."""
MOST_JUDGED = 12
"""Windows of one row that are looked at when it is held out."""
FULL = 0.8
"""Share of a window that packed rows fill."""


class Example(msgspec.Struct):
    """A row as the check reads it. `pieces`: see `windows.reading`; `fold`: its grouped fold (`folds.py`)."""

    row: Row
    pieces: list[str]
    fold: int = 0

    @property
    def learnable(self) -> bool:
        """Left out: machine-translated attacks. Their languages have few harmless rows on ordinary topics, so the model
        would learn that Hindi is an attack. Our own rows in other languages are written in pairs and stay."""
        return not (self.row.label == 1 and self.row.lang != "en" and not self.row.src.startswith("own"))


class Sample(msgspec.Struct):
    """One window, as buckets and values. `example`: its number; `learn`, `judge`: what it is for."""

    example: int
    label: int
    text: str
    learn: bool
    judge: bool
    buckets: np.ndarray[Any, Any]
    values: np.ndarray[Any, np.dtype[np.float64]]


def read(path: Path) -> tuple[list[Example], str]:
    """(the file's rows and then our own, without exact repeats; SHA-256 of all of them)."""
    decoder = msgspec.json.Decoder(Row)
    data = path.read_bytes()
    own = own_rows()
    digest = hashlib.sha256(data)
    digest.update(msgspec.json.encode(own))
    seen: set[str] = set()
    examples = []
    for row in [*(decoder.decode(line) for line in data.splitlines()), *own]:
        pieces = reading(row.text)
        if pieces and pieces[0] not in seen:
            seen.add(pieces[0])
            examples.append(Example(row, pieces))
    return examples, digest.hexdigest()


def samples(examples: Sequence[Example]) -> list[Sample]:
    """All windows, and windows packed from short harmless rows of one source and fold: without those, nearly all that is
    long would be an attack, and the model would learn that long is bad."""
    out = []
    for at, example in enumerate(examples):
        judged = example.row.src != SOURCE
        for number, text in enumerate(windows(example.pieces)):
            learn = example.learnable and number < MOST[example.row.label]
            judge = judged and number < MOST_JUDGED
            if learn or judge:
                out.append(_sample(at, example.row.label, text, learn, judge))
    out += [_sample(at, 0, text, True, False) for at, text in _packed(examples)]
    return out


def _packed(examples: Sequence[Example]) -> Iterator[tuple[int, str]]:
    short: dict[tuple[str, int], list[int]] = {}
    for at, example in enumerate(examples):
        if example.row.label == 0 and len(example.pieces[0]) < 0.7 * WINDOW:
            short.setdefault((example.row.src, example.fold), []).append(at)
    for places in short.values():
        text, first = "", 0
        for at in places:
            first = first if text else at
            text = f"{text} {examples[at].pieces[0]}".strip()
            if len(text) >= FULL * WINDOW:
                yield first, text[:WINDOW]
                text = ""


def _sample(example: int, label: int, text: str, learn: bool, judge: bool) -> Sample:
    found = grams(text)
    buckets, counts = np.unique(np.concatenate(found.buckets), return_counts=True)
    return Sample(example, label, text, learn, judge, buckets, counts / np.sqrt(found.count))
