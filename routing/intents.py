"""What one text wants: from a vector to an intent, by the bands of the route's configuration."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from gateway.core.ports import Embed
from routing.clarify import Clarify, chosen
from routing.config import IntentsConfig
from routing.conversation import Turn, leans_on_before, normal
from routing.examples import OUT_OF_SCOPE, UNCLEAR, Examples
from routing.head import Head, Reading

_CLEAR = 0.8
"""Confidence from which words that lean on what came before are read alone. `what about that charge on my bill?` after a
password question scores 0.99, `and how do I do that?` 0.56 and means nothing by itself."""


class Intent(msgspec.Struct, frozen=True, gc=False):
    """`name`: an intent, `out_of_scope` or `unclear`. `score`: confidence that the text is in scope. `first` and
    `second`: the likeliest intents, for a clarifying question. `again`: that question was asked before."""

    name: str
    score: float
    first: str = ""
    second: str = ""
    again: bool = False


class Intents:
    """One route's intents. `head` and `embed` are None where the encoder is missing: then only the examples' own words
    are recognised."""

    def __init__(self, config: IntentsConfig, examples: Examples, head: Head | None, embed: Embed | None) -> None:
        self._below = config.below
        self._margin = config.margin
        self._head = head
        self._embed = embed
        self._verbatim = verbatim(examples)
        unclear = config.then.get(UNCLEAR)
        self._unclear = unclear is not None
        question = unclear.clarify if unclear is not None else None
        self._clarify = Clarify(question, examples.intents) if question is not None else None

    def learn(self, head: Head) -> None:
        """From here on questions are read with this head."""
        self._head = head

    async def of(self, turn: Turn) -> Intent | None:
        """None when it takes an encoder and there is none. Raises TimeoutError when the encoder is overloaded."""
        known = self._verbatim.get(normal(turn.text))
        if known is not None:
            return Intent(known, 0.0 if known == OUT_OF_SCOPE else 1.0, known)
        offered = self._clarify.options(turn.reply) if self._clarify is not None else None
        if offered is not None:
            picked = chosen(turn.text, *offered)
            if picked is not None:
                return Intent(picked, 1.0, picked)
        if self._head is None or self._embed is None:
            return None
        texts = [turn.text]
        if turn.before and (offered is not None or leans_on_before(turn.text)):
            texts.append(f"{turn.before}\n{turn.text}")
        vectors = await self._embed.embed(texts)
        readings = [self._head.read(vector, text) for vector, text in zip(vectors, texts, strict=True)]
        return self._band(self._best(readings), turn)

    def _best(self, readings: list[Reading]) -> Reading:
        """`readings`: of the words alone, and perhaps with what came before. The words alone when they are clear or when
        the rest does not help either."""
        alone, joined = readings[0], readings[-1]
        return joined if alone.confidence < _CLEAR and joined.confidence >= self._below else alone

    def _band(self, reading: Reading, turn: Turn) -> Intent:
        if reading.confidence < self._below:
            return Intent(OUT_OF_SCOPE, reading.confidence, reading.best, reading.second)
        if self._unclear and reading.margin < self._margin:
            again = self._clarify is not None and self._clarify.asked(turn.said)
            return Intent(UNCLEAR, reading.confidence, reading.best, reading.second, again)
        return Intent(reading.best, reading.confidence, reading.best, reading.second)


def verbatim(examples: Examples) -> Mapping[str, str]:
    """Example -> intent, for users who type just that: no encoder needed. Examples of two intents are left out."""
    table: dict[str, str] = {}
    pairs = [*zip(examples.texts, examples.labels, strict=True), *((text, OUT_OF_SCOPE) for text in examples.outside)]
    twice = set()
    for text, label in pairs:
        key = normal(text)
        if table.setdefault(key, label) != label:
            twice.add(key)
    return {key: label for key, label in table.items() if key and key not in twice}
