"""``python -m gateway.faults --port N``: the fault server as a process, until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import asyncio
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


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m gateway.faults", description="an upstream that misbehaves as told")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: a free one; the URL is printed")
    parser.add_argument("--pause", type=float, default=0.02, help="seconds of one pause")
    parser.add_argument("--limit", type=float, default=600.0, help="seconds after which an answer is broken off")
    parser.add_argument("--list", action="store_true", help="print the table of faults and leave")
    options = parser.parse_args()
    if options.list:
        sys.stdout.write(listing() + "\n")
        return 0
    try:
        asyncio.run(serve(FaultServer(host=options.host, port=options.port, pause=options.pause, limit=options.limit)))
    except OSError as error:
        sys.stderr.write(f"cannot listen on {options.host}:{options.port}: {error.strerror}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
