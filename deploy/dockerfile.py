"""Reads a Dockerfile for what it promises: the instructions of its last stage, its exec forms and its environment."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """(instruction, arguments) of a Dockerfile, in order, continuation lines joined and comments left out."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for logical in re.sub(r"\\\n", " ", "\n".join(lines)).splitlines():
        if logical.strip():
            name, _, rest = logical.strip().partition(" ")
            yield name.upper(), re.sub(r"\s+", " ", rest).strip()


def last_stage(text: str) -> list[tuple[str, str]]:
    """The instructions of the stage that becomes the image."""
    stage: list[tuple[str, str]] = []
    for name, rest in instructions(text):
        stage = [] if name == "FROM" else [*stage, (name, rest)]
    return stage


def exec_form(stage: list[tuple[str, str]], instruction: str) -> list[str]:
    """The argument vector of ENTRYPOINT, CMD or HEALTHCHECK. Raises ValueError if it is not in exec form."""
    for name, rest in stage:
        if name == instruction and "[" in rest:
            return [str(part) for part in json.loads(rest[rest.index("[") :])]
    raise ValueError(f"Dockerfile: {instruction} is missing or not in exec form")


def environment(stage: list[tuple[str, str]]) -> dict[str, str]:
    """The ENV of a stage, unexpanded."""
    pairs = [re.findall(r"(\w+)=(\S+)", rest) for name, rest in stage if name == "ENV"]
    return dict(pair for line in pairs for pair in line)
