"""``bench/RESULTS.md``: each bench has a part of its own there, between markers, and leaves the others' alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

FOLDER = Path(__file__).parent


def put(part: str, title: str, text: str, plots: Mapping[str, str] | None = None, *, folder: Path = FOLDER) -> Path:
    """Replaces `part`, or adds it at the end under `title`. `plots`: file name under ``plots/`` to SVG text."""
    path = folder / "RESULTS.md"
    begin, end = f"<!-- {part}:begin -->", f"<!-- {part}:end -->"
    old = path.read_text()
    if begin not in old:
        old = old.rstrip() + f"\n\n## {title}\n\n{begin}\n{end}\n"
    head, _, rest = old.partition(begin)
    _, _, tail = rest.partition(end)
    path.write_text(f"{head}{begin}\n{text.strip()}\n{end}{tail}")
    for name, drawing in (plots or {}).items():
        (folder / "plots").mkdir(exist_ok=True)
        (folder / "plots" / name).write_text(drawing)
    return path
