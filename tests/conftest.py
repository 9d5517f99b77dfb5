"""Fixtures for all tests: real parts, started once where that is safe."""

from __future__ import annotations

import gc

import pytest

pytest_plugins = [
    "tests.fixtures.gateway",
    "tests.fixtures.fleet",
    "tests.fixtures.redis",
    "tests.fixtures.embedding",
]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--write-sdks", action="store_true", help="rewrite the tables of docs/sdks.md with what is measured"
    )


def pytest_collection_finish() -> None:
    """Eight thousand tests and what they import are there to stay. Looking at them again and again makes the collector pause
    for longer than some checks may take."""
    gc.collect()
    gc.freeze()
