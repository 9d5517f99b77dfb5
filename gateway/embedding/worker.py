"""One thread that embeds for the event loop, with a bounded queue in front of it."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


class _Job:
    __slots__ = ("future", "loop", "texts")

    def __init__(self, texts: Sequence[str], loop: asyncio.AbstractEventLoop) -> None:
        self.texts = texts
        self.loop = loop
        self.future: asyncio.Future[list[Array]] = loop.create_future()

    def settle(self, made: list[Array] | None, error: Exception | None) -> None:
        """Runs on the loop."""
        if self.future.done():
            return
        if error is not None:
            self.future.set_exception(error)
        elif made is not None:
            self.future.set_result(made)


class Worker:
    """Takes jobs in order. A job that nobody waits for any more is skipped, text by text."""

    def __init__(self, encode: Callable[[str], Array], *, bound: int) -> None:
        self._encode = encode
        self._queue: queue.Queue[_Job | None] = queue.Queue(maxsize=bound)
        self._thread: threading.Thread | None = None
        self._closed = False

    @property
    def waiting(self) -> int:
        """Jobs in the queue, the one under way not counted."""
        return self._queue.qsize()

    async def run(self, texts: Sequence[str], deadline: float) -> list[Array]:
        """A vector for each text. Raises TimeoutError when the queue is full or `deadline` seconds have passed."""
        if self._closed:
            raise RuntimeError("the encoder is closed")
        if self._thread is None:  # started late, so that a process that forks before its first text forks no thread
            self._thread = threading.Thread(target=self._work, name="embed", daemon=True)
            self._thread.start()
        job = _Job(texts, asyncio.get_running_loop())
        try:
            self._queue.put_nowait(job)
        except queue.Full:
            raise TimeoutError(f"the encoder is overloaded: {self._queue.maxsize} requests wait for it") from None
        async with asyncio.timeout(deadline):  # on time-out the future is cancelled, and the thread skips the job
            return await job.future

    def close(self) -> None:
        """Ends the thread after the job under way; waiting jobs get a TimeoutError. Safe to call twice."""
        self._closed = True
        while True:
            try:
                job = self._queue.get_nowait()
            except queue.Empty:
                break
            if job is not None:
                _tell(job, None, TimeoutError("the encoder is closing"))
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join(timeout=5.0)
            self._thread = None

    def _work(self) -> None:
        while (job := self._queue.get()) is not None:
            made: list[Array] = []
            error: Exception | None = None
            try:
                for text in job.texts:
                    if job.future.cancelled():
                        break
                    made.append(self._encode(text))
            except Exception as failure:  # told to the one who asked; the thread lives on
                error = failure
            if not job.future.cancelled():
                _tell(job, made, error)


def _tell(job: _Job, made: list[Array] | None, error: Exception | None) -> None:
    try:
        job.loop.call_soon_threadsafe(job.settle, made, error)
    except RuntimeError:
        return  # its loop is closed: nobody is left to tell
