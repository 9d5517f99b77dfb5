"""The demo's inference servers, and what a config says about them.

| model       | served by      | answers                                                                             |
|-------------|----------------|-------------------------------------------------------------------------------------|
| demo        | the copy model | ``You said: ...``; ``say: X`` gives X, ``count to N`` counts, tools are called       |
| noise       | the tiny model | random characters without end; valid JSON when a schema is asked for                |
| demo-embed  | the vector one | ``/v1/embeddings``                                                                  |
| local       | TIDEGATE_GGUF  | whatever that model says                                                            |
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from gateway.demo.files import model_file
from gateway.demo.gguf import build_copy, build_embedding, build_tiny
from gateway.demo.llamacpp import LlamaServer, Progress, ServerDied, quiet

WATCH_EVERY = 0.5  # seconds between looks at the processes
MOST_RESTARTS = 5  # of one server, over the fleet's life: more than that is not an accident


@dataclass(frozen=True, slots=True)
class Member:
    """One kind of server of the fleet."""

    model: str
    build: Callable[[Path], None]
    embedding: bool = False


MEMBERS = (
    Member("demo", build_copy),
    Member("noise", build_tiny),
    Member("demo-embed", build_embedding, embedding=True),
)
PARALLEL, CONTEXT = 4, 32768


class Fleet:
    """Starts the servers together, restarts one that dies (on its old port), stops them all.

    ``replicas`` servers stand behind the model ``demo``, so that balancing has something to balance.
    """

    def __init__(self, *, gguf: Path | None = None, replicas: int = 1, progress: Progress = quiet) -> None:
        self.servers: list[LlamaServer] = []
        self._gguf, self._replicas, self._progress = gguf, replicas, progress
        self._stack = AsyncExitStack()
        self._watch: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Fleet:
        servers = [
            LlamaServer(path, alias=alias, parallel=PARALLEL, ctx=CONTEXT, embedding=embedding, progress=self._progress)
            for alias, path, embedding in self._files()
        ]
        starts = [asyncio.create_task(self._stack.enter_async_context(server)) for server in servers]
        try:
            await asyncio.gather(*starts)
        except BaseException:
            await asyncio.wait(starts)
            await self._stack.aclose()
            raise
        self.servers = servers
        self._watch = asyncio.create_task(self._keep_up())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.wait([self._watch])
        await self._stack.aclose()

    @property
    def providers(self) -> dict[str, dict[str, Any]]:
        """Config entries: one provider for each model, named ``local-MODEL``, with the servers as its endpoints."""
        found: dict[str, dict[str, Any]] = {}
        for server in self.servers:
            entry = found.setdefault(f"local-{server.alias}", {"type": "llama-cpp", "endpoints": []})
            entry["endpoints"].append(server.base_url)
        return found

    @property
    def models(self) -> dict[str, dict[str, Any]]:
        """Config entries of the models in this file's table."""
        return {
            server.alias: {
                "targets": [{"provider": f"local-{server.alias}", "model": server.alias}],
                "context_window": CONTEXT // PARALLEL,
            }
            for server in self.servers
        }

    def _files(self) -> list[tuple[str, Path, bool]]:
        """(alias, model file, serves embeddings) for each server to start; builds what is not in the cache."""
        files = []
        for member in MEMBERS:
            began = time.perf_counter()
            path, built = model_file(member.model, member.build)
            how = f"built in {time.perf_counter() - began:.2f} s" if built else "from the cache"
            self._progress(f"{member.model}: model file {path.name}, {path.stat().st_size / 2**20:.1f} MiB, {how}")
            files += [(member.model, path, member.embedding)] * (self._replicas if member.model == "demo" else 1)
        return files + ([("local", self._gguf, False)] if self._gguf else [])

    async def _keep_up(self) -> None:
        """Restart servers that died: an unusual grammar can make llama.cpp abort, and a demo should survive that."""
        left = dict.fromkeys(range(len(self.servers)), MOST_RESTARTS)
        while True:
            await asyncio.sleep(WATCH_EVERY)
            for number, server in enumerate(self.servers):
                if server.running or not left[number]:
                    continue
                left[number] -= 1
                self._progress(
                    f"{server.alias}: the server ended (exit status {server.exit_status}); starting it again"
                )
                try:
                    await server.start()
                except ServerDied as error:
                    self._progress(str(error))
