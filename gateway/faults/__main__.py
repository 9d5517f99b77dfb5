"""``python -m gateway.faults --port N``: the fault server as a process, until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import sys

from gateway.faults.process import add_options, run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m gateway.faults", description="an upstream that misbehaves as told")
    add_options(parser)
    return run(parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
