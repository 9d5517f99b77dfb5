"""The `providers:` and `models:` sections: what is accepted, and that every mistake is told with its path."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.configuring.convert import convert
from gateway.core.plan import ModelPlan, Price, Target, Timeouts
from gateway.core.secret import Secret
from gateway.dialects.registry import dialects
from gateway.providers.build import build, plans
from gateway.providers.config import InvalidConfig, ProviderConfig, provider_problems
from gateway.providers.http_client import HttpClient
from gateway.providers.model_config import ModelConfig, TargetConfig, model_problems

KEY = Secret("sk-test")
GPU = ProviderConfig(type="vllm", endpoints=["http://10.0.0.1:8000/v1", "http://10.0.0.2:8000/v1"], trust="internal")
OPENAI = ProviderConfig(type="openai", api_key=KEY)


def read(type_: Any, value: dict[str, Any]) -> Any:
    problems: list[Any] = []
    made = convert(value, type_, "", problems)
    assert not problems, problems
    return made


def wrong(**fields: Any) -> dict[str, str]:
    return dict(provider_problems({"p": ProviderConfig(**fields)}, dialects()))


def test_the_contracts_example_is_accepted() -> None:
    """The providers and models of the documented example become upstreams and plans."""
    providers = {
        "openai": read(ProviderConfig, {"type": "openai", "api_key": "sk-1"}),
        "claude": read(ProviderConfig, {"type": "anthropic", "api_key": "sk-2"}),
        "gpu": read(
            ProviderConfig,
            {
                "type": "vllm",
                "trust": "internal",
                "endpoints": ["http://10.0.0.1:8000/v1", "http://10.0.0.2:8000/v1"],
                "balance": "prefix",
            },
        ),
    }
    fast = {
        "targets": [
            {"provider": "gpu", "model": "qwen3-8b", "weight": 9},
            {"provider": "openai", "model": "gpt-4o-mini"},
        ],
        "on_failure": ["smart"],
        "on_context_overflow": ["smart"],
        "timeouts": {"ttft": "5s", "idle": "20s", "total": "120s"},
        "retry": {"attempts": 3, "max_wait": "10s"},
        "hedge": {"after": "2s"},
        "context_window": 32768,
    }
    models = {
        "smart": read(ModelConfig, {"targets": [{"provider": "claude", "model": "claude-x"}], "on_failure": ["fast"]}),
        "fast": read(ModelConfig, fast),
    }
    upstreams = build(providers, dialects(), HttpClient())
    assert {name: up.trusted for name, up in upstreams.items()} == {"openai": False, "claude": False, "gpu": True}
    assert [endpoint.label for endpoint in upstreams["gpu"].endpoints.all] == ["10.0.0.1:8000", "10.0.0.2:8000"]
    plan: ModelPlan = plans(models, providers)["fast"]
    assert plan.timeouts == Timeouts(connect=5, ttft=5, idle=20, total=120)
    assert (plan.attempts, plan.max_wait, plan.targets[0].context_window) == (3, 10, 32768)
    assert (plan.hedge_after, plans(models, providers)["smart"].hedge_after) == (2.0, None)
    assert [target.weight for target in plan.targets] == [9, 1]
    assert [target.price and target.price.output for target in plan.targets] == [None, 0.6]
    assert plan.on_failure == plan.on_context_overflow == ("smart",)


def test_a_price_of_ones_own_wins() -> None:
    """A target's price, else the model's, else the table's."""
    mine, targets = Price(input=1, output=2), Price(input=3, output=4)
    model = ModelConfig(
        targets=[
            TargetConfig(provider="o", model="gpt-4o", price=targets),
            TargetConfig(provider="o", model="gpt-4o"),
        ],
        price=mine,
    )
    plan = plans({"m": model}, {"o": OPENAI})["m"]
    assert [target.price for target in plan.targets] == [targets, mine]


def test_secrets_are_in_no_repr() -> None:
    """Neither the config nor the upstream made of it shows the key."""
    made = build({"o": OPENAI}, dialects(), HttpClient())["o"]
    assert "sk-test" not in f"{OPENAI!r} {made!r} {InvalidConfig([('a', 'b')])!r}"


@pytest.mark.parametrize(
    ("fields", "path", "said"),
    [
        ({"type": "opnai"}, "p.type", "did you mean 'openai'"),
        ({"type": "openai"}, "p.api_key", "missing"),
        ({"type": "openai", "api_key": Secret("a b")}, "p.api_key", "space"),
        ({"type": "vllm"}, "p.base_url", "missing"),
        ({"type": "vllm", "base_url": "10.0.0.1:8000"}, "p.base_url", "http"),
        ({"type": "vllm", "base_url": "http://u:p@h/v1"}, "p.base_url", "user name"),
        ({"type": "vllm", "base_url": "http://h/v1?a=b"}, "p.base_url", "query"),
        ({"type": "vllm", "base_url": "http://h:99999/v1"}, "p.base_url", "ort"),
        ({"type": "vllm", "endpoints": ["http://a/v1", "ftp://b"]}, "p.endpoints[1]", "http"),
        ({"type": "vllm", "endpoints": ["http://a/v1"] * 2}, "p.endpoints", "twice"),
        ({"type": "vllm", "endpoints": ["http://a"], "base_url": "http://b"}, "p.endpoints", "not both"),
        ({"type": "ollama", "headers": {"Host": "x"}}, "p.headers", "cannot be sent"),
        ({"type": "ollama", "paths": {"chat": "/{modle}/chat"}}, "p.paths.chat", "{model}"),
        ({"type": "ollama", "headers": {"a b": "x"}}, "p.headers", "cannot be sent"),
        ({"type": "ollama", "headers": {"a": "x\ny"}}, "p.headers.a", "line break"),
        ({"type": "ollama", "forward": ["content-length"]}, "p.headers", "cannot be sent"),
        ({"type": "ollama", "paths": {"chat": "x"}}, "p.paths.chat", "slash"),
        ({"type": "ollama", "proxy": Secret("socks5://u:p@x")}, "p.proxy", "HTTP proxy"),
        ({"type": "ollama", "prefix_scope": "all"}, "p.prefix_scope", "balance: least_inflight"),
    ],
)
def test_each_mistake_in_a_provider_is_told(fields: dict[str, Any], path: str, said: str) -> None:
    """Path and message say where and what, and quote no secret."""
    found = wrong(**fields)
    assert list(found) == [f"providers.{path}"]
    assert said in found[f"providers.{path}"]
    assert "u:p" not in found[f"providers.{path}"]


def test_a_dialect_that_is_not_there_is_told() -> None:
    """A kind of provider whose dialect was not built in is refused at start."""
    found = provider_problems({"p": OPENAI}, {"klingon"})
    assert found == [("providers.p.type", "'openai' speaks the dialect 'openai', which this version does not have")]


@pytest.mark.parametrize(
    ("fields", "path", "said"),
    [
        ({"targets": []}, "targets", "none"),
        ({"targets": [{"provider": "opennai", "model": "x"}]}, "targets[0].provider", "did you mean 'openai'"),
        ({"targets": [{"provider": "openai", "model": "x", "weight": -1}, {"provider": "openai", "model": "y"}]},
         "targets[0].weight", "negative"),
        ({"targets": [{"provider": "openai", "model": "x", "weight": 0}]}, "targets", "0"),
        ({"on_failure": ["smrt"]}, "on_failure[0]", "did you mean 'smart'"),
        ({"on_context_overflow": ["m"]}, "on_context_overflow[0]", "itself"),
        ({"timeouts": {"ttft": "0s"}}, "timeouts.ttft", "more than 0"),
        ({"retry": {"attempts": 0}}, "retry.attempts", "1 to 10"),
        ({"hedge": {"after": "0s"}}, "hedge.after", "more than 0"),
        ({"hedge": {"after": "600s"}}, "hedge.after", "less than timeouts.total (600 s)"),
        ({"context_window": 0}, "context_window", "at least 1"),
    ],
)  # fmt: skip
def test_each_mistake_in_a_model_is_told(fields: dict[str, Any], path: str, said: str) -> None:
    """Path and message say where and what, with the nearest name where a name is wrong."""
    fine = {"targets": [{"provider": "openai", "model": "x"}]}
    models = {"m": read(ModelConfig, {**fine, **fields}), "smart": read(ModelConfig, fine)}
    found = model_problems(models, {"openai": OPENAI})
    assert [at for at, _ in found] == [f"models.m.{path}"]
    assert said in found[0][1]


def test_all_mistakes_are_told_at_once() -> None:
    """Nobody has to start a gateway five times to find five mistakes."""
    providers = {"a": ProviderConfig(type="nope"), "b": ProviderConfig(type="openai"), "c": GPU}
    with pytest.raises(InvalidConfig) as caught:
        build(providers, dialects(), HttpClient())
    assert [path for path, _ in caught.value.problems] == ["providers.a.type", "providers.b.api_key"]
    models = {"m": ModelConfig(targets=[TargetConfig(provider="x", model="y")], on_failure=["n", "o"])}
    with pytest.raises(InvalidConfig) as caught:
        plans(models, providers)
    assert [path for path, _ in caught.value.problems] == [
        "models.m.targets[0].provider", "models.m.on_failure[0]", "models.m.on_failure[1]",
    ]  # fmt: skip


def test_nothing_configured_is_told() -> None:
    """An empty section says that it needs an entry."""
    assert provider_problems({}, dialects())[0][0] == "providers"
    assert model_problems({}, {})[0][0] == "models"


def test_the_nearest_word_on_a_target_holds() -> None:
    """Window and capabilities: the target's own, else its model's, else its provider's or the table's, else unknown."""
    providers = {
        "named": read(ProviderConfig, {"type": "openai", "api_key": "sk-test", "capabilities": ["tools"]}),
        "plain": GPU,
        "known": read(ProviderConfig, {"type": "anthropic", "api_key": "sk-test"}),
    }

    def target(provider: str, name: str = "m", own: dict[str, Any] | None = None, **model: Any) -> Target:
        value = {"targets": [{"provider": provider, "model": name, **(own or {})}], **model}
        return plans({"m": read(ModelConfig, value)}, providers)["m"].targets[0]

    assert target("plain").capabilities is None
    assert target("plain").context_window is None
    assert target("plain", capabilities=[]).capabilities == frozenset()
    assert target("named").capabilities == {"tools"}
    assert target("named", capabilities=["vision"]).capabilities == {"vision"}
    assert target("named", capabilities=["vision"], own={"capabilities": ["json"]}).capabilities == {"json"}
    assert "logprobs" not in (target("known").capabilities or ())
    assert target("named", "gpt-4o-2024-08-06").context_window == 128_000
    assert target("named", "gpt-4o", context_window=9).context_window == 9
    assert target("named", "gpt-4o", context_window=9, own={"context_window": 7}).context_window == 7
