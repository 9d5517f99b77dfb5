"""`tidegate eval KIND`: the gateway's own checks, router and caches, scored on labelled data."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path
from typing import Any

from gateway.commands.scoring import DataError, read_rows, write_rows
from gateway.configuring.problems import ConfigError

KINDS = {
    "pii": ("gateway.commands.eval_pii", "personal data and secrets: rows of text and spans"),
    "injection": ("gateway.commands.eval_guardrails", "attacks: rows of text and label, 1 or 0"),
    "content": ("gateway.commands.eval_guardrails", "toxic text: rows of text and label, 0 or the family's name"),
    "router": ("gateway.commands.eval_router", "intents: rows of text and intent, `oos` for out of scope"),
    "semantic-cache": ("gateway.commands.eval_semantic", "question pairs: rows of a (cached), b (asked) and label"),
}
"""Name -> module and what its data is. A module has `options(parser)` and `evaluate(rows, options, say) -> Told`."""


def add(commands: Any) -> None:
    parser = commands.add_parser("eval", help="score checks, router and caches on labelled data")
    kinds = parser.add_subparsers(dest="kind", required=True)
    for name, (module, words) in KINDS.items():
        kind = kinds.add_parser(name, help=words)
        kind.add_argument("--data", type=Path, required=True, help="labelled rows, JSON Lines")
        kind.add_argument("--config", type=Path, help="a gateway's configuration; without it, the defaults")
        kind.add_argument("--json", action="store_true", help="the report as JSON")
        kind.add_argument("--rows", type=Path, help="write one line for each input row, in order")
        importlib.import_module(module).options(kind)
        kind.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Exit status 0, or 2 for data or options that cannot be used."""
    try:
        rows = read_rows(options.data)
        told = importlib.import_module(KINDS[options.kind][0]).evaluate(rows, options, _say)
        if options.rows is not None:
            write_rows(options.rows, told.rows)
    except ConfigError as error:
        print(f"{options.config} has {len(error.problems)} problem(s):", *error.problems, sep="\n  ", file=sys.stderr)
        return 2
    except DataError as error:
        print(error, file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps({"kind": options.kind, **told.report}, indent=2))
    else:
        print(*told.lines, sep="\n")
    return 0


def _say(line: str) -> None:
    print(f"  {line}", file=sys.stderr, flush=True)
