"""Where a bench run takes place: folders, ports, and what it takes to start one subject there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.load import Target

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, kw_only=True)
class Site:
    """`state` keeps installed peers between runs (``.bench/``); `work` is this run's own folder of configs and logs."""

    state: Path
    work: Path
    upstream: str
    """Base URL of the mock upstream and OTLP sink, without a trailing slash."""
    redis: str = ""
    """URL of the bench's own Redis, or empty when there is none."""
    otlp: str = ""
    """Base URL of an OTLP sink other than the upstream's, or empty."""


@dataclass(frozen=True, kw_only=True)
class Launch:
    """A command line, what it needs around it, and how to ask what it starts."""

    argv: Sequence[str]
    env: Mapping[str, str]
    ready: str
    target: Target
