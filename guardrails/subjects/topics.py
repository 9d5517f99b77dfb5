"""What a text is about: how near it comes, in meaning, to example sentences of each topic.

A text is taken in passages; of each passage the nearest example counts. For a model that runs in this process: takes
milliseconds a passage, so it belongs in a thread."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from guardrails.asked.screen import Finding
from guardrails.finding.spans import Span

Encode = Callable[[Sequence[str]], Any]
THRESHOLD = 0.5
KIND = "TOPIC"
PASSAGE = 400
"""Characters of a passage, about: some 100 tokens."""
MOST = 16
"""Passages of one text that are looked at: its first half of them and its last."""
_SENTENCE = re.compile(r"[^.!?\n。！？]*(?:[.!?。！？]+|\n|\Z)\s*")
_WORD = re.compile(r"\w+")
SMALL_TALK = 3
"""Words up to which a text is not off topic: greetings, thanks, yes and no."""


class Topics:
    """Inspector. With `deny`, a passage nearest to one of those topics is a hit; the other topics are there to be nearer.
    With `allow`, a text is a hit if no passage comes near to any of those."""

    inline = 0

    def __init__(
        self,
        topics: Mapping[str, Sequence[str]],
        *,
        deny: Sequence[str] = (),
        allow: Sequence[str] = (),
        threshold: float = THRESHOLD,
        encode: Encode,
    ) -> None:
        """Encodes the examples now."""
        self._names = [name for name, examples in topics.items() for _ in examples]
        self._examples = np.asarray(encode([text for examples in topics.values() for text in examples]))
        self._deny = frozenset(deny)
        self._allow = frozenset(allow)
        self._threshold = threshold
        self._encode = encode

    def inspect(self, texts: Sequence[str], until: float) -> Sequence[Finding]:
        return [self._one(text, until) for text in texts]

    def _one(self, text: str, until: float) -> Finding:
        near = [self._nearest(passage, until) for passage in passages(text)]
        if self._allow:
            return self._allowed(text, near)
        denied = [(score, name) for score, name in near if name in self._deny]
        if not denied:
            return Finding(score=0.0 if near else None)
        score, name = max(denied)
        spans = [Span(KIND, 0, len(text), score)] if score >= self._threshold else []
        return Finding(spans, round(score, 4), name if spans else "")

    def _allowed(self, text: str, near: Sequence[tuple[float, str]]) -> Finding:
        score = max((score for score, name in near if name in self._allow), default=0.0)
        small = len(_WORD.findall(text[:PASSAGE])) <= SMALL_TALK
        if small or score >= self._threshold:
            return Finding(score=round(score, 4))
        return Finding([Span(KIND, 0, len(text), 1.0)], round(score, 4), "off_topic")

    def _nearest(self, passage: str, until: float) -> tuple[float, str]:
        if time.monotonic() > until:
            raise TimeoutError
        near = self._examples @ np.asarray(self._encode([passage]))[0]
        at = int(near.argmax())
        return float(near[at]), self._names[at]


def passages(text: str) -> list[str]:
    """Whole sentences, together about `PASSAGE` characters; a sentence that is longer is cut."""
    out: list[str] = []
    now = ""
    for match in _SENTENCE.finditer(text):
        sentence = match[0]
        if now and len(now) + len(sentence) > PASSAGE:
            out.append(now)
            now = ""
        now += sentence
        while len(now) > 2 * PASSAGE:
            out.append(now[:PASSAGE])
            now = now[PASSAGE:]
    out.append(now)
    out = [passage.strip() for passage in out if _WORD.search(passage)]
    return out if len(out) <= MOST else [*out[: MOST // 2], *out[-MOST // 2 :]]
