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


def parse(text: str, environment: Mapping[str, str], base: Path) -> tuple[Any, list[Problem]]:
    """The document's value and what is wrong with it. Relative `${file:...}` paths start at `base`."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "file"
        return None, [Problem(where, f"not valid YAML: {getattr(error, 'problem', None) or error}")]
    if node is None:
        return {}, []
    reader = _Reader(environment, base)
    return reader.value(node, ""), reader.problems


def filled(value: Any, environment: Mapping[str, str], base: Path) -> tuple[Any, list[Problem]]:
    """Plain values with `${VAR}` filled in inside their strings: for configurations that are made and not written."""
    reader = _Reader(environment, base)
    return reader.fill_all(value, ""), reader.problems


class _Reader:
    def __init__(self, environment: Mapping[str, str], base: Path) -> None:
        self._environment = environment
        self._base = base
        self._nodes = 0
        self.problems: list[Problem] = []

    def value(self, node: yaml.Node, path: str) -> Any:
        self._nodes += 1
        if self._nodes > _MOST_NODES:  # an alias can repeat a node, and repeats multiply
            if self._nodes == _MOST_NODES + 1:
                self.problems.append(Problem(path, f"the file expands to more than {_MOST_NODES} values"))
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, f"{path}[{at}]") for at, item in enumerate(node.value)]
        assert isinstance(node, yaml.ScalarNode), "a node is a mapping, a sequence or a scalar"
        return self._scalar(node, path)

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

    def _fill(self, text: str, path: str) -> str:
        def one(match: re.Match[str]) -> str:
            if match["file"]:
                file = self._base / match["file"]
                try:
                    return file.read_text("utf-8").strip()
                except OSError as error:
                    self.problems.append(Problem(path, f"cannot read {match['file']}: {error.strerror}"))
                    return ""
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
