"""The encoder's thread: bounded, in order, and deaf to jobs that nobody waits for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from gateway.embedding.worker import Array, Worker

LONG = 30.0


class Gate:
    """An encode function that stops before each text until it is let through, and remembers what it encoded."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self._open = threading.Semaphore(0)
        self.seen: list[str] = []

    def __call__(self, text: str) -> Array:
        self.entered.release()
        assert self._open.acquire(timeout=LONG)
        self.seen.append(text)
        return np.array([float(len(text))], np.float32)

    def let(self, texts: int = 1) -> None:
        self._open.release(texts)

    async def reached(self) -> None:
        assert await asyncio.to_thread(self.entered.acquire, timeout=LONG)


@contextmanager
def worker_of(gate: Gate, bound: int) -> Iterator[Worker]:
    worker = Worker(gate, bound=bound)
    try:
        yield worker
    finally:
        gate.let(100)
        worker.close()


async def test_a_full_queue_is_an_overload_at_once() -> None:
    """When as many jobs wait as may, the next one is refused without waiting."""
    gate = Gate()
    with worker_of(gate, 1) as worker:
        running = asyncio.create_task(worker.run(["a"], LONG))
        await gate.reached()
        waiting = asyncio.create_task(worker.run(["bb"], LONG))
        await asyncio.sleep(0)
        assert worker.waiting == 1
        with pytest.raises(TimeoutError, match="overloaded"):
            await worker.run(["c"], LONG)
        gate.let(2)
        assert [float(rows[0][0]) for rows in await asyncio.gather(running, waiting)] == [1.0, 2.0]


async def test_a_job_past_its_deadline_is_given_up_and_skipped() -> None:
    """A caller whose time is over gets a TimeoutError, and its text is never encoded."""
    gate = Gate()
    with worker_of(gate, 8) as worker:
        running = asyncio.create_task(worker.run(["first"], LONG))
        await gate.reached()
        with pytest.raises(TimeoutError):
            await worker.run(["late"], 0.01)
        after = asyncio.create_task(worker.run(["after"], LONG))
        gate.let(3)
        await asyncio.gather(running, after)
        assert gate.seen == ["first", "after"]


async def test_a_cancelled_job_stops_between_texts() -> None:
    """A caller that goes away costs at most the text under way."""
    gate = Gate()
    with worker_of(gate, 8) as worker:
        task = asyncio.create_task(worker.run(["one", "two", "three"], LONG))
        await gate.reached()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        after = asyncio.create_task(worker.run(["after"], LONG))
        await asyncio.sleep(0)
        gate.let(4)
        await after
        assert gate.seen == ["one", "after"]


async def test_an_error_reaches_its_caller_and_the_thread_lives_on() -> None:
    """One text that cannot be encoded fails its own call only."""

    def encode(text: str) -> Array:
        if text == "bad":
            raise ValueError("cannot")
        return np.zeros(1, np.float32)

    worker = Worker(encode, bound=4)
    try:
        with pytest.raises(ValueError, match="cannot"):
            await worker.run(["bad"], LONG)
        assert len(await worker.run(["good", "good"], LONG)) == 2
    finally:
        worker.close()


async def test_closing_tells_those_who_wait() -> None:
    """After `close` no caller is left hanging, a new one is told, and the thread is gone."""
    gate = Gate()
    others = set(threading.enumerate())
    worker = Worker(gate, bound=4)
    running = asyncio.create_task(worker.run(["a"], LONG))
    await gate.reached()
    waiting = asyncio.create_task(worker.run(["b"], LONG))
    await asyncio.sleep(0)
    closing = asyncio.create_task(asyncio.to_thread(worker.close))
    with pytest.raises(TimeoutError, match="closing"):
        await waiting
    gate.let()
    await asyncio.gather(running, closing)
    with pytest.raises(RuntimeError, match="closed"):
        await worker.run(["c"], LONG)
    assert not [thread for thread in set(threading.enumerate()) - others if thread.name == "embed"]
    worker.close()
