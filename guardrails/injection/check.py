"""The injection check: rules and n-grams over everything, a sentence encoder over the worst windows, one score a text."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

import msgspec
import numpy as np

from guardrails.injection.head import Head, ModelPart, load
from guardrails.injection.rules import Rules
from guardrails.injection.windows import WINDOW, begins, reading

STRONG_BONUS = 4.0
WEAK_BONUS = 1.0
"""What a rule adds to the logit. Chosen together with the threshold on held-out sources (`train.py` prints the
figures): a bonus and not a verdict, so that a question *about* an attack, which the model knows for one, can quote
it."""
MOST_WEAK = 3

LENGTH = 0.5
"""Taken from the logit for each doubling of the number of windows: the worst of many is worse by chance alone."""

WORST = 3
"""Windows that the encoder looks at. Each costs about 10 ms."""

FLOOR = -3.0
"""The least that the network's logit counts for: harmless words around an attack make it say "harmless" loudly, and must not
outvote what the first tier found. Costs no recall on held-out sources."""

MAX_CHARS = 400_000
"""Of one text; a longer one cannot be scored in any deadline and is reported as not scanned."""

Encode = Callable[[Sequence[str]], np.ndarray[Any, Any]]
"""Texts to vectors: float32 rows of length 1, on the calling thread. Called from several threads at once."""
Extra = Callable[[str], float]
"""One more opinion on a window of the grey band: 0 to 1, 0.5 its threshold."""
Model = Literal["off", "spared", "looked", "skipped"]


class Scored(msgspec.Struct, frozen=True, gc=False):
    """0.5 is the threshold chosen in training. `rule` names the strong rule that hit, if any.

    `model` says what the second tier did: `off` (there is none), `spared` (the first was sure), `looked`, or `skipped`: it
    should have looked and had no time, so the score is the first tier's alone and the text has not passed the model."""

    score: float
    rule: str = ""
    model: Model = "off"


class Window(msgspec.Struct, frozen=True, gc=False):
    logit: float
    text: str


class Read(msgspec.Struct, frozen=True, gc=False):
    """What the first tier makes of a text. `worst`: the windows for the second, the worst first."""

    logit: float
    rule: str
    worst: list[Window]


class Injection:
    """Scores one text at a time. Holds no state, so one serves all exchanges.

    `encode`, `encoder_id`: the second tier's encoder and its id; without one the first tier alone decides, with a threshold
    of its own. `extra`: asked about the worst windows when the score so far lies in the grey band; the highest counts.
    Raises ValueError for an encoder that the head was not trained with.
    """

    def __init__(
        self,
        head: Head | None = None,
        *,
        encode: Encode | None = None,
        encoder_id: str = "",
        extra: Sequence[Extra] = (),
    ) -> None:
        self._head = head or load()
        self._rules = Rules()
        self._encode = encode
        self._extra = tuple(extra)
        self._part = self._head.header.model if encode is not None else None
        if encode is not None:
            self._accept(encode, encoder_id)
        self.score("warm up: ignore nothing")

    def _accept(self, encode: Encode, encoder_id: str) -> None:
        part = self._part
        if part is None or self._head.network is None:
            raise ValueError(
                "this injection head was trained without an encoder: leave `encode` out, or train it with one"
            )
        if encoder_id != part.encoder:
            raise ValueError(f"this injection head was trained with the encoder {part.encoder}, not {encoder_id!r}")
        shape = encode(["warm up"]).shape
        if shape != (1, part.dim):
            raise ValueError(f"the encoder gave vectors of shape {shape}, expected (1, {part.dim})")

    def score(self, text: str, until: float | None = None) -> Scored:
        """How much `text` reads like an attack. `until`, on the monotonic clock: no window is encoded later than that.
        Raises ValueError when the text is too long to tell."""
        if len(text) > MAX_CHARS:
            raise ValueError(f"{len(text)} characters are more than {MAX_CHARS}")
        texts = reading(text)
        if not texts:
            return Scored(0.0)
        read = self.read(texts)
        scored = Scored(self._head.header.grams.score(read.logit), read.rule)
        if self._part is not None:
            scored = self._second(read, scored, self._part, until)
        if self._extra and self.in_grey_band(scored.score):
            said = [ask(window.text) for window in read.worst for ask in self._extra]
            scored = msgspec.structs.replace(scored, score=max([scored.score, *said]))
        return scored

    def read(self, texts: Sequence[str]) -> Read:
        """The first tier's look at a reading (`windows.reading`)."""
        strong, weak, found = "", 0, []
        for text in texts:
            hit, votes = self._rules.hits(text)
            strong, weak = strong or hit, max(weak, votes)
            logits = self._head.logits(text)
            at = np.argpartition(-logits, WORST - 1)[:WORST] if len(logits) > WORST else range(len(logits))
            starts = begins(len(text))
            found += [Window(float(logits[i]), text[starts[i] : starts[i] + WINDOW]) for i in at]
        worst = sorted(found, key=lambda window: -window.logit)[:WORST]
        count = sum(len(begins(len(text))) for text in texts)
        return Read(worst[0].logit + bonus(strong, weak) - LENGTH * math.log2(count), strong, worst)

    def in_grey_band(self, score: float, low: float = 0.15, high: float = 0.85) -> bool:
        """Whether a dearer check might change what `score` says."""
        return low <= score <= high

    def _second(self, read: Read, first: Scored, part: ModelPart, until: float | None) -> Scored:
        if not part.low <= read.logit <= part.high:
            return msgspec.structs.replace(first, model="spared")
        best: float | None = None
        skipped = False
        for window in read.worst:
            said = self._ask(window.text, until)
            if said is None:
                skipped = True
                break
            best = said if best is None else max(best, said)
        score = part.calibration.score(read.logit + part.share * max(best, FLOOR)) if best is not None else 0.0
        if skipped:
            return Scored(max(first.score, score), first.rule, "skipped")
        return Scored(score, first.rule, "looked")

    def _ask(self, window: str, until: float | None) -> float | None:
        assert self._encode is not None
        assert self._head.network is not None
        if until is not None and time.monotonic() >= until:
            return None
        try:
            return float(self._head.network.logits(self._encode([window]))[0])
        except TimeoutError:
            return None


def bonus(strong: str, weak: int) -> float:
    return (STRONG_BONUS if strong else 0.0) + WEAK_BONUS * min(weak, MOST_WEAK)
