"""A LiteLLM configuration becomes ours: it passes our check, keeps every secret out, and loses nothing without a word."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import config as configuration
from gateway.cli import main
from gateway.commands.litellm.convert import Unreadable, moved
from gateway.config import Config

CLOUD = """
model_list:
  - model_name: gpt-4o
    litellm_params:
      model: azure/gpt-4o-eu
      api_base: https://my-endpoint-europe.openai.azure.com/
      api_key: os.environ/AZURE_API_KEY_EU
      api_version: "2024-10-21"
      rpm: 600
  - model_name: gpt-4o
    litellm_params: {model: openai/gpt-4o, api_key: os.environ/OPENAI_API_KEY, rpm: 200, temperature: 0.2}
  - model_name: claude
    litellm_params: {model: claude-sonnet-4-5, api_key: sk-ant-literal-key-000000000000}
    model_info: {max_input_tokens: 200000, input_cost_per_token: 0.000003, output_cost_per_token: 0.000015, supports_vision: true}
  - model_name: bedrock-claude
    litellm_params: {model: bedrock/converse/eu.anthropic.claude-sonnet-4-5-20250929-v1:0, aws_region_name: eu-central-1}
  - model_name: embed
    litellm_params: {model: text-embedding-3-small}
    model_info: {mode: embedding}
  - model_name: "anthropic/*"
    litellm_params: {model: "anthropic/*", api_key: os.environ/ANTHROPIC_API_KEY}
  - model_name: strange
    litellm_params: {model: replicate/meta/llama-3}
router_settings:
  routing_strategy: simple-shuffle
  num_retries: 3
  timeout: 30
  fallbacks: [{gpt-4o: [claude, nobody]}]
  context_window_fallbacks: [{gpt-4o: [claude]}]
  content_policy_fallbacks: [{claude: [gpt-4o]}]
  model_group_alias: {gpt-4: gpt-4o}
  redis_host: os.environ/REDIS_HOST
  redis_port: 6380
  redis_password: literal-redis-password
  allowed_fails: 3
litellm_settings:
  drop_params: true
  set_verbose: false
  callbacks: [prometheus, otel, langfuse]
  cache: true
  cache_params: {type: redis, ttl: 600, namespace: llm}
general_settings:
  master_key: sk-master-literal-1234
  database_url: postgresql://user:dbpass@host/db
environment_variables: {EXTRA: "secret-value-in-env-block"}
"""
HOUSE = """
model_list:
  - model_name: qwen
    litellm_params: {model: hosted_vllm/Qwen/Qwen3-8B, api_base: http://10.0.0.1:8000/v1, api_key: fake-key, stream_timeout: 2}
  - model_name: qwen
    litellm_params: {model: hosted_vllm/Qwen/Qwen3-8B, api_base: http://10.0.0.2:8000/v1, api_key: fake-key, stream_timeout: 2}
  - model_name: llama
    litellm_params: {model: ollama_chat/llama3, api_base: http://10.0.0.3:11434, timeout: 0.5, max_retries: 20}
  - model_name: small
    litellm_params: {model: openai/anything-at-all, api_base: http://10.0.0.4:9000/v1, extra_headers: {x-api-token: plain-token-value}}
router_settings: {routing_strategy: least-busy, enable_pre_call_checks: true}
litellm_settings:
  default_fallbacks: [llama]
  request_timeout: 600
  cache: true
  cache_params: {type: qdrant-semantic, qdrant_api_base: os.environ/QDRANT_API_BASE, similarity_threshold: 0.8, ttl: 60}
guardrails:
  - guardrail_name: Mask PII
    litellm_params:
      guardrail: presidio
      mode: [pre_call, post_call]
      default_on: true
      output_parse_pii: true
      pii_entities_config: {CREDIT_CARD: MASK, EMAIL_ADDRESS: BLOCK, US_PASSPORT_OLD: MASK}
  - guardrail_name: lakera
    litellm_params: {guardrail: lakera_v2, mode: during_call, api_key: lakera-literal-key, default_on: true}
  - guardrail_name: mod
    litellm_params: {guardrail: openai_moderation, mode: pre_call}
  - guardrail_name: mine
    litellm_params: {guardrail: custom_guardrail.MyGuardrail, mode: logging_only}
"""
VERTEX = """
model_list:
  - {model_name: gemini, litellm_params: {model: gemini/gemini-2.5-pro, api_key: os.environ/GEMINI_API_KEY, weight: 0.9}}
  - {model_name: gemini, litellm_params: {model: openrouter/google/gemini-2.5-pro, weight: 0.1}}
  - {model_name: groq, litellm_params: {model: groq/llama-3.3-70b-versatile, num_retries: 0}}
  - {model_name: rerank, litellm_params: {model: cohere/rerank-v3.5}}
general_settings: {otel: true}
"""
ENVIRONMENT = {
    "AZURE_API_KEY_EU": "k", "OPENAI_API_KEY": "k", "ANTHROPIC_API_KEY": "k", "REDIS_HOST": "127.0.0.1", "REDIS_PASSWORD": "k",
    "ANTHROPIC_API_KEY_2": "k", "AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "k", "X_API_TOKEN": "k",
    "QDRANT_API_BASE": "http://127.0.0.1:6333", "GEMINI_API_KEY": "k", "OPENROUTER_API_KEY": "k", "GROQ_API_KEY": "k",
    "COHERE_API_KEY": "k",
}  # fmt: skip
LITERALS = (
    "sk-ant-literal",
    "literal-redis",
    "sk-master-literal",
    "dbpass",
    "secret-value",
    "plain-token",
    "lakera-literal",
)


def ours(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Config, str, str]:
    """The configuration, its text, and what was said."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    made = moved(text)
    return configuration.read(made.text, tmp_path), made.text, "\n".join(f"{at}: {what}" for at, what in made.notes)


@pytest.mark.parametrize("text", [CLOUD, HOUSE, VERTEX])
def test_what_comes_out_passes_the_check(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`tidegate import litellm F > ours && tidegate check --config ours`: the list of what is lost goes to standard error and
    into comments, and no secret of their file goes anywhere."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "theirs.yaml").write_text(text)
    assert main(["import", "litellm", str(tmp_path / "theirs.yaml")]) == 0
    out, err = capsys.readouterr()
    (tmp_path / "ours.yaml").write_text(out)
    assert main(["check", "--config", str(tmp_path / "ours.yaml")]) == 0
    for literal in LITERALS:
        assert literal not in out + err
    told = re.findall(r"^#   (.*)$", out, re.MULTILINE)
    assert err.count("\n") == (len(told) + 1 if told else 0)


def test_cloud_models_keep_their_meaning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Deployments of one name are targets by weight; fallbacks, retries, prices and defaults are where they belong."""
    config, text, told = ours(CLOUD, tmp_path, monkeypatch)
    gpt = config.models["gpt-4o"]
    assert [(t.provider, t.model, t.weight) for t in gpt.targets] == [
        ("azure-deployments", "gpt-4o-eu", 3),
        ("openai", "gpt-4o", 1),
    ]
    assert (gpt.on_failure, gpt.on_context_overflow, config.models["claude"].on_content_policy) == (
        ["claude"],
        ["claude"],
        ["gpt-4o"],
    )
    assert (gpt.retry.attempts, gpt.timeouts.total) == (4, 30.0)
    assert config.models["gpt-4"].targets == gpt.targets
    azure = config.providers["azure-deployments"]
    assert (azure.base_url, azure.query) == (
        "https://my-endpoint-europe.openai.azure.com",
        {"api-version": "2024-10-21"},
    )
    assert config.providers["openai"].params is not None
    assert config.providers["openai"].params.default == {"temperature": 0.2}
    price = config.models["claude"].targets[0].price
    assert price is not None
    assert (price.input, price.output, config.models["claude"].targets[0].context_window) == (3.0, 15.0, 200000)
    aws = config.providers["bedrock"].aws
    assert aws is not None
    assert (aws.region, config.models["bedrock-claude"].targets[0].model[:13]) == ("eu-central-1", "eu.anthropic.")
    assert config.redis == "redis://:k@127.0.0.1:6380/0"
    cache = config.routes["default"].cache
    assert cache is not None
    assert cache.exact is not None
    assert (cache.partition, cache.exact.ttl) == ("tenant", 600.0)
    assert '"${OTEL_EXPORTER_OTLP_ENDPOINT:-}"' in text
    for lost in ("'anthropic/*' is a wildcard", "replicate/meta/llama-3", "'nobody' is not among", "allowed_fails", "drop_params",
                 "master_key", "database_url", "environment_variables", "supports_vision", "langfuse", "rpm: taken as"):  # fmt: skip
        assert lost in told


def test_replicas_become_the_endpoints_of_one_provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Deployments that differ in their address alone, with the way of balancing that was asked for."""
    config, _, told = ours(HOUSE, tmp_path, monkeypatch)
    assert [target.model for target in config.models["qwen"].targets] == ["Qwen/Qwen3-8B"]
    pool = config.providers[config.models["qwen"].targets[0].provider]
    assert (pool.type, pool.endpoints) == ("vllm", ["http://10.0.0.1:8000/v1", "http://10.0.0.2:8000/v1"])
    assert (pool.balance, pool.api_key) == ("least_inflight", None)
    assert config.models["qwen"].timeouts.ttft == 2.0
    llama = config.models["llama"]
    assert config.providers[llama.targets[0].provider].base_url == "http://10.0.0.3:11434/v1"
    assert (llama.timeouts.total, llama.retry.attempts, llama.on_failure) == (0.5, 10, [])
    assert config.models["small"].on_failure == ["llama"]
    assert config.providers[config.models["small"].targets[0].provider].type == "openai-compatible"
    assert config.qdrant == "http://127.0.0.1:6333"
    cache = config.routes["default"].cache
    assert cache is not None
    assert cache.semantic is not None
    assert cache.semantic.threshold == 0.93
    assert "no cosine" in told


def test_guardrails_that_we_have_run_where_theirs_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was on by default is on the default route; what is not ours, or another's service, is told."""
    config, _, told = ours(HOUSE, tmp_path, monkeypatch)
    assert config.routes["default"].guardrails == ["mask-pii", "lakera"]
    mask = config.guardrails["mask-pii"]
    assert (mask.use, mask.on, mask.action, mask.restore) == ("pii", ["input", "output"], "mask", True)
    assert mask.entities == ["CREDIT_CARD", "EMAIL_ADDRESS"]
    assert config.guardrails["lakera"].use == "injection"
    moderation = config.guardrails["mod"]
    assert (moderation.use, moderation.url) == ("remote", "https://api.openai.com/v1/moderations")
    for lost in ("'US_PASSPORT_OLD' is not among", "is masked, not blocked", "custom_guardrail.MyGuardrail", "our own detector instead",
                 "'mod' is on no route"):  # fmt: skip
        assert lost in told


def test_shares_keys_and_a_retry_of_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fractions become whole weights; a vendor's own variable stands in for a key that is not there; no retry is one attempt."""
    config, text, _ = ours(VERTEX, tmp_path, monkeypatch)
    assert [target.weight for target in config.models["gemini"].targets] == [9, 1]
    assert '"${OPENROUTER_API_KEY}"' in text
    assert config.models["groq"].retry.attempts == 1
    assert config.telemetry.otlp == ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model_list: [", "no valid YAML (line 1)"),
        ("- a", "no `model_list`"),
        ("router_settings: {}", "no `model_list`"),
        ("model_list: {a: b}", "no entry of its `model_list` can be served\n  model_list: is absent or no list"),
        (
            "model_list: [3, null, {model_name: x}, {litellm_params: {model: gpt-4}}]",
            "no entry of its `model_list` can be served",
        ),
        ('model_list: [{model_name: "*", litellm_params: {model: "*"}}]', "can be served\n  model_list[0]"),
    ],
)
def test_a_file_that_is_none_is_told_and_nothing_is_printed(
    text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 2, and the reason on standard error."""
    with pytest.raises(Unreadable) as caught:
        moved(text)
    assert said in str(caught.value)
    (tmp_path / "f.yaml").write_text(text)
    assert main(["import", "litellm", str(tmp_path / "f.yaml")]) == 2
    assert capsys.readouterr().out == ""
    assert main(["import", "litellm", str(tmp_path / "nobody.yaml")]) == 2


def test_a_credential_in_an_address_stays_out() -> None:
    """No address of ours may hold one, and it is not repeated."""
    entry = {"model_name": "m", "litellm_params": {"model": "openai/m", "api_base": "https://user:hunter2@host/v1"}}
    made = moved(yaml.safe_dump({"model_list": [entry]}))
    assert "hunter2" not in made.text
    assert "https://host/v1" in made.text


def test_credentials_by_name_are_filled_in() -> None:
    """Where an entry names one of their `credential_list`; one that is not there is told."""
    theirs = {
        "credential_list": [
            {
                "credential_name": "eu",
                "credential_values": {"api_key": "os.environ/EU_KEY", "api_base": "https://eu/v1"},
            }
        ],
        "model_list": [
            {"model_name": "a", "litellm_params": {"model": "openai/a", "litellm_credential_name": "eu"}},
            {"model_name": "b", "litellm_params": {"model": "openai/b", "litellm_credential_name": "us"}},
        ],
    }
    made = moved(yaml.safe_dump(theirs))
    assert '{type: openai-compatible, api_key: "${EU_KEY}", base_url: "https://eu/v1"}' in made.text
    assert ("model_list[1].litellm_params.litellm_credential_name", "no counterpart") in made.notes


def test_calls_at_one_time_are_the_models() -> None:
    """The sum of its deployments', where all have a limit."""
    environment = {"OPENAI_API_KEY": "k"}
    for limits, total in (((3, 4), 7), ((3, None), None)):
        rows = [
            {"model_name": "m", "litellm_params": {"model": f"openai/{at}", "max_parallel_requests": limit}}
            for at, limit in enumerate(limits)
        ]
        config = configuration.read(moved(yaml.safe_dump({"model_list": rows})).text, Path(), environment)
        assert config.models["m"].concurrency == total


NAMES = st.text("abcdefghijklmnop_", min_size=3, max_size=12).map(lambda name: f"zz_{name}")
VALUES = st.sampled_from([1, "x", True, [1], {"a": 1}])
PLACES = ("", "router_settings", "litellm_settings", "general_settings", "model_list[0]", "model_list[0].litellm_params",
          "model_list[0].model_info")  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(NAMES, VALUES, min_size=1, max_size=3), st.sampled_from(PLACES))
def test_nothing_unknown_is_dropped_without_a_word(unknown: dict[str, Any], place: str) -> None:
    """Whatever key we have never heard of, wherever it stands, is in the list by its path."""
    entry: dict[str, Any] = {"model_name": "m", "litellm_params": {"model": "openai/m"}, "model_info": {}}
    theirs: dict[str, Any] = {
        "model_list": [entry],
        "router_settings": {},
        "litellm_settings": {},
        "general_settings": {},
    }
    where = {"": theirs, "model_list[0]": entry}.get(place) or (
        entry[place.partition(".")[2]] if place.startswith("model_list") else theirs[place]
    )
    where.update(unknown)
    told = {path for path, _ in moved(yaml.safe_dump(theirs)).notes}
    assert {f"{place}.{name}" if place else name for name in unknown} <= told
