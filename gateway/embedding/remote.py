"""A provider's `/v1/embeddings` as an `Embed` port: batched, bounded, with a deadline and a breaker.

Texts that are wanted in one turn of the event loop leave in one call, and so do those that gather while all calls are
under way. A failure is the caller's to live with: to the semantic cache a miss, to the router a question without an intent.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import numpy as np

from gateway.core.breaker import Breaker
from gateway.core.clock import Clock
from gateway.core.errors import GatewayFault, Unavailable, UpstreamRejected
from gateway.embedding.recent import Recent
from gateway.embedding.reply import vectors_of
from gateway.embedding.texts import key_of, shortened, well_formed

Array = np.ndarray[Any, Any]
Ask = Callable[[Sequence[str], float], Awaitable[bytes]]
"""One call with these texts, within so many seconds: the reply's body. Raises TimeoutError or a `GatewayFault`."""

_CALLS = 4
"""Under way at one time."""
_MOST_WAITING = 512
"""Texts that wait for a call."""
_FIT_SECONDS = 10.0
"""For one call at start, when examples are learned."""
_MOST_TEXTS = 64
"""Texts in one `embed`. More belong to `encode`."""


class RemoteEmbed:
    """Implements `core.ports.Embed`, and `encode` for learning examples. For one event loop."""

    def __init__(
        self,
        id: str,
        dim: int,
        ask: Ask,
        apart: Callable[[], AbstractAsyncContextManager[Ask]],
        clock: Clock,
        *,
        deadline: float,
        batch: int = 64,
        remember: int = 1024,
    ) -> None:
        """`apart` gives an `ask` for another event loop, for `encode`. `deadline`: seconds; `remember`: recent texts whose
        vectors are kept, under a digest."""
        self.id = id
        self.dim = dim
        self._ask = ask
        self._apart = apart
        self.deadline = deadline
        self._batch = batch
        self._breaker = Breaker(clock)
        self._recent = Recent(remember)
        self._waiting: dict[bytes, tuple[str, list[asyncio.Future[Array]]]] = {}
        self._under_way: set[asyncio.Task[None]] = set()
        self._due = False
        self._calls = self._failures = self._texts = 0
        self.trouble = ""
        """What was wrong with the last call that failed, until one succeeds. Safe to show."""

    async def embed(self, texts: Sequence[str]) -> Array:
        """Shape (len(texts), dim), float32, rows of length 1.

        Raises TimeoutError when too many texts wait or the deadline has passed, a `GatewayFault` for a provider that
        fails, ValueError for too many texts.
        """
        if len(texts) > _MOST_TEXTS:
            raise ValueError(f"at most {_MOST_TEXTS} texts at once, not {len(texts)}")
        keys = [key_of(text) for text in texts]
        rows = {key: row for key in keys if (row := self._recent.get(key)) is not None}
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in rows}
        if missing:
            if len(self._waiting) + len(missing) > _MOST_WAITING:
                raise TimeoutError(f"{_MOST_WAITING} texts wait for the embedding provider")
            futures = [self._wanted(key, text) for key, text in missing.items()]
            try:
                async with asyncio.timeout(self.deadline):
                    made = await asyncio.gather(*futures)
            finally:
                for future in futures:
                    future.cancel()
            rows.update(zip(missing, made, strict=True))
        return np.stack([rows[key] for key in keys])

    def encode(self, texts: Sequence[str]) -> Array:
        """The same vectors, many at once, in a thread of its own while the caller waits: before serving. Raises
        TimeoutError or a `GatewayFault`."""
        made: list[Array] = []
        failed: list[BaseException] = []

        def work() -> None:
            try:
                made.append(asyncio.run(self._all(texts)))
            except Exception as error:  # told to the caller below
                failed.append(error)

        thread = threading.Thread(target=work, name="embed-examples", daemon=True)
        thread.start()
        thread.join()
        if failed:
            raise failed[0]
        return made[0]

    def stats(self) -> Mapping[str, float]:
        return {
            "breaker_open": float(self._breaker.open),
            "calls": self._calls,
            "failures": self._failures,
            "texts": self._texts,
            "waiting": len(self._waiting),
        }

    def close(self) -> None:
        """Ends the calls under way; those who wait are told."""
        for task in self._under_way:
            task.cancel()
        self._settle(list(self._waiting.values()), None, TimeoutError("the encoder is closing"))
        self._waiting.clear()
        self._recent.clear()

    # --- one turn's texts, together

    def _wanted(self, key: bytes, text: str) -> asyncio.Future[Array]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Array] = loop.create_future()
        self._waiting.setdefault(key, (well_formed(shortened(text)), []))[1].append(future)
        if not self._due:
            self._due = True
            loop.call_soon(self._send)
        return future

    def _send(self) -> None:
        """Begins calls while there are texts that somebody still waits for, and calls to be had."""
        self._due = False
        while self._waiting and len(self._under_way) < _CALLS:
            batch: dict[bytes, tuple[str, list[asyncio.Future[Array]]]] = {}
            while self._waiting and len(batch) < self._batch:
                key = next(iter(self._waiting))
                text, futures = self._waiting.pop(key)
                if not all(future.done() for future in futures):
                    batch[key] = (text, futures)
            if batch:
                task = asyncio.get_running_loop().create_task(self._call(batch), name="embed-call")
                self._under_way.add(task)
                task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._send()

    async def _call(self, batch: Mapping[bytes, tuple[str, list[asyncio.Future[Array]]]]) -> None:
        made: Array | None = None
        error: Exception | None = None
        try:
            made = await self._asked([text for text, _ in batch.values()])
            for key, row in zip(batch, made, strict=True):
                self._recent.keep(key, row)
        except (TimeoutError, GatewayFault) as failure:
            error = failure
        finally:
            self._settle(list(batch.values()), made, error or TimeoutError("the encoder is closing"))

    def _settle(
        self, wanted: Sequence[tuple[str, list[asyncio.Future[Array]]]], made: Array | None, error: Exception
    ) -> None:
        for at, (_, futures) in enumerate(wanted):
            for future in futures:
                if future.done():
                    continue
                if made is not None:
                    future.set_result(made[at])
                else:
                    future.set_exception(error)

    async def _asked(self, texts: Sequence[str]) -> Array:
        """One call behind the breaker. A text that the provider refuses says nothing of the provider's health."""
        if not self._breaker.admits():
            raise Unavailable("The embedding provider failed again and again, and is left alone for a while.")
        self._calls += 1
        self._texts += len(texts)
        try:
            async with asyncio.timeout(self.deadline):
                body = await self._ask(texts, self.deadline)
            made = vectors_of(body, len(texts), self.dim)
        except UpstreamRejected:
            self._noted("it refuses what it is sent")
            self._breaker.abandoned()
            raise
        except (TimeoutError, GatewayFault, ValueError) as failure:
            self._noted(_words(failure, self.deadline))
            self._breaker.failed()
            raise Unavailable("The embedding provider gave no vectors.") from failure
        except BaseException:
            self._breaker.abandoned()
            raise
        self._breaker.succeeded()
        self.trouble = ""
        return made

    def _noted(self, trouble: str) -> None:
        self._failures += 1
        self.trouble = trouble

    # --- many, apart

    async def _all(self, texts: Sequence[str]) -> Array:
        parts = [texts[at : at + self._batch] for at in range(0, len(texts), self._batch)]
        free = asyncio.Semaphore(_CALLS)
        async with self._apart() as ask:

            async def one(part: Sequence[str]) -> Array:
                async with free, asyncio.timeout(_FIT_SECONDS):
                    body = await ask([well_formed(shortened(text)) for text in part], _FIT_SECONDS)
                try:
                    return vectors_of(body, len(part), self.dim)
                except ValueError as wrong:
                    raise Unavailable(f"The embedding provider's answer is of no use: {wrong}.") from None

            tasks = [asyncio.ensure_future(one(part)) for part in parts]
            try:
                made = await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()
        return np.concatenate(made)

    def __repr__(self) -> str:
        return f"RemoteEmbed({self.id})"


def _words(failure: Exception, deadline: float) -> str:
    """Safe to show: no text and nothing of a body."""
    if isinstance(failure, TimeoutError):
        return f"no answer within {deadline:g} s"
    return str(failure)
