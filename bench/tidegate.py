"""Tidegate as a subject: the installed command, with the stages on that the targets name.

On: a key check, limits (too wide to refuse), PII and secrets patterns on both directions, an exact cache that every
unique prompt misses and then fills, the route, usage and price, a log line, and a trace for every request exported over
OTLP to the bench's sink. The cache is kept small so that the memory run sees it full, not filling.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench.load import Target
from bench.peers import Unavailable
from bench.place import ROOT, Launch, Site
from bench.script import MODEL
from gateway import __version__

_PATTERNS = ["EMAIL_ADDRESS", "PHONE_NUMBER", "CREDIT_CARD", "IBAN_CODE", "IP_ADDRESS", "US_SSN"]


def command() -> list[str]:
    """The installed `tidegate`, or this tree's own where it is not installed."""
    installed = Path(sys.executable).parent / "tidegate"
    return [str(installed)] if installed.exists() else [sys.executable, "-m", "gateway.cli"]


def version(state: Path) -> str:
    """Version and commit of this tree."""
    git = ["git", "rev-parse", "--short", "HEAD"]
    done = subprocess.run(git, capture_output=True, text=True, timeout=10, cwd=ROOT, check=False)
    return f"{__version__} ({done.stdout.strip() or 'no git'})"


def config(site: Site, name: str, *, redis: bool = False, model: bool = False, output: bool = True) -> dict[str, Any]:
    """The configuration as data; JSON is YAML."""
    cache: dict[str, Any] = {"partition": "user", "exact": {"ttl": "1h", "max_entries": 1000, "evict": "lru"}}
    guard = {
        "on": ["input", "output"] if output else ["input"],
        "action": "mask",
        "restore": True,
        "on_error": "closed",
    }
    out: dict[str, Any] = {
        "version": 1,
        "providers": {
            "mock": {"type": "openai-compatible", "api_key": "sk-bench", "endpoints": [f"{site.upstream}/v1"]}
        },
        "models": {
            MODEL: {"targets": [{"provider": "mock", "model": MODEL}], "price": {"input": 0.15, "output": 0.60}}
        },
        "guardrails": {
            "private": {"use": "pii", "entities": _PATTERNS, "deadline": "1s", **guard},
            "secrets": {"use": "secrets", "deadline": "1s", **guard},
        },
        "routes": {
            "default": {
                "guardrails": ["private", "secrets"],
                "cache": cache,
                "limits": {"rpm": 100_000_000, "tpm": 100_000_000_000, "concurrency": 1000},
            }
        },
        "access": {"keys": "keys.yaml"},
        "telemetry": {
            "otlp": f"{site.otlp or site.upstream}/{name}",
            "sample": 1.0,
            "content": "off",
            "prometheus": True,
        },
    }
    if redis:
        out["redis"] = site.redis
    if model:
        cache["semantic"] = {"ttl": "1h", "threshold": 0.99}
        out["routes"]["default"]["intents"] = {
            "examples": {"invoice": ["Where is my invoice?"], "password": ["I forgot my password"]},
            "below": 0.0,
            "then": {},
        }
    return out


def _key(folder: Path) -> str:
    """Make a virtual key in ``folder/keys.yaml`` with the product's own command; returns the key's text."""
    argv = [*command(), "keys", "create", "--file", str(folder / "keys.yaml"), "--name", "bench"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, env=_environment(), check=False)
    if done.returncode or not done.stdout.strip():
        lines = done.stderr.strip().splitlines() or ["no output"]
        raise Unavailable(f"`tidegate keys create` ended with {done.returncode}: {lines[-1]}")
    return done.stdout.split()[-1]


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def _launch(site: Site, port: int, name: str, **choices: bool) -> Launch:
    folder = site.work / name
    folder.mkdir(exist_ok=True)
    path = folder / "tidegate.yaml"
    path.write_text(json.dumps(config(site, name, **choices), indent=1))
    key = _key(folder)
    argv = [*command(), "serve", "--config", str(path), "--host", "127.0.0.1", "--port", str(port)]
    target = Target(port=port, headers=(("authorization", f"Bearer {key}"),))
    return Launch(argv=[*argv, "--workers", "1"], env={"PYTHONPATH": str(ROOT)}, ready="/readyz", target=target)


def input_only(site: Site, port: int) -> Launch:
    return _launch(site, port, "tidegate-input", output=False)


def plain(site: Site, port: int) -> Launch:
    return _launch(site, port, "tidegate")


def with_redis(site: Site, port: int) -> Launch:
    return _launch(site, port, "tidegate-redis", redis=True)


def with_model(site: Site, port: int) -> Launch:
    return _launch(site, port, "tidegate-embed", model=True)
