from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path

import numpy as np
import pytest

from cache.backends.vector_disk import VectorDisk
from cache.stores import StoreDown
from gateway.core.clock import ManualClock

ONE = np.array([1, 0], np.float32)


def opened(folder: Path, clock: ManualClock, *, encoder: str = "enc", entries: int = 10) -> VectorDisk:
    file = folder / "kept" / "semantic.sqlite"
    return VectorDisk(file, clock, encoder=encoder, dim=2, max_entries=entries, max_bytes=1 << 20)


async def ids(cache: VectorDisk) -> set[str]:
    return {near.id for near in await cache.search("p", ONE, 10, -1)}


async def test_entries_outlive_the_process(tmp_path: Path) -> None:
    """What was stored is there after a restart, with its own expiry, and what was evicted or deleted is not."""
    clock = ManualClock()
    first = opened(tmp_path, clock, entries=3)
    await first.start()
    for number, ttl in enumerate((60, 60, 60, 60, 5)):
        await first.put("p", f"s-{number}", ONE, b"answer %d" % number, ttl)
    await first.delete("s-3")
    await first.close()
    clock.advance(1)
    second = opened(tmp_path, clock)
    await second.start()
    assert await ids(second) == {"s-2", "s-4"}
    clock.advance(10)
    assert await ids(second) == {"s-2"}
    near = await second.search("p", ONE, 1, 0.99)
    assert near[0].payload == b"answer 2"
    assert await second.search("q", ONE, 1, -1) == []
    await second.close()


async def test_another_encoder_starts_afresh(tmp_path: Path) -> None:
    """Vectors of two encoders are never compared."""
    clock = ManualClock()
    first = opened(tmp_path, clock)
    await first.start()
    await first.put("p", "s-1", ONE, b"x", 60)
    await first.close()
    second = opened(tmp_path, clock, encoder="another")
    await second.start()
    assert await ids(second) == set()
    await second.close()


async def test_a_broken_file_is_a_cold_cache(tmp_path: Path) -> None:
    """A file that is no database is replaced: it was only a cache."""
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "semantic.sqlite").write_bytes(b"no database at all " * 500)
    cache = opened(tmp_path, ManualClock())
    await cache.start()
    await cache.put("p", "s-1", ONE, b"x", 60)
    assert await ids(cache) == {"s-1"}
    await cache.close()


async def test_two_processes_cannot_share_a_file(tmp_path: Path) -> None:
    """The second to open it is told what to use instead."""
    first = opened(tmp_path, ManualClock())
    await first.start()
    second = opened(tmp_path, ManualClock())
    with pytest.raises(OSError, match="in use by another process; several workers need a Qdrant server"):
        await second.start()
    await second.close()
    await first.close()


async def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """The start stops with the folder's name and the reason."""
    (tmp_path / "kept").write_text("a file where a folder should be")
    cache = opened(tmp_path, ManualClock())
    with pytest.raises(OSError, match="cannot keep the semantic cache in "):
        await cache.start()
    await cache.close()


async def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    """Answers on disk are readable by the gateway's user only."""
    cache = opened(tmp_path, ManualClock())
    await cache.start()
    await cache.put("p", "s-1", ONE, b"x", 60)
    modes = {stat.S_IMODE(os.stat(path).st_mode) for path in (tmp_path / "kept").iterdir()}
    assert modes == {0o600}
    assert stat.S_IMODE(os.stat(tmp_path / "kept").st_mode) == 0o700
    await cache.close()


async def test_a_deleted_answer_is_gone_from_the_file(tmp_path: Path) -> None:
    """After eviction by id, purge or expiry the answer's bytes are nowhere in the folder."""
    clock = ManualClock()
    cache = opened(tmp_path, clock)
    await cache.start()
    for number in range(4):
        await cache.put("p", f"s-{number}", ONE, b"the planted answer %d" % number, 60 + number)
    await cache.delete("s-0")
    clock.advance(61.5)
    await cache.sweep()
    await cache.purge()
    await cache.close()
    held = b"".join(path.read_bytes() for path in (tmp_path / "kept").iterdir())
    assert b"the planted answer" not in held


async def test_a_write_that_fails_is_a_store_that_is_down(tmp_path: Path) -> None:
    """A full or broken disk is told as such, and the entry still serves from memory."""
    cache = opened(tmp_path, ManualClock())
    await cache.start()
    database = cache._database
    assert database is not None
    database.execute("DROP TABLE entries")
    with pytest.raises(StoreDown, match="disk_OperationalError"):
        await cache.put("p", "s-1", ONE, b"x", 60)
    assert await ids(cache) == {"s-1"}
    await cache.close()


async def test_the_file_gives_space_back(tmp_path: Path) -> None:
    """Entries that come and go do not make the file grow without end."""
    clock = ManualClock()
    cache = opened(tmp_path, clock)
    await cache.start()
    sizes = []
    for _ in range(4):
        for number in range(200):
            await cache.put("p", f"s-{number % 50}", ONE, b"x" * 4000, 60)
        await cache.sweep()
        sizes.append(sum(path.stat().st_size for path in (tmp_path / "kept").iterdir()))
    assert sizes[3] <= sizes[1] * 1.1
    await cache.close()
    with sqlite3.connect(tmp_path / "kept" / "semantic.sqlite") as outside:
        assert outside.execute("SELECT count(*) FROM entries").fetchone()[0] == 10
