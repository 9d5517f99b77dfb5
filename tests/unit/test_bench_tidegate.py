"""Tidegate as a subject of the bench: its configuration is one the product accepts, with the stages on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import tidegate
from bench.place import Site
from gateway import config


@pytest.mark.parametrize("launch", [tidegate.plain, tidegate.with_redis, tidegate.with_model])
def test_the_subjects_config_is_accepted_and_its_stages_are_on(launch: object, tmp_path: Path) -> None:
    """Each form of the subject loads without a problem, with key check, limits, both guards, exact cache and traces."""
    assert callable(launch)
    site = Site(state=tmp_path, work=tmp_path, upstream="http://127.0.0.1:9", redis="redis://127.0.0.1:9/0")
    started = launch(site, 8000)
    path = Path(started.argv[started.argv.index("--config") + 1])
    read = config.load(path)
    route = read.routes["default"]
    assert read.access.keys is not None
    assert [read.guardrails[name].use for name in route.guardrails] == ["pii", "secrets"]
    assert route.cache is not None
    assert route.cache.exact is not None
    assert route.limits is not None
    assert read.telemetry.otlp.startswith("http://127.0.0.1:9/tidegate")
    assert read.telemetry.sample == 1.0
    assert (read.redis is not None) == (launch is tidegate.with_redis)
    assert (route.intents is not None) == (launch is tidegate.with_model)
    assert json.loads(path.read_text())["version"] == 1
    key = dict(started.target.headers)["authorization"]
    assert key.startswith("Bearer tg_")
    assert key.removeprefix("Bearer ") not in (path.parent / "keys.yaml").read_text()
