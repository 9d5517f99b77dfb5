"""`tidegate schema`: the configuration's JSON Schema, for editors."""

from __future__ import annotations

import argparse
import json
from typing import Any


def add(commands: Any) -> None:
    parser = commands.add_parser("schema", help="print the JSON Schema of the configuration")
    parser.set_defaults(run=run)


def run(_options: argparse.Namespace) -> int:
    from gateway.config import schema

    print(json.dumps(schema(), indent=2))
    return 0
