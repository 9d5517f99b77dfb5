from __future__ import annotations

import asyncio

from cache.writer import Writer


async def test_every_accepted_job_is_written_or_counted() -> None:
    """A job that fails is counted, and the others are written all the same."""
    writer = Writer()
    await writer.start()
    done: list[int] = []

    async def job(number: int) -> None:
        if number % 3 == 0:
            raise OSError("disk")
        done.append(number)

    for number in range(100):
        assert writer.offer(10, lambda number=number: job(number))
    await writer.close()
    assert len(done) == writer.written == 66
    assert writer.failed == 34
    assert writer.stats()["queued_bytes"] == 0


async def test_a_full_queue_drops_and_counts() -> None:
    """Neither the count nor the bytes of what waits can grow beyond their bounds."""

    async def job() -> None: ...

    by_count, by_bytes = Writer(bound=3), Writer(max_bytes=100)
    assert [by_count.offer(1, job) for _ in range(5)] == [True, True, True, False, False]
    assert [by_bytes.offer(40, job) for _ in range(4)] == [True, True, False, False]
    assert (by_count.dropped, by_bytes.dropped) == (2, 2)


async def test_offering_never_waits() -> None:
    """`offer` returns before the job has begun: the request path does not pay for the store."""
    writer = Writer()
    await writer.start()
    begun: list[bool] = []

    async def job() -> None:
        begun.append(True)

    writer.offer(1, job)
    assert not begun
    await writer.drained()
    assert begun
    await writer.close()


async def test_closing_does_not_wait_for_ever() -> None:
    """A store that hangs cannot hold up the shutdown; what was not written is counted as dropped."""
    writer = Writer()
    await writer.start()

    async def hangs() -> None:
        await asyncio.sleep(3600)

    for _ in range(40):
        writer.offer(1, hangs)
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await writer.close(limit=0.05)
    assert writer.dropped == 40
    assert writer.written == 0
