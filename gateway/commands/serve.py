"""`tidegate serve`: the gateway, until it is told to stop."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import os
import secrets
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from gateway.configuring.problems import ConfigError


def add(commands: Any) -> None:
    parser = commands.add_parser("serve", help="run the gateway; without --config, the demo's")
    parser.add_argument("--config", type=Path, help="the configuration (default: the demo's)")
    parser.add_argument("--host", help="address to listen on (default: server.host)")
    parser.add_argument("--port", type=int, help="port to listen on (default: server.port)")
    parser.add_argument("--workers", type=int, help="worker processes (default: server.workers)")
    parser.add_argument("--fd", type=int, help=argparse.SUPPRESS)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    if options.config is None:
        from gateway.commands import demo

        return demo.run(options)
    from gateway import config as configuration

    try:
        config = configuration.load(options.config)
    except ConfigError as error:
        print(f"{options.config} has {len(error.problems)} problem(s):", *error.problems, sep="\n  ", file=sys.stderr)
        return 2
    workers = options.workers or config.server.workers
    if workers > 1 and options.fd is None:
        if config.server.secret is None and len(os.environ.get("TIDEGATE_SECRET", "")) < 16:
            # One for all workers, which must know each other's ids.
            os.environ["TIDEGATE_SECRET"] = secrets.token_hex(32)
        return _supervise(options, config.server.host, config.server.port, workers)
    return run_loop(serve(config, options.config.parent, options.host, options.port, options.fd))


def run_loop(main: Coroutine[Any, Any, int]) -> int:
    """Runs on uvloop where there is one."""
    factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    with contextlib.suppress(ImportError):
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main)


def _supervise(options: argparse.Namespace, host: str, port: int, workers: int) -> int:
    from gateway.commands.supervisor import Supervisor, worker_command
    from gateway.http.server import listen

    fd = listen(options.host or host, port if options.port is None else options.port).detach()
    arguments = ["--config", str(options.config), "--workers", "1"]
    for name in ("host", "port"):
        if getattr(options, name) is not None:
            arguments += [f"--{name}", str(getattr(options, name))]

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    return Supervisor(worker_command(arguments, fd), workers, fd, say).run()


async def serve(
    config: Any,
    base: Path,
    host: str | None,
    port: int | None,
    fd: int | None = None,
    ready: Callable[[str], None] | None = None,
) -> int:
    """Runs one gateway in this process; `ready` is told its URL when it accepts connections. Exit status 2 when the
    configuration cannot be served, 1 when the address cannot be listened on."""
    from gateway.app import Gateway

    try:
        gateway = Gateway(
            config, base, host=host, port=port, say=lambda line: print(f"  {line}", file=sys.stderr, flush=True)
        )
    except ConfigError as error:
        print("The configuration cannot be served:", *error.problems, sep="\n  ", file=sys.stderr)
        return 2
    # What start-up made lives as long as the process, so the collector need not look at it again; and requests make
    # short-lived objects by the thousand, of which few are in cycles, so it need not look so often.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    # A thread that holds the interpreter (spans being sent, patterns over a long text) gives it back ten times sooner
    # than by default, so that no request waits 5 ms for it.
    sys.setswitchinterval(0.0005)
    server = gateway.server(fd, ready or (lambda address: gateway.logger.info("listening", address=address)))
    await server.serve()
    return 0 if server.started else 1
