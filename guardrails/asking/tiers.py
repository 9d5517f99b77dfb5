"""From a cheap look to a dear one: only what the cheap one was unsure of goes on, and the dear one's word replaces it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from gateway.core.exchange import Exchange
from guardrails.asked.screen import Asking, Finding
from guardrails.asking.not_scanned import NotScanned

Band = tuple[float, float]
"""Scores, both included, that a tier is unsure of."""
MOST_TEXTS = 64
"""That one check sends on to the next tier for one request."""
AT_ONE_TIME = 4
"""Of one request."""


class Tiers:
    """Asking: several, one after the other, each given what the one before found."""

    def __init__(self, steps: Sequence[Asking]) -> None:
        self._steps = tuple(steps)

    async def ask(
        self, exchange: Exchange, texts: Sequence[str], findings: Sequence[Finding], seconds: float
    ) -> Sequence[Finding]:
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        for step in self._steps:
            findings = await step.ask(exchange, texts, findings, max(0.0, until - loop.time()))
        return findings


async def resolved(
    texts: Sequence[str],
    findings: Sequence[Finding],
    band: Band | None,
    one: Callable[[str], Awaitable[Finding]],
    cut: float = 1.0,
) -> Sequence[Finding]:
    """`findings` with those in the band (or all, without one) replaced by what `one` says of the text.

    A text that could not be looked at keeps a hit that it had (spans, or a score of at least `cut`): a tier that fails must
    not undo the one before. If it had none, and nothing else is a hit either, what went wrong is raised. Blank texts are
    not looked at.
    """
    left = [at for at, text in enumerate(texts) if text.strip() and unsure(findings[at], band)]
    if len(left) > MOST_TEXTS:
        raise NotScanned("too_many")
    found = list(findings)
    failed: BaseException | None = None
    room = asyncio.Semaphore(AT_ONE_TIME)

    async def in_turn(text: str) -> Finding:
        async with room:
            return await one(text)

    said = await asyncio.gather(*(in_turn(texts[at]) for at in left), return_exceptions=True)
    for at, finding in zip(left, said, strict=True):
        if isinstance(finding, Finding):
            found[at] = finding
        elif not _hit(found[at], cut):
            failed = finding
    if failed is not None and not any(_hit(finding, cut) for finding in found):
        raise failed
    return found


def _hit(finding: Finding, cut: float) -> bool:
    return finding.hit or (finding.score is not None and finding.score >= cut)


def unsure(finding: Finding, band: Band | None) -> bool:
    """Whether the next tier is to look."""
    if band is None:
        return True
    return finding.score is None or band[0] <= finding.score <= band[1]
