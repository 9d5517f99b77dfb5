"""Several worker processes behind one listening socket: started, watched, told to drain, and waited for.

uvicorn's own supervisor needs an importable application and picklable settings; ours hands each child the same
command line and an inherited socket, so a worker is exactly what `tidegate serve` is.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from types import FrameType

_FASTEST_DEATHS = 5
_WITHIN = 10.0
"""Seconds: a worker group that dies so often, so fast, is broken and is not restarted."""


class Supervisor:
    """Keeps `count` children of `command` alive until told to stop. `fd`: the listening socket, the supervisor's own from
    here on."""

    def __init__(self, command: Sequence[str], count: int, fd: int, say: Callable[[str], None]) -> None:
        self._command = list(command)
        self._count = count
        self._fd = fd
        self._say = say
        self._children: list[subprocess.Popen[bytes]] = []
        self._stopping = False
        self._deaths: list[float] = []

    def run(self) -> int:
        """Blocks until all children have ended. The exit status: 0, or the first bad one of a broken group."""
        for sig in (signal.SIGTERM, signal.SIGINT):
            signal.signal(sig, self._stop)
        self._children = [self._start() for _ in range(self._count)]
        status = 0
        while self._children:
            for child in list(self._children):
                try:
                    code = child.wait(timeout=0.2)
                except subprocess.TimeoutExpired:
                    continue
                self._children.remove(child)
                if not self._stopping:
                    status = self._replace(child.pid, code)
        return status

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self._command, pass_fds=(self._fd,))  # noqa: S603 - our own command line

    def _replace(self, pid: int, code: int) -> int:
        now = time.monotonic()
        self._deaths = [at for at in self._deaths if now - at < _WITHIN] + [now]
        if code == 2 or len(self._deaths) >= _FASTEST_DEATHS:  # 2: the configuration is wrong, and will stay so
            self._say(f"worker {pid} ended with status {code}; stopping")
            self._stop(signal.SIGTERM, None)
            return code or 1
        self._say(f"worker {pid} ended with status {code}; starting another")
        self._children.append(self._start())
        return 0

    def _stop(self, sig: int, _frame: FrameType | None) -> None:
        """The first time a drain, whatever the signal: a terminal's interrupt has reached the children already, and a
        second one would make them drop what is open."""
        for child in self._children:
            child.send_signal(sig if self._stopping else signal.SIGTERM)
        if not self._stopping:
            self._stopping = True
            os.close(self._fd)  # while any process holds it, the kernel takes connections that nobody will serve


def worker_command(arguments: Sequence[str], fd: int) -> list[str]:
    return [sys.executable, "-m", "gateway.cli", "serve", *arguments, "--fd", str(fd)]
