"""Asking about an answer behind a breaker, within a deadline: what the screen does for requests, for the output side."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from gateway.core.breaker import Breaker
from gateway.core.exchange import Exchange
from guardrails.asked.looking import OF_THE_TEXT
from guardrails.asked.screen import CLEAN, Asking, Finding
from guardrails.asking.not_scanned import NotScanned


class Guarded:
    """One check's. Serves every exchange."""

    def __init__(self, asking: Asking, breaker: Breaker) -> None:
        self._asking = asking
        self._breaker = breaker

    async def ask(self, exchange: Exchange, texts: Sequence[str], deadline: float) -> Sequence[Finding]:
        """One finding for each text. Raises TimeoutError after `deadline` seconds or when the exchange's own time is up,
        `NotScanned`, and whatever else what is asked raises; a breaker that is open is `NotScanned` too."""
        if not self._breaker.admits():
            raise NotScanned("breaker_open")
        seconds = min(deadline, exchange.remaining())
        try:
            async with asyncio.timeout(seconds):
                findings = await self._asking.ask(exchange, texts, [CLEAN] * len(texts), seconds)
        except Exception as error:
            early = isinstance(error, TimeoutError) and seconds < deadline
            if early or (isinstance(error, NotScanned) and error.reason in OF_THE_TEXT):
                self._breaker.abandoned()
            else:
                self._breaker.failed()
            raise
        except BaseException:
            self._breaker.abandoned()
            raise
        self._breaker.succeeded()
        return findings
