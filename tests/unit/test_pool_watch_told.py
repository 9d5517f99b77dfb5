"""What `tidegate check` says of pools, and what it hears when it asks."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway import config as configuration
from gateway.cli import main
from gateway.commands.check import report_of, text_of
from tests.fixtures.engine_server import EngineServer, NameServer
from tests.fixtures.fleet import Background

PAGES = Path(__file__).parents[1] / "fixtures/scrapes"
VLLM, MODELS = (PAGES / "vllm-0.11.txt").read_text(), (PAGES / "vllm-models.json").read_text()


def settings(provider: dict[str, Any], **sections: Any) -> dict[str, Any]:
    models = {"m": {"targets": [{"provider": "gpu", "model": "m"}]}}
    return {"version": 1, "providers": {"gpu": provider}, "models": models, **sections}


def report(provider: dict[str, Any], **sections: Any) -> dict[str, Any]:
    return report_of(configuration.of_value(settings(provider, **sections), Path()))


def test_each_pool_is_told() -> None:
    """How its endpoints are found, where they are probed, and what is read from which page."""
    said = {"type": "vllm", "discover": {"dns": "vllm.models", "port": 8000}, "balance": "prefix"}
    found = report(said)
    assert found["pools"]["gpu"] == [
        "endpoints by DNS: vllm.models (addresses, port 8000) every 5 s, balance prefix",
        "health: /health every 5 s",
        "metrics: /metrics: waiting, running, kv, block_tokens, blocks, prompt_tokens, cached_tokens, started, adapters, "
        "loading, most_adapters",
        "metrics: /v1/models: models",
    ]
    assert "pool gpu" in text_of(found)
    plain = report({"type": "tgi", "endpoints": ["http://a:1/v1", "http://b:1/v1"], "health": "off"})
    assert plain["pools"]["gpu"] == [
        "2 endpoints, balance least_inflight",
        "health: only calls that fail tell",
        "metrics: not read; the gateway counts what it sends itself",
    ]
    assert report({"type": "openai", "api_key": "k"})["pools"] == {}


def test_what_is_worth_knowing_is_told() -> None:
    """Certificates of addresses, a balance that sees nothing, and drains that reach one worker."""
    two = ["http://a:1/v1", "http://b:1/v1"]
    found = report(
        {"type": "openai-compatible", "endpoints": two, "balance": "prefix"}, server={"workers": 4, "secret": "s" * 16}
    )["warnings"]
    assert "providers.gpu.metrics: nothing is read; prefix then knows only what this gateway sent" in found
    assert "providers.gpu: without redis, draining an endpoint reaches one worker of 4" in found
    tls = report({"type": "vllm", "discover": {"dns": "x.y", "port": 1, "scheme": "https"}})["warnings"]
    assert any("certificate must hold its server's address" in line for line in tls)


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        (VLLM, 0, "well (waiting 4, running 7, kv 0.5, blocks 55622)"),
        (VLLM.replace("vllm:kv_cache_usage_perc", "vllm:kv_share"), 1, "missing: vllm:kv_cache_usage_perc"),
        ("vllm:num_requests_waiting oops\n", 1, "metrics cannot be read: a line of vllm:num_requests_waiting"),
    ],
)
def test_asking_hears_what_is_missing(
    body: str, code: int, said: str, background: Background, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--ask` looks at every endpoint once, and its exit says whether all is as it should be."""
    server = EngineServer({"/health": (200, ""), "/metrics": (200, body), "/v1/models": (200, MODELS)})
    background.run(server.start())
    file = tmp_path / "tidegate.yaml"
    file.write_text(
        yaml.safe_dump(settings({"type": "vllm", "base_url": server.base_url, "health": "on", "metrics": "on"}))
    )
    assert main(["check", "--config", str(file), "--ask", "--json"]) == code
    (line,) = json.loads(capsys.readouterr().out)["asked"]["gpu"]
    assert line.startswith(f"127.0.0.1:{server.port}: {said}")
    background.run(server.stop())


def test_asking_nobody_is_told(background: Background, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An endpoint where nothing listens, and a name that is not there."""
    listener = asyncio.run(_closed_port())
    file = tmp_path / "tidegate.yaml"
    file.write_text(
        yaml.safe_dump(settings({"type": "vllm", "base_url": f"http://127.0.0.1:{listener}/v1", "health": "on"}))
    )
    assert main(["check", "--config", str(file), "--ask"]) == 1
    assert "ill: cannot connect to the upstream" in capsys.readouterr().out
    names = NameServer()
    background.run(names.__aenter__())
    found = {"dns": "x.y", "port": 1, "resolver": names.address}
    file.write_text(yaml.safe_dump(settings({"type": "vllm", "discover": found})))
    assert main(["check", "--config", str(file), "--ask"]) == 1
    assert "no endpoint is found at x.y" in capsys.readouterr().out
    background.run(names.__aexit__(None, None, None))


async def _closed_port() -> int:
    async with EngineServer() as server:
        return server.port
