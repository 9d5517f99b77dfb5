"""`tidegate faults`: an upstream that misbehaves exactly as told, to see how a configuration takes it."""

from __future__ import annotations

import argparse
from typing import Any

from gateway.faults.process import add_options, run

_TOLD = """\
It speaks OpenAI's API without a key; the model that is asked for says what it does:
  fault:NAME    the fault of that name; --list shows all, and what a client sees of each
  ok, echo      an ordinary answer; the request's own body (echo:headers, echo:last)
Before it, a gateway has a provider {type: openai-compatible, base_url: "URL/v1"} and a model with the target
{provider: ..., model: "fault:reset-midway"}. GET /_requests shows what was received, credentials included.
Status: 0 stopped by a signal, 1 the address cannot be listened on, 2 an option is wrong."""


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "faults",
        help="an upstream that misbehaves as told, for trying what a gateway does then",
        epilog=_TOLD,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_options(parser)
    parser.set_defaults(run=run)
