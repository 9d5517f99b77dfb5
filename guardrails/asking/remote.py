"""A moderation service of somebody else: OpenAI's form of it, or a plain one of ours that any web hook can speak.

    POST {"texts": ["..."], "side": "input" | "output", "check": "<the check's name>"}
    200  {"results": [{"score": 0.93, "flagged": true, "category": "fraud"}]}        one for each text, in order

What is sent is the masked text, never more. An answer that is not exactly of its form is "not scanned", never "passed";
so are a redirect, a status that is not 200, and scores outside 0 to 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

import msgspec

from gateway.core.errors import GatewayFault
from gateway.core.exchange import Exchange
from gateway.core.ports import Post
from gateway.core.secret import Secret
from guardrails.asked.screen import Finding
from guardrails.asking.not_scanned import NotScanned
from guardrails.finding.spans import Span

MOST_REPLY = 1 << 20
"""Bytes."""
MOST_CHARS = 200_000
"""Of all texts of one call."""
MOST_TEXTS = 64
AT_ONCE = 32
"""Calls under way; beyond that a text is not scanned rather than kept waiting."""
KIND = "MODERATION"
RULE = "remote"

Form = Literal["openai_moderation", "tidegate"]


class Rating(msgspec.Struct, frozen=True):
    """What the service says of one text. `scores` by category; `flagged` is its own verdict."""

    flagged: bool
    scores: Mapping[str, float]


class Spoken(Protocol):
    """One form of asking."""

    def body(self, texts: Sequence[str]) -> bytes: ...

    def read(self, reply: bytes) -> list[Rating]:
        """Raises `msgspec.DecodeError` (ValidationError is one) for what is not of the form."""
        ...


class _OpenAIResult(msgspec.Struct):
    flagged: bool
    category_scores: dict[str, float]


class _OpenAIReply(msgspec.Struct):
    results: list[_OpenAIResult]


class OpenAIForm:
    """`POST /v1/moderations` as OpenAI documents it, and as this gateway answers it too."""

    def __init__(self, model: str | None) -> None:
        self._model = {"model": model} if model else {}
        self._decoder = msgspec.json.Decoder(_OpenAIReply)

    def body(self, texts: Sequence[str]) -> bytes:
        return msgspec.json.encode({"input": list(texts), **self._model})

    def read(self, reply: bytes) -> list[Rating]:
        return [Rating(result.flagged, result.category_scores) for result in self._decoder.decode(reply).results]


class _PlainResult(msgspec.Struct):
    flagged: bool
    score: float | None = None
    category: str = ""


class _PlainReply(msgspec.Struct):
    results: list[_PlainResult]


class PlainForm:
    """Ours, above. `score` and `category` may be left out."""

    def __init__(self, name: str, side: str) -> None:
        self._said = {"side": side, "check": name}
        self._decoder = msgspec.json.Decoder(_PlainReply)

    def body(self, texts: Sequence[str]) -> bytes:
        return msgspec.json.encode({"texts": list(texts), **self._said})

    def read(self, reply: bytes) -> list[Rating]:
        return [
            Rating(result.flagged, {} if result.score is None else {result.category: result.score})
            for result in self._decoder.decode(reply).results
        ]


class RemoteRules(msgspec.Struct, frozen=True, kw_only=True):
    """`threshold`: hit at this score; None: where the service says so. `categories`: only these count; None: all."""

    url: str
    api_key: Secret | None = None
    threshold: float | None = None
    categories: frozenset[str] | None = None


class Remote:
    """Asking."""

    def __init__(self, rules: RemoteRules, form: Spoken, post: Post, *, at_once: int = AT_ONCE) -> None:
        self._rules = rules
        self._form = form
        self._post = post
        self._headers = {"content-type": "application/json", "accept": "application/json"}
        self._at_once = at_once
        self._under_way = 0

    async def ask(
        self, exchange: Exchange, texts: Sequence[str], findings: Sequence[Finding], seconds: float
    ) -> Sequence[Finding]:
        wanted = [text for text in texts if text.strip()]
        if not wanted:
            return findings
        if len(wanted) > MOST_TEXTS:
            raise NotScanned("too_many")
        if sum(map(len, wanted)) > MOST_CHARS:
            raise NotScanned("too_long")
        ratings = iter(await self._rate(wanted, seconds))
        return [
            self._finding(text, next(ratings)) if text.strip() else known
            for text, known in zip(texts, findings, strict=True)
        ]

    async def _rate(self, texts: Sequence[str], seconds: float) -> list[Rating]:
        if self._under_way >= self._at_once:
            raise NotScanned("busy")
        key = self._rules.api_key
        headers = {**self._headers, "authorization": f"Bearer {key.reveal()}"} if key else self._headers
        self._under_way += 1
        try:
            status, reply = await self._post(
                self._rules.url, headers, self._form.body(texts), seconds=seconds, most=MOST_REPLY
            )
        except GatewayFault as fault:
            raise NotScanned(fault.name) from None
        finally:
            self._under_way -= 1
        if status != 200:
            raise NotScanned(f"status_{status}")
        try:
            ratings = self._form.read(reply)
        except (msgspec.DecodeError, RecursionError):
            raise NotScanned("garbage") from None
        if len(ratings) != len(texts) or not all(_sound(rating) for rating in ratings):
            raise NotScanned("garbage")
        return ratings

    def _finding(self, text: str, rating: Rating) -> Finding:
        """A category that was asked for and is not in the reply was not looked at."""
        wanted, threshold = self._rules.categories, self._rules.threshold
        if wanted is not None and not wanted <= rating.scores.keys():
            raise NotScanned("category_missing")
        scores = [score for name, score in rating.scores.items() if wanted is None or name in wanted]
        score = max(scores, default=None)
        if threshold is not None:
            if score is None:
                raise NotScanned("score_missing")
            hit = score >= threshold
        else:
            hit = rating.flagged
        spans = [Span(KIND, 0, len(text), 1.0 if score is None else score)] if hit else []
        return Finding(spans, score if score is not None else float(hit), RULE)


def _sound(rating: Rating) -> bool:
    return all(0.0 <= score <= 1.0 for score in rating.scores.values())
