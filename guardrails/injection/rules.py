"""Known phrases of attacks, from `rules.txt`: one RE2 set, one pass, whatever their number."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources

import re2

Rule = tuple[str, str]
"""(name, pattern)."""


def read_rules(text: str) -> tuple[Sequence[Rule], Sequence[Rule]]:
    """(strong, weak) rules of a rule file. Raises ValueError for a line it cannot read."""
    macros: dict[str, str] = {}
    sections: dict[str, list[Rule]] = {"[strong]": [], "[weak]": []}
    section: list[Rule] | None = None
    for number, line in enumerate(text.split("\n"), 1):
        if not line or line.startswith("#"):
            continue
        if line in sections:
            section = sections[line]
            continue
        name, _, pattern = line.partition(" ")
        pattern = pattern.strip()
        for macro, meaning in macros.items():
            pattern = pattern.replace(macro, meaning)
        if name.startswith("@"):
            macros[name] = pattern
        elif section is None or not pattern:
            raise ValueError(f"rule file, line {number}: expected a name and a pattern in a section")
        else:
            section.append((name, pattern))
    return sections["[strong]"], sections["[weak]"]


class Rules:
    """The rules shipped with this package."""

    def __init__(self) -> None:
        text = resources.files("guardrails.injection").joinpath("rules.txt").read_text(encoding="utf-8")
        strong, weak = read_rules(text)
        options = re2.Options()
        options.max_mem = 32 << 20
        options.log_errors = False
        self._set = re2.Set.SearchSet(options)
        self._strong = len(strong)
        self._names = [name for name, _ in (*strong, *weak)]
        for _, pattern in (*strong, *weak):
            self._set.Add(pattern)
        self._set.Compile()

    def hits(self, text: str) -> tuple[str, int]:
        """(name of the first strong rule that hits or "", number of weak rules that hit)."""
        found = sorted(self._set.Match(text.encode("utf-8", "replace")) or ())
        strong = next((self._names[at] for at in found if at < self._strong), "")
        return strong, sum(at >= self._strong for at in found)
