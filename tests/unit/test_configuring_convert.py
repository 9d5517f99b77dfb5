"""Plain values into structures: every mistake found in one go, each with its place; and the schema says the same."""

from __future__ import annotations

from typing import Any, Literal

import jsonschema
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import config as configuration
from gateway.configuring.convert import convert
from gateway.configuring.problems import ConfigError, Problem, did_you_mean
from gateway.configuring.schema import schema_of
from gateway.core.secret import Secret
from gateway.core.units import Duration, Size


class Inner(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str
    wait: Duration = Duration(1.0)
    size: Size = Size(1)


class Other(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    dns: str
    port: int = 80


class Outer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a section may be made of.

    Not in the schema."""

    count: int
    share: float = 0.5
    flag: bool = False
    kind: Literal["round_robin", "least"] = "least"
    key: Secret | None = None
    inner: Inner | None = None
    many: dict[str, Inner] = {}
    names: list[str] = []
    fixed: tuple[str, ...] = ()
    either: str | list[str] = "x"
    found: Other | str | None = None
    anything: Any = None


def made(value: Any) -> tuple[Any, list[str]]:
    problems: list[Problem] = []
    result = convert(value, Outer, "", problems)
    return result, [str(problem) for problem in problems]


def test_a_good_value_becomes_its_structure() -> None:
    """With units read, secrets wrapped and defaults in place."""
    value = {
        "count": 3,
        "share": 1,
        "kind": "round_robin",
        "key": "sk-secret",
        "inner": {"name": "a", "wait": "250ms", "size": "10MiB"},
        "many": {"x": {"name": "b"}},
        "names": ["p", "q"],
        "fixed": ["r"],
        "either": ["s"],
        "found": {"dns": "host", "port": 1},
        "anything": {"deep": [1]},
    }
    got, problems = made(value)
    assert problems == []
    assert got == Outer(
        count=3,
        share=1.0,
        kind="round_robin",
        key=Secret("sk-secret"),
        inner=Inner(name="a", wait=Duration(0.25), size=Size(10 << 20)),
        many={"x": Inner(name="b")},
        names=["p", "q"],
        fixed=("r",),
        either=["s"],
        found=Other(dns="host", port=1),
        anything={"deep": [1]},
    )
    assert type(got.share) is float
    assert "sk-secret" not in repr(got)


def test_every_mistake_is_found_at_once() -> None:
    """With its path, what was wanted and what was there."""
    _, problems = made(
        {
            "count": "three",
            "flag": 1,
            "kind": "robin",
            "coutn": 1,
            "inner": {"wait": 5, "size": "big"},
            "many": {"x": {"name": 1}, "y": []},
            "names": "p",
            "fixed": [1],
        }
    )
    assert problems == [
        "coutn: unknown key (did you mean 'count'?)",
        "count: expected a whole number, not 'three'",
        "flag: expected true or false, not 1",
        "kind: 'robin' is not one of round_robin, least (did you mean 'round_robin'?)",
        "inner.name: missing; it must be given",
        "inner.wait: expected a duration such as 250ms, 5s or 1h, not 5",
        "inner.size: 'big' is not a size; write a number and a unit, such as 512KiB, 10MiB or 1GB",
        "many.x.name: expected text, not 1",
        "many.y: expected a mapping with keys such as name, wait, size, not a list",
        "names: expected a list, not 'p'",
        "fixed[0]: expected text, not 1",
    ]


@pytest.mark.parametrize("value", [None, 1, "x", [], True])
def test_what_is_no_mapping_is_said(value: Any) -> None:
    """At the top there is no path to name."""
    (problem,) = made(value)[1]
    assert problem.startswith("expected a mapping")


@pytest.mark.parametrize("value", [True, 1.0, "1", None, [1]])
def test_a_whole_number_is_a_whole_number(value: Any) -> None:
    """No boolean, no text, no float passes for one."""
    assert made({"count": value})[1] != []


@pytest.mark.parametrize("value", [True, "0.5", None])
def test_a_number_is_a_number(value: Any) -> None:
    """Neither does a boolean pass for a float."""
    assert made({"count": 1, "share": value})[1] != []


def test_of_two_forms_the_one_that_was_meant_is_told() -> None:
    """The error is about the alternative that fits best, not about all of them."""
    assert made({"count": 1, "found": {"dns": "h", "prot": 1}})[1] == ["found.prot: unknown key (did you mean 'port'?)"]
    assert made({"count": 1, "either": [1]})[1] == ["either[0]: expected text, not 1"]


def test_a_secret_is_never_in_a_problem() -> None:
    """Neither one of the wrong type nor one at a wrong key's place."""
    for value in ({"count": 1, "key": ["sk-secret"]}, {"count": 1, "key": {"a": "sk-secret"}}, {"count": 1, "key": 5}):
        (problem,) = made(value)[1]
        assert "sk-secret" not in problem


def test_a_long_value_is_shortened() -> None:
    """An error is a line."""
    (problem,) = made({"count": "x" * 1000})[1]
    assert len(problem) < 120


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*Outer.__struct_fields__, "dns", "name", "x"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(ANY)
def test_any_value_is_a_structure_or_problems(value: Any) -> None:
    """Never both, never neither, never an exception; each problem is one line."""
    got, problems = made(value)
    assert isinstance(got, Outer) == (not problems)
    assert all("\n" not in problem for problem in problems)


SCHEMA = schema_of(Outer, "Test")
CHECK = jsonschema.Draft202012Validator(SCHEMA)


@given(ANY)
def test_the_schema_takes_what_the_reader_takes(value: Any) -> None:
    """An editor that goes by the schema never complains of a good file, and never lets a bad type through."""
    _, problems = made(value)
    good = CHECK.is_valid(value)
    if not problems:
        assert good, list(CHECK.iter_errors(value))
    elif good:
        # JSON has one kind of number: 1.0 is a whole one there.
        assert all("whole number" in problem for problem in problems), problems


def test_the_schema_is_one() -> None:
    """Valid as a schema, with the sections by name, what must be given, and the first sentence of each docstring."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    outer = SCHEMA["$defs"]["Outer"]
    assert (SCHEMA["$ref"], outer["required"], outer["additionalProperties"]) == ("#/$defs/Outer", ["count"], False)
    assert outer["description"] == "What a section may be made of."
    jsonschema.Draft202012Validator.check_schema(configuration.schema())


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        ("guardrial", ["guardrails", "routes"], " (did you mean 'guardrails'?)"),
        ("modles", ["models", "routes"], " (did you mean 'models'?)"),
        ("zzz", ["models"], ""),
        ("", ["models"], ""),
        ("x", [], ""),
    ],
)
def test_a_hint_is_given_when_something_is_near(name: str, known: list[str], hint: str) -> None:
    """And none when nothing is."""
    assert did_you_mean(name, known) == hint


def test_problems_read_as_lines_and_sort_by_place() -> None:
    """The error is all of them."""
    error = ConfigError([Problem("b", "two"), Problem("", "one")])
    assert str(error) == "b: two\none"
    assert sorted(error.problems)[0] == Problem("", "one")
