"""The vector store of one process that outlives it: searched in memory, kept in one SQLite file a route.

qdrant-edge was measured for this and not taken: it gives space back only in `optimize()`, which holds the GIL (0.5 s at
2,000 entries, 4.3 s at 10,000: every stream of the process stands still), and its file grows by 4 KB a write until then.
For the sizes one process should hold, a scan of a partition is as fast (see `vector_memory`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np

from cache.backends.vector_memory import VectorMemory
from cache.stores import ALL, UNLABELLED, Labels, Near, StoreDown, Which
from gateway.core.clock import Clock

T = TypeVar("T")

_SCHEMA = """
PRAGMA auto_vacuum = INCREMENTAL;
PRAGMA locking_mode = EXCLUSIVE;
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
PRAGMA secure_delete = ON;
CREATE TABLE IF NOT EXISTS about (encoder TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS entries (
    id TEXT PRIMARY KEY, partition TEXT NOT NULL, vector BLOB NOT NULL, payload BLOB NOT NULL, expires INTEGER NOT NULL,
    stored INTEGER NOT NULL, labels BLOB NOT NULL
);
"""

_VERSION = 2
"""Of the table. A file of another is started over: a cache is worth nothing more."""

_Row = tuple[str, str, bytes, bytes, int, int, bytes]
_LABELLED = msgspec.msgpack.Decoder(Labels)


class VectorDisk:
    """A `VectorStore`. One process at a time may have the file open; deleted answers are overwritten in it."""

    def __init__(self, file: Path, clock: Clock, *, encoder: str, dim: int, max_entries: int, max_bytes: int) -> None:
        self._file = file
        self._clock = clock
        self._encoder = encoder
        self._dim = dim
        self._gone: set[str] = set()
        self._memory = VectorMemory(clock, dim=dim, max_entries=max_entries, max_bytes=max_bytes, gone=self._gone.add)
        self._database: sqlite3.Connection | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="cache-disk")
        """One thread, so that writes keep their order."""

    async def start(self) -> None:
        """Opens the file and loads what has not expired. Raises OSError saying what to do if it cannot be used."""
        rows = await self._run(self._open)
        for id, partition, vector, payload, expires, stored, labels in rows:
            ttl = (expires - self._clock.wall()) / 1e9
            if ttl > 0 and len(vector) == 4 * self._dim:
                numbers = np.frombuffer(vector, np.float32)
                self._memory.load(partition, id, numbers, payload, ttl, _LABELLED.decode(labels), stored)

    async def search(self, partition: str, vector: np.ndarray[Any, Any], limit: int, floor: float) -> list[Near]:
        return await self._memory.search(partition, vector, limit, floor)

    async def put(
        self,
        partition: str,
        id: str,
        vector: np.ndarray[Any, Any],
        payload: bytes,
        ttl: float,
        labels: Labels = UNLABELLED,
    ) -> None:
        await self._memory.put(partition, id, vector, payload, ttl, labels)
        now = self._clock.wall()
        numbers = np.asarray(vector, np.float32).tobytes()
        await self._save((id, partition, numbers, payload, now + int(ttl * 1e9), now, msgspec.msgpack.encode(labels)))

    async def delete(self, id: str) -> bool:
        there = await self._memory.delete(id)
        await self._save(None)
        return there

    async def purge(self, which: Which = ALL, *, dry_run: bool = False) -> int:
        count = await self._memory.purge(which, dry_run=dry_run)
        if dry_run:
            return count
        if which.all:
            await self._run(lambda: self._write(lambda database: database.execute("DELETE FROM entries")))
        await self._save(None)
        return count

    async def sweep(self) -> None:
        await self._memory.sweep()
        await self._save(None)
        await self._run(lambda: self._write(lambda database: database.executescript("PRAGMA incremental_vacuum(256)")))

    async def close(self) -> None:
        if self._database is not None:
            await self._run(self._database.close)
            self._database = None
        self._thread.shutdown(wait=False)
        await self._memory.close()

    def stats(self) -> Mapping[str, float]:
        return self._memory.stats()

    async def _run(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    async def _save(self, row: _Row | None) -> None:
        """Writes one entry, and takes out those that memory has let go since."""
        gone = [(id,) for id in self._gone]
        self._gone.clear()

        def save(database: sqlite3.Connection) -> None:
            database.executemany("DELETE FROM entries WHERE id = ?", gone)
            if row is not None:
                database.execute("INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?, ?, ?, ?)", row)

        if gone or row is not None:
            try:
                await self._run(lambda: self._write(save))
            except StoreDown:
                self._gone.update(id for (id,) in gone)  # or they would come back with the next start
                raise

    def _write(self, change: Callable[[sqlite3.Connection], object]) -> None:
        assert self._database is not None, "started before use"
        try:
            with self._database as database:
                change(database)
        except sqlite3.Error as error:
            raise StoreDown(f"disk_{type(error).__name__}") from error

    def _open(self) -> list[_Row]:
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(self._file, os.O_CREAT | os.O_RDWR, 0o600))
        except OSError as error:
            raise OSError(f"qdrant: cannot keep the semantic cache in {self._file.parent}: {error.strerror}") from error
        try:
            return self._load()
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                raise OSError(f"qdrant: cannot use {self._file}: {error}") from error
            raise OSError(
                f"qdrant: {self._file} is in use by another process; several workers need a Qdrant server"
            ) from error
        except sqlite3.DatabaseError:
            self._start_over()
            return self._load()

    def _load(self) -> list[_Row]:
        database = sqlite3.connect(self._file, timeout=0.5, check_same_thread=False)
        try:
            if database.execute("PRAGMA user_version").fetchone()[0] != _VERSION:
                database.executescript("DROP TABLE IF EXISTS entries")
            database.executescript(_SCHEMA)
            database.execute(f"PRAGMA user_version = {_VERSION}")
            known = database.execute("SELECT encoder FROM about").fetchone()
            with database:
                if known is None or known[0] != self._encoder:  # vectors of two encoders cannot be compared
                    database.execute("DELETE FROM about")
                    database.execute("INSERT INTO about VALUES (?)", (self._encoder,))
                    database.execute("DELETE FROM entries")
                database.execute("DELETE FROM entries WHERE expires <= ?", (self._clock.wall(),))
            rows: list[_Row] = database.execute(
                "SELECT id, partition, vector, payload, expires, stored, labels FROM entries ORDER BY rowid"
            ).fetchall()
        except BaseException:
            database.close()
            raise
        self._database = database
        return rows

    def _start_over(self) -> None:
        """A file that is no database, or a broken one: a cache is worth nothing more than a fresh start."""
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{self._file}{suffix}")
