"""The page about pools: its examples are configurations, and its words are the catalog's and the code's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import msgspec
import yaml

from gateway import config as configuration
from gateway.commands.check import report_of
from gateway.core.clock import ManualClock
from gateway.http.endpoints import DrainRequest
from gateway.pools.asked import Asked
from gateway.pools.by_prefix import NEAR
from gateway.pools.chain import BLOCK, ROOT_BLOCKS, prefix_of
from gateway.pools.cost import DECODING
from gateway.pools.endpoints import Endpoints
from gateway.pools.filter import FULL_QUEUE, HEADROOM, TURNS
from gateway.pools.held import MOST, MOST_OF_A_POOL
from gateway.pools.learned import LEAST_OF_IT
from gateway.pools.placement import BOUND
from gateway.pools.reading import STALE_AFTER
from gateway.providers import catalog
from gateway.providers.discover import MOST_ENDPOINTS
from gateway.providers.engine import Field
from gateway.providers.watch_config import DiscoverConfig, HealthConfig, MetricsConfig
from gateway.providers.watch_pool import LONGEST_STAY
from gateway.providers.watch_rows import LABELS, MOST_LABELLED

PAGE = Path(__file__).resolve().parents[2] / "docs/gpu-pools.md"
TEXT = PAGE.read_text("utf-8")


def test_the_example_is_a_configuration(tmp_path: Path) -> None:
    """It is read as it stands; its numbers are the defaults, and both pools are told by `tidegate check`."""
    (example,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    config = configuration.read("version: 1\n" + example, tmp_path, {})
    gpu = config.providers["gpu"]
    assert gpu.discover == DiscoverConfig(dns="vllm-headless.models", port=8000)
    assert (gpu.health, gpu.metrics) == (HealthConfig(), MetricsConfig())
    pools = report_of(config)["pools"]
    assert pools["gpu"][0].startswith("endpoints by DNS: vllm-headless.models")
    assert pools["lab"][0] == "2 endpoints, balance least_inflight"
    assert any(line.startswith("metrics: /slots") for line in pools["lab"])


def test_any_other_server_can_be_described(tmp_path: Path) -> None:
    """The names that are written out for one are accepted, with a health page beside them."""
    (metrics,) = re.findall(r"`metrics: (\{path.*?\}\})`", TEXT)
    (health,) = re.findall(r"`health: (\{path.*?\})`", TEXT)
    provider = {
        "type": "openai-compatible",
        "base_url": "http://h:1/v1",
        "metrics": yaml.safe_load(metrics),
        "health": yaml.safe_load(health),
    }
    value = {
        "version": 1,
        "providers": {"gpu": provider},
        "models": {"m": {"targets": [{"provider": "gpu", "model": "m"}]}},
    }
    assert (
        report_of(configuration.of_value(value, tmp_path))["pools"]["gpu"][2]
        == "metrics: /metrics: waiting, running, kv"
    )


def test_every_engine_and_its_pages_are_on_the_page() -> None:
    """Each type that has something to be watched is in both tables, with its pages, ports and the names of its load."""
    for kind in catalog.types():
        engine = catalog.profile(kind).engine
        if engine.health is not None:
            assert re.search(rf"\| .*`{kind}`.* \| `{engine.health.path}`", TEXT), kind
        for page in engine.pages:
            (row,) = re.findall(rf"^\| `{kind}` \| `.*$", TEXT.partition("## What is read")[2], re.MULTILINE)
            if page.path != "/v1/models" or kind == "vllm":
                assert f"`{page.path}`" in row, (kind, page.path)
            if page.port:
                assert f"port {page.port}" in row
            for field in ("waiting", "running"):
                for name in page.names.get(field, ())[:1] if page.form == "prometheus" else ():
                    assert f"`{name.partition('{')[0]}" in row, name


def test_every_field_and_gauge_is_on_the_page() -> None:
    """Nothing is read or exported that the page does not name, and its numbers are the code's."""
    for name in (*get_args(Field), *LABELS):
        assert f"`{name}`" in TEXT or f"`{name}{{" in TEXT, name
    assert f"old after {STALE_AFTER:.0f} s" in TEXT
    assert f"At most {MOST_ENDPOINTS} addresses" in TEXT
    assert f"({MOST_LABELLED} at most)" in TEXT
    assert f"({LONGEST_STAY / 60:.0f} minutes at most)" in TEXT


def test_the_adapters_way_of_each_engine_is_on_the_page() -> None:
    """Which types take an adapter's name, and how SGLang writes it."""
    way = {kind: catalog.profile(kind).engine.adapter for kind in catalog.types()}
    assert {kind for kind, said in way.items() if said == "{adapter}"} == {"vllm", "tgi", "openai-compatible"}
    assert {kind: said for kind, said in way.items() if said not in (None, "{adapter}")} == {
        "sglang": "{base}:{adapter}"
    }
    assert "SGLang `qwen3-8b:sql`" in TEXT


def test_the_drain_request_is_one() -> None:
    """The body in the example is what the admin route reads."""
    (body,) = re.findall(r"-d '(\{.*?\})'", TEXT)
    assert msgspec.json.decode(body, type=DrainRequest).drain


def test_the_numbers_of_the_pick_are_the_codes() -> None:
    """What the page says of estimates, memories and bounds is what the rule goes by; its example of a reason is one."""
    section = TEXT.partition("## Which endpoint is picked")[2].partition("## Adapters")[0]
    for number in (
        f"{DECODING:.0f} for each answer",
        f"blocks of {BLOCK} bytes",
        f"else {MOST:,}",
        f"{MOST_OF_A_POOL:,} in one pool",
        f"less than {NEAR:.0%}".replace("%", " %"),
        f"than {BOUND} times the mean",
        f"of {FULL_QUEUE * (1 + HEADROOM)} and more",
    ):
        assert number in " ".join(section.split()), number
    assert (TURNS, ROOT_BLOCKS * BLOCK, LEAST_OF_IT) == (2, 1024, 0.5)
    lease = Endpoints(["http://a", "http://b"], "prefix", ManualClock()).lease(Asked(prefix=prefix_of(b"x" * 4096)))
    assert lease is not None
    (shown,) = re.findall(r"`(prefix \d.*? s)`", section)
    assert re.sub(r"[\d.]+", "N", shown) == re.sub(r"[\d.]+", "N", lease.picked)
