"""How pools are found and watched, as it is written in a configuration, and what is wrong with it."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.configuring.convert import convert
from gateway.configuring.problems import Problem
from gateway.core.clock import ManualClock
from gateway.dialects.registry import dialects
from gateway.providers.build import build, plans
from gateway.providers.config import ProviderConfig, profile_of, provider_problems, urls_of
from gateway.providers.http_client import HttpClient
from gateway.providers.model_config import ModelConfig, model_problems
from gateway.providers.watch_config import HealthConfig, MetricsConfig, health_of, metrics_of

DNS = {"dns": "vllm-headless.models", "port": 8000}
TWO = ["http://a:1/v1", "http://b:1/v1"]


def read(kind: Any, value: dict[str, Any]) -> Any:
    problems: list[Problem] = []
    made = convert(value, kind, "p", problems)
    assert not problems, problems
    return made


def wrong(value: dict[str, Any]) -> dict[str, str]:
    """Every problem of one provider, by its path."""
    found: list[Problem] = []
    config = convert(value, ProviderConfig, "providers.p", found)
    if found:
        return {problem.path: problem.message for problem in found}
    return dict(provider_problems({"p": config}, dialects()))


@pytest.mark.parametrize(
    "value",
    [
        {"type": "vllm", "discover": DNS},
        {"type": "vllm", "discover": {**DNS, "every": "1s", "scheme": "https", "path": "", "resolver": "[::1]:53"}},
        {"type": "llama-cpp", "discover": {"dns": "_http._tcp.llama.models.svc.cluster.local."}},
        {"type": "vllm", "endpoints": TWO, "health": "off", "metrics": "on"},
        {"type": "sglang", "endpoints": TWO, "health": {"every": "1s", "failures": 5}, "metrics": {"every": "2s", "names": {"kv": ["x"]}}},
        {"type": "openai-compatible", "endpoints": TWO, "health": {"path": "/up"}, "metrics": {"path": "/m", "names": {"waiting": ["queued"]}}},
    ],
)  # fmt: skip
def test_what_is_documented_is_accepted(value: dict[str, Any]) -> None:
    """Lists, names, switches and details."""
    assert not wrong(value)


@pytest.mark.parametrize(
    ("fields", "path", "said"),
    [
        ({"discover": {"dns": "x"}}, "discover.port", "on which port the engines answer"),
        ({"discover": {"dns": "x", "port": 0}}, "discover.port", "0 is not a port"),
        ({"discover": {"port": 1}}, "discover.dns", "missing"),
        ({"discover": {"dns": "a b", "port": 1}}, "discover.dns", "not a name that a name server"),
        ({"discover": {"dns": "a..b", "port": 1}}, "discover.dns", "not a name that a name server"),
        ({"discover": {"dns": "_h._tcp.x", "port": 1}}, "discover.port", "bring their own ports"),
        ({"discover": {"dns": "x", "port": 1, "resolver": "ns1:53"}}, "discover.resolver", "10.96.0.10:53"),
        ({"discover": {"dns": "x", "port": 1, "path": "v1"}}, "discover.path", "slash"),
        ({"discover": {"dns": "x", "port": 1, "every": "1ms"}}, "discover.every", "at least 100ms"),
        ({"discover": {"dns": "x", "port": 1}, "endpoints": TWO}, "discover", "give one of"),
        ({"discover": {"dsn": "x", "port": 1}}, "discover.dsn", "did you mean 'dns'"),
        ({"base_url": "http://h", "health": "of"}, "health", "did you mean 'off'"),
        ({"base_url": "http://h", "health": {"failures": 0}}, "health.failures", "between 1 and 100"),
        ({"base_url": "http://h", "health": {"path": "up"}}, "health.path", "slash"),
        ({"base_url": "http://h", "metrics": {"every": "1.5"}}, "metrics.every", "is not a duration"),
        ({"base_url": "http://h", "metrics": {"names": {"kv": ["a b"]}}}, "metrics.names", "is not a metric's name"),
        ({"base_url": "http://h", "metrics": {"names": {"kw": ["a"]}}}, "metrics.names.kw", "is no field"),
        ({"type": "openai", "api_key": "k", "health": {}}, "health.path", "has no page for it"),
        ({"type": "openai", "api_key": "k", "metrics": "on"}, "metrics", "tells nothing that is known here"),
    ],
)
def test_each_mistake_is_told_with_its_path(fields: dict[str, Any], path: str, said: str) -> None:
    """Path and message say where and what."""
    found = wrong({"type": "vllm", **fields})
    assert f"providers.p.{path}" in found
    assert said in found[f"providers.p.{path}"]


@pytest.mark.parametrize(
    ("value", "health", "metrics"),
    [
        ({"type": "vllm", "base_url": "http://h"}, False, False),
        ({"type": "vllm", "endpoints": TWO}, True, False),
        ({"type": "vllm", "endpoints": TWO, "balance": "prefix"}, True, True),
        ({"type": "vllm", "discover": DNS, "balance": "prefix"}, True, True),
        ({"type": "vllm", "endpoints": TWO, "balance": "prefix", "health": "off", "metrics": "off"}, False, False),
        ({"type": "vllm", "base_url": "http://h", "health": "on", "metrics": "on"}, True, True),
        ({"type": "openai-compatible", "endpoints": TWO, "balance": "prefix"}, False, False),
        ({"type": "openai", "api_key": "k"}, False, False),
    ],
)
def test_only_what_is_of_use_is_asked(value: dict[str, Any], health: bool, metrics: bool) -> None:
    """Unsaid, endpoints are probed where there is a choice of them, and metrics are read where the balance uses them. A
    rented provider is never asked anything."""
    config = read(ProviderConfig, value)
    profile = profile_of(config)
    assert (health_of(config, profile) is not None) == health
    assert (metrics_of(config, profile) is not None) == metrics


def test_what_is_said_is_used() -> None:
    """Details given are the ones that hold; the rest has its defaults."""
    config = read(
        ProviderConfig, {"type": "vllm", "endpoints": TWO, "health": {"timeout": "30s"}, "metrics": {"every": "2s"}}
    )
    assert health_of(config, profile_of(config)) == HealthConfig(timeout=30.0)
    assert metrics_of(config, profile_of(config)) == MetricsConfig(every=2.0)


def test_a_pool_may_begin_empty() -> None:
    """With endpoints still to be found there is a provider without any, even of a type that has an address of its own."""
    config = read(ProviderConfig, {"type": "llama-cpp", "discover": DNS})
    assert urls_of(config, profile_of(config)) == []
    upstream = build({"p": config}, dialects(), HttpClient(), clock=ManualClock())["p"]
    assert upstream.endpoints.all == ()
    assert upstream.endpoints.lease() is None


# --- adapters


def targets(kind: str, **fields: Any) -> dict[str, Any]:
    return {"targets": [{"provider": "p", "model": "base", **fields}]}


@pytest.mark.parametrize(
    ("kind", "sent"), [("vllm", "sql"), ("tgi", "sql"), ("sglang", "base:sql"), ("openai-compatible", "sql")]
)
def test_an_adapter_is_asked_for_as_its_engine_wants_it(kind: str, sent: str) -> None:
    """The request's model is the adapter in the engine's way of naming it; the plan keeps the adapter's own name."""
    providers = {"p": read(ProviderConfig, {"type": kind, "base_url": "http://h"})}
    plan = plans({"m": read(ModelConfig, targets(kind, adapter="sql"))}, providers)["m"]
    assert (plan.targets[0].model, plan.targets[0].adapter) == (sent, "sql")
    plain = plans({"m": read(ModelConfig, targets(kind))}, providers)["m"]
    assert (plain.targets[0].model, plain.targets[0].adapter) == ("base", None)


@pytest.mark.parametrize(("kind", "said"), [("openai", "no names for adapters"), ("ollama", "no names for adapters")])
def test_an_adapter_where_there_can_be_none_is_told(kind: str, said: str) -> None:
    """Naming one of a provider that has no such thing is a mistake, with its path."""
    providers = {"p": read(ProviderConfig, {"type": kind, "api_key": "k", "base_url": "http://h"})}
    found = dict(model_problems({"m": read(ModelConfig, targets(kind, adapter="sql"))}, providers))
    assert said in found["models.m.targets[0].adapter"]
    blank = dict(
        model_problems(
            {"m": read(ModelConfig, targets("vllm", adapter=" "))},
            {"p": read(ProviderConfig, {"type": "vllm", "base_url": "http://h"})},
        )
    )
    assert "1 to 256 characters" in blank["models.m.targets[0].adapter"]
