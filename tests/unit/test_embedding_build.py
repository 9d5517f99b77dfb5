"""Building the encoder: whole or not at all, once, and only from the published weights."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from gateway.embedding.build import build
from gateway.embedding.encoder import Encoder
from gateway.embedding.files import BUILD_COMMAND, MODEL, ModelMissing, checked, encoder_id, models_dir
from gateway.embedding.weights import TOKENIZER, WEIGHTS, SourceError


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("models")
    build(directory)
    return directory


def test_it_is_built_once(built: Path) -> None:
    """The second build finds the first one's files and says so."""
    lines: list[str] = []
    folder = build(built, lines.append)
    assert folder == built / encoder_id("int8")
    assert len(lines) == 1
    assert "already" in lines[0]
    assert [path.name for path in built.iterdir()] == [folder.name], "nothing is left beside it"


def test_progress_is_told_in_lines(tmp_path: Path) -> None:
    """Whoever waits for the build sees what it is doing, and where the result lies."""
    lines: list[str] = []
    folder = build(tmp_path, lines.append)
    assert len(lines) >= 3
    assert str(folder) in lines[-1]


def test_two_builders_at_once_make_one_encoder(tmp_path: Path) -> None:
    """Two processes that build into one directory both succeed and leave one whole encoder."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            build(tmp_path)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert [path.name for path in tmp_path.iterdir()] == [encoder_id("int8")]
    checked(tmp_path, "int8")


def test_a_damaged_encoder_is_not_loaded_and_is_built_again(tmp_path: Path) -> None:
    """A model file with one byte changed is refused by name, and the next build replaces it."""
    folder = build(tmp_path)
    data = bytearray((folder / MODEL).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / MODEL).write_bytes(data)
    with pytest.raises(ModelMissing, match=MODEL):
        Encoder(tmp_path, "int8")
    build(tmp_path)
    Encoder(tmp_path, "int8")


def test_a_missing_encoder_names_the_command_that_builds_it(tmp_path: Path) -> None:
    """Starting without the files says where they should be and how to make them."""
    with pytest.raises(ModelMissing) as missing:
        Encoder(tmp_path, "int8")
    assert BUILD_COMMAND in str(missing.value)
    assert str(tmp_path) in str(missing.value)


def test_other_weights_build_nothing(tmp_path: Path) -> None:
    """From weights that are not the published ones nothing is made, not even a folder that looks finished."""
    source = tmp_path / "source"
    source.mkdir()
    (source / WEIGHTS).write_bytes(b"not the weights")
    (source / TOKENIZER).write_bytes(b"{}")
    with pytest.raises(SourceError, match="SHA-256"):
        build(tmp_path / "models", source=source)
    assert not (tmp_path / "models" / encoder_id("int8")).exists()


def test_the_two_precisions_have_two_ids() -> None:
    """Vectors of one precision are never taken for the other's."""
    assert encoder_id("int8") != encoder_id("fp32")
    assert "int8" in encoder_id("int8")


def test_the_models_directory_can_be_moved(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """TIDEGATE_MODELS_DIR wins, then the XDG cache."""
    monkeypatch.setenv("TIDEGATE_MODELS_DIR", str(tmp_path / "here"))
    assert models_dir() == tmp_path / "here"
    monkeypatch.delenv("TIDEGATE_MODELS_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert models_dir() == tmp_path / "tidegate" / "models"
