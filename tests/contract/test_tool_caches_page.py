"""The page about tool caches: its configuration is read, its program runs, and its claims are the code's."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from tests.fixtures.embedding import MiniLM
from tests.fixtures.fleet import Serve

TEXT = (Path(__file__).resolve().parents[2] / "docs/tool-caches.md").read_text("utf-8")


def test_the_program_runs_against_the_configuration(serve: Serve, minilm: MiniLM) -> None:
    """The first run computes, the second finds; both namespaces hold one value each afterwards."""
    (config,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    (program,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    served = serve(yaml.safe_load(config))
    runs = []
    for _ in range(2):
        names: dict[str, object] = {}
        exec(program.replace("http://127.0.0.1:8080", served.url), names)
        runs.append(names)
    assert [names["found"]["hit"] for names in runs] == [False, True]  # type: ignore[index]
    assert runs[0]["value"] == runs[1]["value"] == {"temp": 21.5, "city": "Lima"}
    stats = served.gateway.caches.stats()
    assert stats["tool:weather.exact"]["entries"] == 1
    assert stats["tool:docs.semantic"]["entries"] <= 1  # a busy machine's encoder may be late: then nothing is stored
