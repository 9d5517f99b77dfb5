"""`tidegate import litellm F`: another proxy's configuration turned into ours."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

_LARGEST = 4 * 1024 * 1024


def add(commands: Any) -> None:
    parser = commands.add_parser("import", help="turn another proxy's configuration into ours")
    kinds = parser.add_subparsers(dest="kind", required=True)
    kind = kinds.add_parser(
        "litellm", help="a LiteLLM config.yaml; ours goes to standard output, what is lost to standard error"
    )
    kind.add_argument("file", type=Path, metavar="F")
    kind.set_defaults(run=run)


def _text(file: Path) -> str:
    """Raises ValueError for what is too large to be one."""
    if file.stat().st_size > _LARGEST:
        raise ValueError(f"it is larger than {_LARGEST} bytes")
    return file.read_text("utf-8")


def run(options: argparse.Namespace) -> int:
    """Exit status 0, or 2 for a file that cannot be used."""
    from gateway.commands.litellm.convert import moved

    try:
        made = moved(_text(options.file))
    except OSError as error:
        print(f"cannot read {options.file}: {error.strerror}", file=sys.stderr)
        return 2
    except UnicodeDecodeError:
        print(f"{options.file}: it is not UTF-8", file=sys.stderr)
        return 2
    except ValueError as error:
        print(f"{options.file}: {error}", file=sys.stderr)
        return 2
    print(made.text, end="")
    if made.notes:
        print("Without a counterpart, or with another meaning:", file=sys.stderr)
        for path, text in made.notes:
            print(f"  {path}: {text}", file=sys.stderr)
    return 0
