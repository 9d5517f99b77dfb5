"""YAML as plain values, with the surprises taken out.

Keys are always strings (`on:` is not `true`), only `true` and `false` are booleans, duplicate keys are errors, and
`${VAR}` is filled in inside quoted strings only, after parsing: a value can never change the document's shape.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from gateway.configuring.problems import Problem

_VARIABLE = re.compile(r"\$\{(?:file:(?P<file>[^}]+)|(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<has>:-(?P<default>[^}]*))?)\}")
_INT = re.compile(r"[-+]?\d+")
_FLOAT = re.compile(r"[-+]?(\d+\.\d*|\.\d+|\d+)([eE][-+]?\d+)?")
_MOST_NODES = 100_000
_MOST_DEPTH = 64
_MOST_FILE = 1024 * 1024
"""Bytes of a file that is filled in: secrets are short, and a wrong path may lead to something endless."""


def parse(text: str, environment: Mapping[str, str], base: Path) -> tuple[Any, list[Problem]]:
    """The document's value and what is wrong with it: None only if it could not be read at all. An empty document is an
    empty mapping. Relative `${file:...}` paths start at `base`."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "file"
        return None, [Problem(where, f"not valid YAML: {getattr(error, 'problem', None) or error}")]
    except RecursionError:  # of the YAML library, far beyond our own bound
        return None, [Problem("file", f"nested more than {_MOST_DEPTH} levels deep")]
    if node is None:
        return {}, []
    reader = _Reader(environment, base)
    value = reader.value(node, "")
    return {} if value is None else value, reader.problems


def filled(value: Any, environment: Mapping[str, str], base: Path) -> tuple[Any, list[Problem]]:
    """Plain values with `${VAR}` filled in inside their strings: for configurations that are made and not written."""
    reader = _Reader(environment, base)
    return reader.fill_all(value, ""), reader.problems


class _Reader:
    def __init__(self, environment: Mapping[str, str], base: Path) -> None:
        self._environment = environment
        self._base = base
        self._nodes = 0
        self._depth = 0
        self.problems: list[Problem] = []

    def value(self, node: yaml.Node, path: str) -> Any:
        """An alias can repeat a node, and repeats multiply, or never end: so both count and depth are bounded, and with
        the first that is over its bound the rest is given up."""
        if self._nodes > _MOST_NODES:
            return None
        self._nodes += 1
        if self._nodes > _MOST_NODES:
            self.problems.append(Problem(path, f"the file expands to more than {_MOST_NODES} values"))
            return None
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        if self._depth == _MOST_DEPTH:
            self.problems.append(
                Problem(path.split(".")[0].split("[")[0], f"nested more than {_MOST_DEPTH} levels deep")
            )
            self._nodes = _MOST_NODES + 1
            return None
        self._depth += 1
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, path)
            return [self.value(item, f"{path}[{at}]") for at, item in enumerate(node.value)]
        finally:
            self._depth -= 1

    def _mapping(self, node: yaml.MappingNode, path: str) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self.problems.append(Problem(path, "keys must be plain names"))
                continue
            key = str(key_node.value)
            where = f"{path}.{key}" if path else key
            if key in out:
                self.problems.append(
                    Problem(where, f"written twice, the second time on line {key_node.start_mark.line + 1}")
                )
            out[key] = self.value(value_node, where)
        return out

    def _scalar(self, node: yaml.ScalarNode, path: str) -> Any:
        text = str(node.value)
        if node.style in ('"', "'"):
            return self._fill(text, path)
        if node.style in ("|", ">"):
            return text
        if _VARIABLE.search(text):
            self.problems.append(Problem(path, f'{text!r} must be in quotes to be filled in: write "{text}"'))
            return text
        return plain(text)

    def fill_all(self, value: Any, path: str) -> Any:
        if isinstance(value, dict):
            return {key: self.fill_all(item, f"{path}.{key}" if path else str(key)) for key, item in value.items()}
        if isinstance(value, list):
            return [self.fill_all(item, f"{path}[{at}]") for at, item in enumerate(value)]
        return self._fill(value, path) if isinstance(value, str) else value

    def _file(self, name: str, path: str) -> str:
        try:
            with (self._base / name).open("rb") as file:
                data = file.read(_MOST_FILE + 1)
            if len(data) <= _MOST_FILE:
                return data.decode("utf-8").strip()
            why = f"larger than {_MOST_FILE} bytes"
        except OSError as error:
            why = error.strerror or type(error).__name__
        except ValueError as error:  # not UTF-8, or a null in the path
            why = "not UTF-8 text" if isinstance(error, UnicodeDecodeError) else "not a path"
        self.problems.append(Problem(path, f"cannot read {name}: {why}"))
        return ""

    def _fill(self, text: str, path: str) -> str:
        def one(match: re.Match[str]) -> str:
            if match["file"]:
                return self._file(match["file"], path)
            found = self._environment.get(match["name"])
            if found is None or (found == "" and match["has"]):
                found = match["default"]
            if found is None:
                self.problems.append(
                    Problem(
                        path,
                        f"the environment variable {match['name']} is not set; set it, or write ${{{match['name']}:-}}",
                    )
                )
                return ""
            return found

        return _VARIABLE.sub(one, text)


def plain(text: str) -> Any:
    """An unquoted scalar's value: JSON's types, and strings for everything else."""
    if text in ("", "~", "null"):
        return None
    if text in ("true", "false"):
        return text == "true"
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text
