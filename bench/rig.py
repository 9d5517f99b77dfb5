"""The rig: mock upstream, Redis where wanted, and the started subjects, each on its core, all stopped at the end."""

from __future__ import annotations

import json
import os
import shutil
import sys
import urllib.request
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

from bench.load import Target
from bench.peers import Unavailable
from bench.place import ROOT, Site
from bench.process import Process, StartError, cores, free_port
from bench.subjects import Subject


@dataclass(frozen=True, kw_only=True)
class Running:
    """A subject that is up. `process` of the direct call is the mock upstream itself."""

    subject: Subject | None
    name: str
    version: str
    process: Process
    target: Target


class Rig:
    """Use as a context manager; `start` brings a subject up, `missing` says why others are not there."""

    def __init__(self, state: Path, work: Path) -> None:
        self._stack = ExitStack()
        self.load_core, self.subject_core = cores()
        self.missing: dict[str, str] = {}
        self.site = Site(state=state, work=work, upstream="")
        self._allowed = os.sched_getaffinity(0)

    def __enter__(self) -> Rig:
        try:
            self._start_upstream()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self._stack.close()
        os.sched_setaffinity(0, self._allowed)

    def _start_upstream(self) -> None:
        port = free_port()
        argv = [sys.executable, "-m", "bench.upstream", "--port", str(port)]
        log = self.site.work / "upstream.log"
        self._upstream = self._stack.enter_context(
            Process(argv, core=self.load_core, log=log, env={"PYTHONPATH": str(ROOT)})
        )
        self._upstream.wait_ready(f"http://127.0.0.1:{port}/health", timeout=15)
        self.site = replace(self.site, upstream=f"http://127.0.0.1:{port}")
        self.direct = Running(subject=None, name="direct", version="", process=self._upstream, target=Target(port=port))

    def pin(self) -> None:
        """Move this process, which makes the load, to the load's core; children started later are pinned anyway."""
        os.sched_setaffinity(0, {self.load_core})

    def start(self, subject: Subject) -> Running | None:
        """Install and start one subject; None, and a reason in `missing`, when that cannot be done."""
        try:
            # Installing may use every core; nothing is measured yet.
            version = subject.get(self.site.state)
            if subject.redis and not self.site.redis:
                self._start_redis()
            port = free_port()
            launch = subject.launch(self.site, port)
            log = self.site.work / f"{subject.name}.log"
            process = self._stack.enter_context(Process(launch.argv, core=self.subject_core, log=log, env=launch.env))
            process.wait_ready(f"http://127.0.0.1:{port}{launch.ready}")
        except (Unavailable, StartError) as problem:
            self.missing[subject.name] = str(problem)
            print(f"{subject.name}: not measured: {problem}", flush=True)
            return None
        print(f"{subject.name} {version}: up, {process.rss():.0f} MB", flush=True)
        return Running(subject=subject, name=subject.name, version=version, process=process, target=launch.target)

    def _start_redis(self) -> None:
        program = shutil.which("redis-server")
        if program is None:
            raise Unavailable("no redis-server on the PATH")
        port = free_port()
        argv = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        process = Process(argv, core=self.load_core, log=self.site.work / "redis.log")
        self._stack.enter_context(process)
        process.wait_listening(port)
        self.site = replace(self.site, redis=f"redis://127.0.0.1:{port}/0")

    def upstream_counts(self) -> dict[str, int]:
        """What the mock upstream has seen so far; see `bench.upstream.Seen`."""
        with urllib.request.urlopen(f"{self.site.upstream}/stats", timeout=5) as reply:
            counts: dict[str, int] = json.load(reply)
        return counts
