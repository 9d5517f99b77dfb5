"""The cache of built model files."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from gateway.demo.files import KEPT, cache_dir, code_hash, model_file


def test_the_folder_is_where_it_is_said_to_be(tmp_path: Path) -> None:
    """TIDEGATE_CACHE_DIR wins over XDG_CACHE_HOME, which wins over the home folder."""
    assert cache_dir({"TIDEGATE_CACHE_DIR": "/a", "XDG_CACHE_HOME": "/b"}) == Path("/a")
    assert cache_dir({"XDG_CACHE_HOME": "/b"}) == Path("/b/tidegate")
    assert cache_dir({}) == Path.home() / ".cache" / "tidegate"


def test_a_file_is_built_once(tmp_path: Path) -> None:
    """The second call finds the first call's file and builds nothing."""
    environ, built = {"TIDEGATE_CACHE_DIR": str(tmp_path)}, []

    def build(path: Path) -> None:
        built.append(path)
        path.write_bytes(b"GGUF")

    path, fresh = model_file("m", build, environ=environ)
    assert fresh
    assert model_file("m", build, environ=environ) == (path, False)
    assert len(built) == 1
    assert path.name == f"m-{code_hash()}.gguf"


def test_what_the_content_depends_on_is_in_the_name(tmp_path: Path) -> None:
    """Another salt is another file."""
    environ = {"TIDEGATE_CACHE_DIR": str(tmp_path)}
    paths = {model_file("m", lambda p: None, salt=salt, environ=environ)[0] for salt in ("", "a", "b")}
    assert len(paths) == 3


def test_a_build_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """A half-written file never gets the name that the next start would trust."""

    def build(path: Path) -> None:
        path.write_bytes(b"half")
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        model_file("m", build, environ={"TIDEGATE_CACHE_DIR": str(tmp_path)})
    assert list(tmp_path.iterdir()) == []


def test_builds_at_the_same_time_each_put_a_whole_file_in_place(tmp_path: Path) -> None:
    """Eight concurrent builds leave one whole file and no drafts."""
    barrier, environ = Barrier(8), {"TIDEGATE_CACHE_DIR": str(tmp_path)}

    def build(path: Path) -> None:
        barrier.wait(10)
        path.write_bytes(b"x" * 100_000)

    with ThreadPoolExecutor(8) as pool:
        paths = set(pool.map(lambda _: model_file("m", build, environ=environ), range(8)))
    assert len(paths) == 1
    assert [path.stat().st_size for path in tmp_path.iterdir()] == [100_000]


def test_old_versions_go(tmp_path: Path) -> None:
    """Only the newest few versions of a model are kept, and other models' files are let be."""
    environ = {"TIDEGATE_CACHE_DIR": str(tmp_path)}
    other, _ = model_file("m-other", lambda p: None, environ=environ)
    for number in range(KEPT + 3):
        newest, _ = model_file("m", lambda p: None, salt=str(number), environ=environ)
    assert other.exists()
    assert newest.exists()
    assert len(list(tmp_path.glob("m-????????????.gguf"))) == KEPT


def test_a_folder_that_cannot_be_written_says_what_to_do(tmp_path: Path) -> None:
    """The error names the folder and the variable that moves it."""
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="TIDEGATE_CACHE_DIR"):
        model_file("m", lambda p: None, environ={"TIDEGATE_CACHE_DIR": str(tmp_path / "file" / "sub")})
