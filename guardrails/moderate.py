"""Texts judged by the checks that need no configuration: the toxicity list and the injection detector; and the bounded
line of those who wait for that."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import msgspec

from gateway.core.errors import DeadlineExceeded, Unavailable
from guardrails.finding.scanner import Scanner
from guardrails.injection.check import Encode, Injection
from guardrails.private import secret_tokens
from guardrails.subjects import toxicity

INJECTION = "prompt_injection"
THRESHOLD = 0.5
"""Both checks' own."""
MOST_WAITING = 32
"""Requests judged or waiting for it. The longest one that is let in takes about a quarter of a second."""


@lru_cache(maxsize=1)
def _secrets() -> Scanner:
    return secret_tokens.scanner()


def holds_secret(text: str) -> bool:
    """Whether a credential of a known form is in it."""
    scanner = _secrets()
    return not scanner.quiet(text) and bool(scanner.find(text))


class Moderation(msgspec.Struct, frozen=True):
    """`scores`: 0 to 1 for each category that was looked for. They are severities and likelihoods, not the share of
    people who would mind."""

    scores: Mapping[str, float]

    @property
    def categories(self) -> Mapping[str, bool]:
        return {name: score >= THRESHOLD for name, score in self.scores.items()}


class Moderator:
    """Judges texts, by computing only. Holds no state; loads its models when made."""

    def __init__(self, encode: Encode | None = None, encoder_id: str = "") -> None:
        """Without an encoder, attacks are looked for with one tier less."""
        self._injection = Injection(encode=encode, encoder_id=encoder_id)
        toxicity.rate("warm up")

    def judge(self, text: str) -> Moderation:
        """Raises ValueError for a text too long to tell."""
        return Moderation({**toxicity.rate(text).scores, INJECTION: self._injection.score(text).score})


class JudgingLine:
    """One thread that judges, so that no exchange is held up by it, and at most `most` requests at it or before it."""

    def __init__(self, moderator: Moderator, most: int) -> None:
        self._moderator = moderator
        self._room = threading.BoundedSemaphore(most)
        self._most = most
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="moderations")

    async def judge(self, texts: Sequence[str], seconds: float) -> Sequence[Moderation]:
        """One judgement for each text, in order. Raises `Unavailable` when the line is full, `DeadlineExceeded` when it is
        not done in `seconds`, the wait for the thread included. Whoever leaves the line early gives up the work with it."""
        if not self._room.acquire(blocking=False):
            raise Unavailable(
                f"{self._most} moderation requests are waiting already; try again shortly.", retry_after=1.0
            )
        job = self._pool.submit(self._all, texts, time.monotonic() + seconds)
        job.add_done_callback(lambda _: self._room.release())  # also of one that was cancelled before it began
        try:
            return await asyncio.wait_for(asyncio.wrap_future(job), seconds)
        except TimeoutError:
            raise DeadlineExceeded(f"The texts could not be judged within {seconds:.3g} s.") from None

    def _all(self, texts: Sequence[str], until: float) -> list[Moderation]:
        """Nobody can stop a thread, so it looks at the clock between texts."""
        judged = []
        for text in texts:
            if time.monotonic() > until:
                raise TimeoutError
            judged.append(self._moderator.judge(text))
        return judged
