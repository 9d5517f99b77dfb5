"""An inspector as something to ask: it runs in a thread of the pool while the event loop waits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import Executor

from gateway.core.exchange import Exchange
from guardrails.asked.screen import Finding, Inspector


class InPool:
    """Asking."""

    def __init__(self, inspector: Inspector, pool: Executor) -> None:
        self._inspector = inspector
        self._pool = pool

    async def ask(
        self, exchange: Exchange, texts: Sequence[str], findings: Sequence[Finding], seconds: float
    ) -> Sequence[Finding]:
        until = time.monotonic() + seconds
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._inspector.inspect, texts, until)
