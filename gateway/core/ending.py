"""Tasks that are given up: cancelled, and seen to end before anything else is done."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any


async def end(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancels them and waits until all are over; how they ended stays in them.

    Being cancelled meanwhile, even more than once, does not leave them running: they end first, and then so do we. Else
    what they still do would come after whatever their caller does next.
    """
    for task in tasks:
        task.cancel()
    cancelled: asyncio.CancelledError | None = None
    while left := [task for task in tasks if not task.done()]:
        try:
            await asyncio.wait(left)
        except asyncio.CancelledError as ours:
            cancelled = ours
    if cancelled is not None:
        raise cancelled
