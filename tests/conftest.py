"""Fixtures for all tests: real parts, started once where that is safe."""

from __future__ import annotations

pytest_plugins = [
    "tests.fixtures.gateway",
    "tests.fixtures.fleet",
    "tests.fixtures.redis",
    "tests.fixtures.embedding",
]
