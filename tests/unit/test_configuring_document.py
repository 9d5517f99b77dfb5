"""YAML without its surprises: what is written is what is read, and a value can never change the document's shape."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gateway.configuring.document import filled, parse

NOWHERE = Path("nowhere")


def read(text: str, environment: dict[str, str] | None = None, base: Path = NOWHERE) -> tuple[Any, list[str]]:
    value, problems = parse(text, environment or {}, base)
    return value, [str(problem) for problem in problems]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("on: yes", {"on": "yes"}),
        ("off: no", {"off": "no"}),
        ("true: y", {"true": "y"}),
        ("1: 2", {"1": 2}),
        ("a: true", {"a": True}),
        ("a: True", {"a": "True"}),
        ("a: null", {"a": None}),
        ("a: ~", {"a": None}),
        ("a:", {"a": None}),
        ("a: 'true'", {"a": "true"}),
        ("a: '5'", {"a": "5"}),
        ("a: 5", {"a": 5}),
        ("a: -5", {"a": -5}),
        ("a: 0.5", {"a": 0.5}),
        ("a: 1e3", {"a": 1000.0}),
        ("a: 0x10", {"a": "0x10"}),
        ("a: 010", {"a": 10}),
        ("a: 12:30:45", {"a": "12:30:45"}),
        ("a: 2024-01-01", {"a": "2024-01-01"}),
        ("a: 5s", {"a": "5s"}),
        ("a: .inf", {"a": ".inf"}),
        ("a: 1_000", {"a": "1_000"}),
        ("a: |\n  one\n  two\n", {"a": "one\ntwo\n"}),
        ("a: &x [1]\nb: *x", {"a": [1], "b": [1]}),
        ("", {}),
        ("# nothing", {}),
        ("null", {}),
    ],
)
def test_scalars_are_jsons_types(written: str, value: Any) -> None:
    """No word is a boolean but true and false; no date, no sexagesimal, no octal."""
    assert read(written) == (value, [])


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=40))
def test_a_quoted_text_is_that_text(text: str) -> None:
    """Unless it asks to be filled in."""
    if "${" in text:
        return
    written = yaml.safe_dump({"a": text}, default_style='"', allow_unicode=True)
    assert read(written) == ({"a": text}, [])


@given(st.text(max_size=60))
def test_any_text_is_a_value_or_a_problem(text: str) -> None:
    """Never an exception."""
    value, problems = parse(text, {}, NOWHERE)
    assert value is not None or problems


@given(st.dictionaries(st.text("abc_", min_size=1, max_size=4), st.integers() | st.booleans() | st.none(), max_size=4))
def test_what_was_dumped_is_read(value: dict[str, Any]) -> None:
    """Plain values go through YAML and back."""
    assert read(yaml.safe_dump(value, default_style=None)) == (value, [])


def test_a_key_written_twice_is_said_with_its_line() -> None:
    """YAML itself would take the last one in silence."""
    assert read("a:\n  b: 1\n  c: 2\n  b: 3\n")[1] == ["a.b: written twice, the second time on line 4"]


@pytest.mark.parametrize("text", ["a: [", "a: b: c", "\t- a", "a: *nowhere", "'a", "? [x]: y\n:"])
def test_what_is_no_yaml_is_said_with_its_place(text: str) -> None:
    """Line and column, and not the text itself."""
    value, problems = read(text)
    assert problems
    assert value is None or "keys must be plain names" in problems[0]


def test_a_key_that_is_no_name_is_a_problem() -> None:
    """A list as a key has no path."""
    assert read("? [a, b]\n: 1\n")[1] == ["keys must be plain names"]


def test_aliases_cannot_multiply_without_end() -> None:
    """A billion laughs: the expansion is bounded, and said once."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    _, problems = read("\n".join(lines))
    assert len(problems) == 1
    assert "expands to more than" in problems[0]


@pytest.mark.parametrize("text", ["a: &x [*x]", "a: &x {b: *x}"])
def test_an_alias_to_itself_is_a_problem(text: str) -> None:
    """Not an endless value, and not a crash."""
    _, problems = read(text)
    assert len(problems) == 1


@pytest.mark.parametrize("depth", [200, 5000, 100_000])
@pytest.mark.parametrize("opening", ["[", "{a: "])
def test_a_document_too_deep_is_a_problem(opening: str, depth: int) -> None:
    """However deep, it is said and not crashed on."""
    _, problems = read("a: " + opening * depth)
    assert problems


# --- filling in


def test_variables_are_filled_in_inside_quotes() -> None:
    """Anywhere in the text, more than one, with a default for what is missing or empty."""
    environment = {"HOST": "h", "PORT": "1", "EMPTY": ""}
    text = "a: \"http://${HOST}:${PORT}/${NONE:-x}\"\nb: '${EMPTY:-y}'\nc: \"${EMPTY}\"\nd: '${NONE:-}'"
    assert read(text, environment) == ({"a": "http://h:1/x", "b": "y", "c": "", "d": ""}, [])


def test_a_missing_variable_names_itself_and_its_place() -> None:
    """With both ways out."""
    (problem,) = read('a: {b: ["${NOT_THERE}"]}')[1]
    assert problem.startswith("a.b[0]: ")
    assert "NOT_THERE is not set" in problem
    assert "${NOT_THERE:-}" in problem


@given(st.text(max_size=30))
def test_a_variable_is_only_ever_text(content: str) -> None:
    """Whatever it holds: no YAML, no other variable, no new key."""
    value, problems = read('a: "${X}"\nb: 1', {"X": content, "Y": "no"})
    assert (value, problems) == ({"a": content, "b": 1}, [])


def test_an_unquoted_variable_is_a_problem() -> None:
    """Its content could be taken for YAML."""
    (problem,) = read("a: ${HOME}", {"HOME": "x"})[1]
    assert problem == "a: '${HOME}' must be in quotes to be filled in: write \"${HOME}\""


def test_a_file_is_filled_in_relative_to_the_configuration(tmp_path: Path) -> None:
    """Without the line break at its end."""
    (tmp_path / "key").write_text("sk-1\n")
    assert read('a: "${file:key}"', base=tmp_path) == ({"a": "sk-1"}, [])
    assert read(f'a: "${{file:{tmp_path / "key"}}}"') == ({"a": "sk-1"}, [])
    (problem,) = read('a: "${file:nothing}"', base=tmp_path)[1]
    assert problem == "a: cannot read nothing: No such file or directory"


def test_a_file_that_is_no_text_is_a_problem(tmp_path: Path) -> None:
    """Said, not crashed on; so is one that is too large for a secret."""
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "large").write_bytes(b"x" * (2 << 20))
    for name in ("binary", "large"):
        (problem,) = read(f'a: "${{file:{name}}}"', base=tmp_path)[1]
        assert problem.startswith(f"a: cannot read {name}: "), problem


def test_made_values_are_filled_in_too() -> None:
    """At every depth, strings only."""
    value, problems = filled({"a": ["${X}", 1, None, {"b": "${Y}"}]}, {"X": "x"}, NOWHERE)
    assert value == {"a": ["x", 1, None, {"b": ""}]}
    assert [problem.path for problem in problems] == ["a[1].b", "a[3].b"][1:]
