"""The fault server as a process of its own: its options, and its life until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import asyncio
import math
import signal
import sys

from gateway.faults.server import FaultServer
from gateway.faults.table import listing


async def serve(server: FaultServer) -> None:
    over = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, over.set)
    async with server:
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        await over.wait()


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=_port, default=0, help="0: a free one; the URL is printed")
    parser.add_argument("--pause", type=_seconds, default=0.02, help="seconds of one pause (default: %(default)g)")
    parser.add_argument(
        "--limit",
        type=_seconds,
        default=600.0,
        help="seconds after which an answer is broken off (default: %(default)g)",
    )
    parser.add_argument("--list", action="store_true", help="print the table of faults and leave")


def run(options: argparse.Namespace) -> int:
    """0 after a signal or the table, 1 when the address cannot be listened on."""
    if options.list:
        sys.stdout.write(listing() + "\n")
        return 0
    try:
        asyncio.run(serve(FaultServer(host=options.host, port=options.port, pause=options.pause, limit=options.limit)))
    except OSError as error:
        sys.stderr.write(f"cannot listen on {options.host}:{options.port}: {error.strerror}\n")
        return 1
    return 0


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"{port} is no port")
    return port


def _seconds(text: str) -> float:
    seconds = float(text)
    if not (math.isfinite(seconds) and seconds >= 0):
        raise argparse.ArgumentTypeError(f"{text} is no time in seconds")
    return seconds
