"""A real llama.cpp HTTP server in a process of its own.

The server comes with the ``xllamacpp`` package. It aborts its process on an internal assert, so it never shares one with
the gateway. ``LlamaServer`` is the parent's side; ``llamacpp_child`` is what runs in the child.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

Progress = Callable[[str], None]

CALL_TIMEOUT = 5.0  # seconds for each question we ask the server about itself
MOST_ANSWER = 8 << 20  # bytes of its answer
STOP_GRACE = 3.0  # seconds between SIGTERM and SIGKILL
KEPT_LINES = 40  # of its log, for error messages


class ServerDied(RuntimeError):
    """The server process ended, or never became healthy; the message holds the end of its log."""


def quiet(_: str) -> None:
    """A progress callback that says nothing."""


class LlamaServer:
    """One llama.cpp server process, as an async context manager.

    ``model``     path of a GGUF file
    ``alias``     the model name it answers to
    ``port``      0: a free one
    ``parallel``  slots, requests worked on at once; further ones queue
    ``ctx``       tokens of context, shared out evenly among the slots
    ``cache_mib`` memory for the prompts that it keeps beside those of the slots
    ``embedding`` serve ``/v1/embeddings`` (mean pooling) instead of chat
    ``api_key``   when set, requests need it as a bearer token; handed over by environment, never by command line

    The child ends when this process ends, however that happens: it watches its standard input.
    """

    def __init__(
        self,
        model: Path | str,
        *,
        alias: str,
        port: int = 0,
        parallel: int = 4,
        ctx: int = 32768,
        cache_mib: int = 64,
        embedding: bool = False,
        api_key: str | None = None,
        progress: Progress = quiet,
        start_timeout: float = 60.0,
    ) -> None:
        self.alias = alias
        self.model = Path(model)
        self.port = port
        self._parallel, self._ctx, self._cache_mib, self._embedding = parallel, ctx, cache_mib, embedding
        self._api_key = api_key
        self._progress, self._start_timeout = progress, start_timeout
        self._process: subprocess.Popen[bytes] | None = None
        self._log: deque[str] = deque(maxlen=KEPT_LINES)

    def __repr__(self) -> str:
        return f"LlamaServer({self.alias!r}, port={self.port}, running={self.running})"

    @property
    def url(self) -> str:
        """``http://127.0.0.1:PORT``; only once started."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def base_url(self) -> str:
        """What an OpenAI client, or a provider's ``endpoints``, takes: ``url`` and ``/v1``."""
        return f"{self.url}/v1"

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def exit_status(self) -> int | None:
        """None while running or never started; negative: the signal that ended it."""
        return self._process.poll() if self._process else None

    @property
    def log_tail(self) -> str:
        """The last lines the server wrote; at its verbosity they hold no prompts and no answers."""
        return "\n".join(self._log)

    async def __aenter__(self) -> LlamaServer:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start and wait until ``/health`` answers 200. Raises ServerDied, within ``start_timeout``, when it does not."""
        if self.running:
            raise RuntimeError(f"{self!r} is already running")
        await self.stop()  # closes what a server that died left open
        began = time.perf_counter()
        self._log.clear()
        self._process = self._spawn()
        threading.Thread(target=self._drain, args=(self._process,), daemon=True).start()
        try:
            async with asyncio.timeout(self._start_timeout):
                self.port = await asyncio.to_thread(self._read_port, self._process)
                await self._until_healthy()
        except TimeoutError:
            await self.stop()
            raise self._died(f"was not healthy within {self._start_timeout:g} s") from None
        except BaseException:
            await self.stop()
            raise
        self._progress(f"{self.alias}: llama.cpp listens on {self.url} ({time.perf_counter() - began:.2f} s)")

    async def stop(self) -> None:
        """End the process and wait for it: SIGTERM, then SIGKILL. Does nothing when it is not running."""
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            process.terminate()
            try:
                await asyncio.to_thread(process.wait, STOP_GRACE)
            except subprocess.TimeoutExpired:
                process.kill()
                await asyncio.to_thread(process.wait)
            except asyncio.CancelledError:
                process.kill()
                process.wait()
                raise
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()

    async def _until_healthy(self) -> None:
        while not await self.healthy():
            if not self.running:
                raise self._died("ended while loading")
            await asyncio.sleep(0.02)

    async def healthy(self) -> bool:
        """Whether ``/health`` answers 200 (503 while a model loads)."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            return (await self._get("/health"))[0] == 200
        return False

    async def slots(self) -> list[dict[str, Any]]:
        """``/slots``: one object for each slot, with ``id`` and ``is_processing`` among others."""
        status, body = await self._get("/slots")
        if status != 200:
            raise RuntimeError(f"GET {self.url}/slots answered {status}")
        slots: list[dict[str, Any]] = json.loads(body)
        return slots

    async def busy(self) -> int:
        """How many slots are working on a request now."""
        return sum(bool(slot["is_processing"]) for slot in await self.slots())

    async def until_busy(self, count: int, within: float = 5.0) -> float:
        """Wait until exactly ``count`` slots are busy; gives the seconds it took, or raises TimeoutError."""
        began = time.perf_counter()
        async with asyncio.timeout(within):
            while await self.busy() != count:  # noqa: ASYNC110 - another process's state, there is no event for it
                await asyncio.sleep(0.01)
        return time.perf_counter() - began

    async def metrics(self) -> dict[str, float]:
        """``/metrics`` as name -> value, for example ``llamacpp:requests_processing``."""
        status, body = await self._get("/metrics")
        if status != 200:
            raise RuntimeError(f"GET {self.url}/metrics answered {status}")
        lines = (line.rsplit(" ", 1) for line in body.decode().splitlines() if line and not line.startswith("#"))
        return {name: float(value) for name, value in lines}

    async def _get(self, path: str) -> tuple[int, bytes]:
        return await asyncio.to_thread(self._get_now, path)

    def _get_now(self, path: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=CALL_TIMEOUT)
        try:
            headers = {"authorization": f"Bearer {self._api_key}"} if self._api_key else {}
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read(MOST_ANSWER)
        finally:
            connection.close()

    def _spawn(self) -> subprocess.Popen[bytes]:
        # By path and with -P: it needs nothing of this package, and must not find gateway/demo's modules by bare name.
        command = [sys.executable, "-P", str(Path(__file__).with_name("llamacpp_child.py")), "--model", str(self.model)]
        command += ["--alias", self.alias, "--port", str(self.port), "--parallel", str(self._parallel)]
        command += ["--ctx", str(self._ctx), "--cache-ram", str(self._cache_mib), "--with-parent"]
        command += ["--embedding"] if self._embedding else []
        environ = {**os.environ, "GGML_NO_BACKTRACE": "1"}  # else an abort starts a debugger
        if self._api_key:
            environ["TIDEGATE_LLAMA_API_KEY"] = self._api_key
        pipe = subprocess.PIPE
        return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=environ)  # noqa: S603 - our own module

    def _drain(self, process: subprocess.Popen[bytes]) -> None:
        """Keep the end of the log. In a thread, so that a busy event loop never blocks the server's writes."""
        assert process.stderr is not None
        with process.stderr as lines:
            for line in lines:
                self._log.append(line[:500].decode(errors="replace").rstrip())

    def _read_port(self, process: subprocess.Popen[bytes]) -> int:
        """The child's first line of output is its port; it comes when the server listens and the model is loaded."""
        assert process.stdout is not None
        line = process.stdout.readline(100)
        if not line.strip().isdigit():
            process.wait(STOP_GRACE)
            raise self._died("ended before it listened")
        return int(line)

    def _died(self, how: str) -> ServerDied:
        status = self.exit_status
        return ServerDied(
            f"the llama.cpp server for {self.alias!r} {how} (model file {self.model}, exit status {status}); "
            f"the end of its log:\n{self.log_tail or '(nothing)'}"
        )


if __name__ == "__main__":
    from gateway.demo.llamacpp_child import main

    sys.exit(main())
