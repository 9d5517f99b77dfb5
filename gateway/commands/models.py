"""`tidegate models build`: the embedding model, made once from the installed package's weights."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    parser = commands.add_parser("models", help="build the embedding model")
    actions = parser.add_subparsers(dest="action", required=True)
    build = actions.add_parser("build", help="build what is missing; does nothing if it is there")
    build.add_argument(
        "--dir", type=Path, help="where to keep it (default: TIDEGATE_MODELS_DIR, else the user's cache)"
    )
    build.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from gateway.embedding.weights import SourceError

    try:
        build_missing(lambda line: print(f"  {line}", file=sys.stderr, flush=True), options.dir)
    except SourceError as error:
        print(f"The embedding model cannot be built: {error}", file=sys.stderr)
        return 2
    return 0


def build_missing(say: Callable[[str], None], directory: Path | None = None) -> None:
    """Builds the int8 encoder unless it is there. Raises SourceError."""
    from gateway.embedding.build import build
    from gateway.embedding.files import models_dir

    build(directory or models_dir(), progress=say)
