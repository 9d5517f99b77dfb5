"""Child processes of the bench: what they cost is seen whole, and none is left behind."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from bench.process import Process, StartError, core_busy, cores, free_port, tree

_BURN = "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass\n"
_PARENT = f"import subprocess, sys, time\nsubprocess.Popen([sys.executable, '-c', {_BURN!r} + 'time.sleep(60)'])\ntime.sleep(60)\n"


def _until(condition: object, seconds: float = 10.0) -> None:
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "did not come about in time"
        time.sleep(0.02)


def _alive(pid: int) -> bool:
    """Whether `pid` still runs; one that has ended but was not reaped by init yet does not."""
    fields = tree(pid).get(pid)
    return fields is not None and fields[0] != "Z"


def test_cpu_counts_the_whole_tree_and_stop_ends_it(tmp_path: Path) -> None:
    """CPU a grandchild spends is charged to the subject, and stopping the subject ends the grandchild too."""
    core = cores()[1]
    with Process([sys.executable, "-c", _PARENT], core=core, log=tmp_path / "log") as process:
        _until(lambda: process.cpu() >= 0.3)
        members = tree(process.pid)
        assert len(members) == 2
        assert all(os.sched_getaffinity(pid) == {core} for pid in members)
        assert process.rss() > 2
    _until(lambda: not any(_alive(pid) for pid in members))


def test_a_reaped_childs_cpu_still_counts(tmp_path: Path) -> None:
    """Work handed to a process that has ended since is not lost from the bill."""
    code = f"import subprocess, sys, time\nsubprocess.run([sys.executable, '-c', {_BURN!r}])\ntime.sleep(60)\n"
    with Process([sys.executable, "-c", code], core=cores()[1], log=tmp_path / "log") as process:
        _until(lambda: process.cpu() >= 0.3 and len(tree(process.pid)) == 1)


def test_a_subject_that_dies_says_how(tmp_path: Path) -> None:
    """A failed start reports the exit code and the end of the log at once, not a time-out."""
    code = "import sys; print('no such option'); sys.exit(3)"
    with (
        Process([sys.executable, "-c", code], core=cores()[0], log=tmp_path / "log") as process,
        pytest.raises(StartError, match=r"code 3 .*no such option"),
    ):
        process.wait_ready(f"http://127.0.0.1:{free_port()}/")


def test_a_missing_program_is_a_start_error(tmp_path: Path) -> None:
    """A command that does not exist is a plain StartError, and this process keeps its own cores."""
    before = os.sched_getaffinity(0)
    with pytest.raises(StartError, match="cannot start"):
        Process([str(tmp_path / "nothing")], core=cores()[0], log=tmp_path / "log")
    assert os.sched_getaffinity(0) == before


def test_core_busy_only_grows_and_knows_its_cores() -> None:
    """The busy time of a core is a counter, and a core that is not there is an error."""
    first = core_busy(cores()[0])
    assert core_busy(cores()[0]) >= first > 0
    with pytest.raises(LookupError):
        core_busy(9999)
