"""What this machine can offer beside the demo's own servers: API keys, a local Ollama or vLLM, a GGUF file.

Looked for only where the tools keep them: two environment variables, two loopback ports, one path. A key's value is
never read into the result: the config says ``${OPENAI_API_KEY}`` and is resolved like any other.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROBE_TIMEOUT = 0.3  # seconds
MOST_ANSWER = 1 << 20  # bytes
MOST_MODELS = 4  # offered from one local server


@dataclass(frozen=True, slots=True)
class Discovery:
    """Entries for a config's ``providers`` and ``models``, a GGUF file to serve, and a line about each thing found."""

    providers: dict[str, dict[str, Any]] = field(default_factory=dict)
    models: dict[str, dict[str, Any]] = field(default_factory=dict)
    gguf: Path | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Cloud:
    """A provider that a key in the environment opens; ``model`` can be changed by the variable ``chosen``."""

    name: str
    key: str
    model: str
    chosen: str


@dataclass(frozen=True, slots=True)
class Local:
    """An inference server on loopback: where it lists its models, and under which JSON keys the names are."""

    name: str
    port: int
    path: str
    listed: str
    named: str


CLOUDS = (
    Cloud("openai", "OPENAI_API_KEY", "gpt-5.4-mini", "TIDEGATE_OPENAI_MODEL"),
    Cloud("anthropic", "ANTHROPIC_API_KEY", "claude-haiku-4-5", "TIDEGATE_ANTHROPIC_MODEL"),
)
LOCALS = (
    Local("ollama", 11434, "/api/tags", "models", "name"),
    Local("vllm", 8000, "/v1/models", "data", "id"),
)


async def discover(environ: Mapping[str, str] = os.environ, locals_: tuple[Local, ...] = LOCALS) -> Discovery:
    """Look around; takes at most a little over ``PROBE_TIMEOUT``. Finding nothing is normal and never an error.

    Raises ValueError only for a TIDEGATE_GGUF that names no readable GGUF file: that was asked for.
    """
    providers: dict[str, dict[str, Any]] = {}
    models: dict[str, dict[str, Any]] = {}
    notes: list[str] = []
    for cloud in CLOUDS:
        if environ.get(cloud.key, "").strip():
            model = environ.get(cloud.chosen) or cloud.model
            providers[cloud.name] = {"type": cloud.name, "api_key": f"${{{cloud.key}}}"}
            models[model] = {"targets": [{"provider": cloud.name, "model": model}]}
            notes.append(f"{cloud.key} is set: model {model} (another one: {cloud.chosen}=...)")
    found = await asyncio.gather(*(asyncio.to_thread(_models_of, local) for local in locals_))
    for local, names in zip(locals_, found, strict=True):
        if names:
            providers[local.name] = {"type": local.name, "endpoints": [f"http://127.0.0.1:{local.port}/v1"]}
            models |= {name: {"targets": [{"provider": local.name, "model": name}]} for name in names}
            notes.append(f"{local.name} answers on 127.0.0.1:{local.port}: {', '.join(names)}")
    gguf = _gguf(environ.get("TIDEGATE_GGUF", ""))
    if gguf:
        notes.append(f"TIDEGATE_GGUF names {gguf.name}")
    return Discovery(providers, models, gguf, tuple(notes))


def _models_of(local: Local) -> list[str]:
    """Names of the models a local server lists; empty when there is no such server or it answers something else."""
    connection = http.client.HTTPConnection("127.0.0.1", local.port, timeout=PROBE_TIMEOUT)
    try:
        connection.request("GET", local.path, headers={"accept": "application/json"})
        answer = connection.getresponse()
        listed = json.loads(answer.read(MOST_ANSWER))[local.listed] if answer.status == 200 else []
        names = [entry[local.named] for entry in listed]
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return []
    finally:
        connection.close()
    return [name for name in names if isinstance(name, str) and name][:MOST_MODELS]


def _gguf(path: str) -> Path | None:
    if not path:
        return None
    file = Path(path).expanduser()
    try:
        with file.open("rb") as stream:
            magic = stream.read(4)
    except OSError as error:
        raise ValueError(f"TIDEGATE_GGUF={path}: cannot be read ({error.strerror})") from error
    if magic != b"GGUF":
        raise ValueError(f"TIDEGATE_GGUF={path}: not a GGUF file (it starts with {magic!r})")
    return file
