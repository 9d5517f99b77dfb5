"""The command line: `tidegate <command>`. Commands are imported when asked for, so that `tidegate keys` is instant."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from gateway import __version__

COMMANDS = (
    "serve",
    "demo",
    "check",
    "schema",
    "keys",
    "models",
    "eval",
    "router",
    "faults",
    "explain",
    "redteam",
    "import",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; its exit status is what it returns."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(prog="tidegate", description="A gateway between applications and language models.")
    parser.add_argument("--version", action="version", version=f"tidegate {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    wanted = [name for name in COMMANDS if name in given[:1]] or COMMANDS
    for name in wanted:
        module = importlib.import_module(
            f"gateway.commands.{name}_" if name == "import" else f"gateway.commands.{name}"
        )
        module.add(commands)
    options = parser.parse_args(given)
    try:
        status: int = options.run(options)
    except KeyboardInterrupt:
        return 130
    return status


if __name__ == "__main__":
    sys.exit(main())
