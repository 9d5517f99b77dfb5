"""Child processes of the bench: pinned to a core, with the CPU time and memory of their whole tree. Linux only.

CPU is read from ``/proc/PID/stat`` (user + system, 10 ms steps) for the process, all its descendants and the children it
has reaped, so a gateway that hands work to other processes pays for it here too.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class StartError(Exception):
    """A subject did not come up; the message holds the end of its log."""


def free_port() -> int:
    """A TCP port that was free a moment ago on 127.0.0.1."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def cores() -> tuple[int, int]:
    """The core for the load and upstream, and the core for the subject: the first and last this process may use."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[0], allowed[-1]


def core_busy(core: int) -> float:
    """Seconds `core` has been busy since boot, with anybody's work. Raises LookupError for a core that is not there."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name == f"cpu{core}":
            user, nice, system, _idle, _iowait, irq, softirq, *rest = (int(field) for field in fields)
            return (user + nice + system + irq + softirq + (rest[0] if rest else 0)) / _TICK
    raise LookupError(f"no core {core} in /proc/stat")


def _stats() -> dict[int, list[str]]:
    """Fields of every ``/proc/PID/stat`` after the command name: [1] ppid, [11:15] utime stime cutime cstime, [21] rss."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                text = Path("/proc", entry, "stat").read_text()
            except OSError:
                continue
            found[int(entry)] = text[text.rindex(")") + 2 :].split()
    return found


def tree(root: int) -> dict[int, list[str]]:
    """The stat fields of `root` and every live descendant."""
    stats = _stats()
    children: dict[int, list[int]] = {}
    for pid, fields in stats.items():
        children.setdefault(int(fields[1]), []).append(pid)
    out, todo = {}, [root]
    while todo:
        pid = todo.pop()
        if pid in stats:
            out[pid] = stats[pid]
            todo += children.get(pid, [])
    return out


class Process:
    """A started child in its own process group, its output in a log file; use as a context manager to stop it."""

    def __init__(
        self, argv: Sequence[str], *, core: int | None, log: Path, env: Mapping[str, str] | None = None
    ) -> None:
        """`core`: the only one that it runs on; None: any."""
        self.argv = list(argv)
        self.log = log
        self._log = log.open("wb")
        before = os.sched_getaffinity(0)
        # A child inherits its parent's affinity, so it is pinned from its first instruction, threads and all.
        if core is not None:
            os.sched_setaffinity(0, {core})
        try:
            self._child = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                cwd=log.parent,
                start_new_session=True,
            )
        except OSError as problem:
            self._log.close()
            raise StartError(f"cannot start {argv[0]}: {problem}") from problem
        finally:
            os.sched_setaffinity(0, before)

    @property
    def pid(self) -> int:
        return self._child.pid

    def __enter__(self) -> Process:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    def cpu(self) -> float:
        """Seconds of CPU the whole tree has used so far."""
        return sum(sum(map(int, fields[11:15])) for fields in tree(self.pid).values()) / _TICK

    def rss(self) -> float:
        """Resident memory of the whole tree, in MB (10^6 bytes). Pages shared by several processes count for each."""
        return sum(int(fields[21]) for fields in tree(self.pid).values()) * _PAGE / 1e6

    def wait_ready(self, url: str, timeout: float = 90.0) -> None:
        """Poll `url` until it answers below 500. Raises StartError when the process ends or the time is up."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if self._child.poll() is not None:
                raise StartError(f"ended with code {self._child.returncode} before it was ready; {self.tail()}")
            try:
                with urllib.request.urlopen(url, timeout=2):
                    return
            except urllib.error.HTTPError as answer:
                if answer.code < 500:
                    return
            except OSError:
                pass
            time.sleep(0.1)
        raise StartError(f"not ready on {url} after {timeout:.0f} s; {self.tail()}")

    def wait_listening(self, port: int, timeout: float = 10.0) -> None:
        """Poll until something accepts connections on `port`. Raises StartError when that does not come about."""
        end = time.monotonic() + timeout
        while time.monotonic() < end and self._child.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
            except OSError:
                time.sleep(0.05)
            else:
                return
        raise StartError(f"nothing listens on port {port}; {self.tail()}")

    def tail(self, size: int = 600) -> str:
        text = self.log.read_bytes()[-size:].decode(errors="replace").strip()
        return f"its log ends: {text}" if text else "its log is empty"

    def stop(self, grace: float = 10.0) -> None:
        """SIGTERM to the group, then SIGKILL to whatever is left of it after `grace` seconds."""
        self._signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._child.wait(grace)
        self._signal(signal.SIGKILL)
        self._child.wait()
        self._log.close()

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)
