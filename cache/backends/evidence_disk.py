"""Outcomes in one file beside the vectors: a line each, rewritten with the latest when it has grown to twice as many."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import msgspec

from cache.evidence import WINDOW, Outcome
from cache.stores import StoreDown

T = TypeVar("T")

_LINE = msgspec.json.Decoder(Outcome)
_MOST_BYTES = 4 * 1024 * 1024


class DiskLog:
    """A `shadow.Log` of one process. A line that cannot be read is left out: evidence is lost, never invented."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lines = 0
        self._loaded = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="cache-evidence")
        """One thread, so that lines keep their order."""

    async def load(self) -> list[Outcome] | None:
        """Once: nobody else writes the file."""
        if self._loaded:
            return None
        self._loaded = True
        return await self._run(self._load)

    async def append(self, outcome: Outcome) -> None:
        line = msgspec.json.encode(outcome) + b"\n"
        await self._run(lambda: self._append(line))

    async def close(self) -> None:
        self._thread.shutdown(wait=False)

    async def _run(self, call: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, call)
        except OSError as error:
            raise StoreDown(f"disk_{type(error).__name__}") from error

    def _load(self) -> list[Outcome]:
        try:
            data = self._file.read_bytes()[-_MOST_BYTES:]
        except FileNotFoundError:
            return []
        lines = data.splitlines()
        self._lines = len(lines)
        return [outcome for line in lines[-WINDOW:] if (outcome := _read(line)) is not None]

    def _append(self, line: bytes) -> None:
        if self._lines >= 2 * WINDOW:
            kept = [msgspec.json.encode(outcome) + b"\n" for outcome in self._load()]
            apart = self._file.with_suffix(".new")
            with open(os.open(apart, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "wb") as file:
                file.writelines(kept)
            apart.replace(self._file)
            self._lines = len(kept)
        self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(os.open(self._file, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600), "ab") as file:
            file.write(line)
        self._lines += 1


def _read(line: bytes) -> Outcome | None:
    try:
        return _LINE.decode(line)
    except msgspec.MsgspecError:
        return None
