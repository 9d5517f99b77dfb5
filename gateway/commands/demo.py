"""`tidegate demo`: real llama.cpp servers with model files made on the spot, the gateway before them, and a tour."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from gateway.commands.serve import run_loop, serve
from gateway.configuring.problems import ConfigError


def add(commands: Any) -> None:
    parser = commands.add_parser("demo", help="a gateway with its own inference servers, every stage on")
    parser.add_argument("--host", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, help="port to listen on (default: 8080)")
    parser.add_argument("--otlp", default="", help="send traces to this OTLP/HTTP collector")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    try:
        import gguf  # noqa: F401
        import xllamacpp  # noqa: F401
    except ImportError as error:
        print(f"The demo needs the package {error.name}: pip install 'tidegate[demo]'", file=sys.stderr)
        return 2
    return run_loop(
        _demo(options.host or "127.0.0.1", 8080 if options.port is None else options.port, getattr(options, "otlp", ""))
    )


def _say(line: str) -> None:
    print(f"  {line}", file=sys.stderr, flush=True)


async def _demo(host: str, port: int, otlp: str) -> int:
    from gateway import config as configuration
    from gateway.demo.discover import discover
    from gateway.demo.fleet import Fleet
    from gateway.demo.settings import settings
    from gateway.demo.tour import text

    began = time.perf_counter()
    found = await discover()
    for note in found.notes:
        _say(note)
    async with AsyncExitStack() as stack:
        fleet = await stack.enter_async_context(Fleet(gguf=found.gguf, progress=_say))
        providers, models = {**fleet.providers, **found.providers}, {**fleet.models, **found.models}
        value = settings(providers, models, host=host, port=port, otlp=otlp)
        try:
            config = configuration.made(value, Path.cwd())
        except ConfigError as error:
            print("The demo's configuration has problems:", *error.problems, sep="\n  ", file=sys.stderr)
            return 2
        await _models(config)

        def ready(address: str) -> None:
            _say(f"ready in {time.perf_counter() - began:.1f} s")
            print(text(address), flush=True)

        return await serve(config, Path.cwd(), None, None, ready=ready)


async def _models(config: Any) -> None:
    """Builds the embedding model if it is not there yet."""
    from gateway import config as configuration

    if configuration.needs_embedding(config):
        from gateway.commands.models import build_missing

        await asyncio.to_thread(build_missing, _say)
