"""A call of a store behind a circuit breaker."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from cache.stores import StoreDown
from gateway.core.breaker import Breaker

T = TypeVar("T")


async def guarded(breaker: Breaker, budget: float, call: Callable[[], Awaitable[T]]) -> T:
    """Runs `call` for at most `budget` seconds. Any failure is a `StoreDown`, and counts."""
    if not breaker.admits():
        raise StoreDown("breaker_open")
    try:
        async with asyncio.timeout(budget):
            result = await call()
    except TimeoutError:
        breaker.failed()
        raise StoreDown("timeout") from None
    except Exception as error:
        breaker.failed()
        raise StoreDown(type(error).__name__) from error
    except BaseException:
        breaker.abandoned()
        raise
    breaker.succeeded()
    return result
