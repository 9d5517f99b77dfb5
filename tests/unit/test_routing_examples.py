"""Examples are read as text, checked, and bounded."""

from __future__ import annotations

from pathlib import Path

import pytest

from routing.examples import ExamplesError, load_examples


def test_a_file_and_a_mapping_are_the_same(tmp_path: Path) -> None:
    """Examples read from a file equal the same examples written in the config."""
    (tmp_path / "e.yaml").write_text("a:\n  - one\n  - two\nout_of_scope: [weather]\nb: [three]\n")
    inline = {"a": ["one", "two"], "out_of_scope": ["weather"], "b": ["three"]}
    assert load_examples("e.yaml", tmp_path) == load_examples(inline, tmp_path)
    read = load_examples("e.yaml", tmp_path)
    assert (read.texts, read.labels, read.outside) == (["one", "two", "three"], ["a", "a", "b"], ["weather"])
    assert read.intents == ["a", "b"]


def test_what_looks_like_another_type_stays_text(tmp_path: Path) -> None:
    """`no`, `911` and `1.5` are things people say, not booleans and numbers."""
    (tmp_path / "e.yaml").write_text("no: [no, 911, 1.5, 2024-01-01]\nyes: [true, ~]\n")
    assert load_examples("e.yaml", tmp_path).texts == ["no", "911", "1.5", "2024-01-01", "true", "~"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[a, b]", "expected a mapping"),
        ("a: b", "a: expected a list"),
        ("a: [{b: c}]", r"a\[0\]: expected text"),
        ("a: [b\n", "not valid YAML"),
        ("", "expected a mapping"),
        ("out_of_scope: [x]", "no examples of any intent"),
        ("? [a]\n: [b]", "not valid YAML|must be text"),
        ("a: &x [b]\nc: *x\nd: [*x]", r"d\[0\]: expected text"),
        ("a: ['" + "x" * 2001 + "']", "longer than 2000"),
    ],
)
def test_wrong_files_are_told_apart(tmp_path: Path, text: str, says: str) -> None:
    """Each kind of mistake has a message that says where it is."""
    (tmp_path / "e.yaml").write_text(text)
    with pytest.raises(ExamplesError, match=says):
        load_examples("e.yaml", tmp_path)


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    """Size is looked at before anything is parsed."""
    with (tmp_path / "e.yaml").open("wb") as file:
        file.truncate(9 * 1024 * 1024)
    with pytest.raises(ExamplesError, match="larger than"):
        load_examples("e.yaml", tmp_path)


def test_bytes_that_are_no_text_are_told(tmp_path: Path) -> None:
    """A file that is not UTF-8 is an error of its own."""
    (tmp_path / "e.yaml").write_bytes(b"a: [\xff]")
    with pytest.raises(ExamplesError, match="UTF-8"):
        load_examples("e.yaml", tmp_path)


def test_too_many_intents_are_refused(tmp_path: Path) -> None:
    """The bound on intents holds for inline examples too."""
    with pytest.raises(ExamplesError, match="more than"):
        load_examples({f"i{number}": ["x"] for number in range(1001)}, tmp_path)
