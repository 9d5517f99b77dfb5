"""The collector's configuration: every name resolves, nothing unclean is kept, and the patterns do what they say.

The collector itself can't be had here. Its patterns are Go's RE2, so they are run by the same engine (google-re2); the two
processors' rules are applied as their documentation gives them: delete_matching_keys removes each attribute whose key
matches anywhere, redaction masks values under a blocked key whole and blocked values where they match.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import re2
import yaml

from gateway.core.units import parse_duration

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
CONFIG: dict[str, Any] = yaml.safe_load((DEPLOY / "otel-collector.yaml").read_text())
EXPORT: dict[str, Any] = yaml.safe_load((DEPLOY / "otel-collector-export.yaml").read_text())
PIPELINES: dict[str, Any] = CONFIG["service"]["pipelines"]
STATEMENT = re.compile(r'delete_matching_keys\(attributes, "(?P<pattern>.*)"\)')


def merged(base: Any, over: Any) -> Any:
    """The collector's merge of several --config files: maps are joined, everything else is replaced."""
    if isinstance(base, dict) and isinstance(over, dict):
        return {key: merged(base.get(key), over.get(key, base.get(key))) for key in {**base, **over}}
    return base if over is None else over


@pytest.mark.parametrize("config", [CONFIG, merged(CONFIG, EXPORT)], ids=["alone", "exporting"])
def test_every_component_a_pipeline_names_is_defined(config: dict[str, Any]) -> None:
    """No pipeline names a component that is missing: the collector would not start."""
    for pipeline in config["service"]["pipelines"].values():
        for kind in ("receivers", "processors", "exporters"):
            assert pipeline[kind]
            assert set(pipeline[kind]) <= set(config[kind])
    assert set(config["service"]["extensions"]) == set(config["extensions"])


def test_every_component_is_used() -> None:
    """Nothing is defined that no pipeline runs: a redaction that nobody runs would look like protection."""
    for kind in ("receivers", "processors", "exporters"):
        used = {name for pipeline in PIPELINES.values() for name in pipeline[kind]}
        assert used == set(CONFIG[kind])


@pytest.mark.parametrize("signal", ["traces", "metrics", "logs"])
def test_memory_is_guarded_first_and_batches_come_last(signal: str) -> None:
    """The limiter refuses before anything is held; the batch is made of what is left."""
    order = PIPELINES[signal]["processors"]
    assert order[0] == "memory_limiter"
    assert order[-1] == "batch"


def test_content_is_removed_before_anything_is_held_or_chosen() -> None:
    """Removal and masking stand before the sampler, which keeps whole traces in memory, on traces and on logs."""
    order = PIPELINES["traces"]["processors"]
    assert order.index("transform/no_content") < order.index("redaction") < order.index("tail_sampling")
    assert {"transform/no_content", "redaction"} <= set(PIPELINES["logs"]["processors"])
    assert CONFIG["processors"]["transform/no_content"]["error_mode"] == "propagate"


def test_what_the_collector_holds_is_bounded() -> None:
    """Memory, message sizes, traces held, a trace's size and a batch each have an upper bound."""
    processors = CONFIG["processors"]
    limiter = processors["memory_limiter"]
    assert limiter["limit_percentage"] <= 80
    assert limiter["spike_limit_percentage"] < limiter["limit_percentage"]
    sampler = processors["tail_sampling"]
    assert sampler["num_traces"] <= 50_000
    assert sampler["maximum_trace_size_bytes"] <= 4 * 1024 * 1024
    assert sampler["decision_cache"]["sampled_cache_size"] >= 10 * sampler["num_traces"]
    assert processors["batch"]["send_batch_max_size"] >= processors["batch"]["send_batch_size"]
    protocols = CONFIG["receivers"]["otlp"]["protocols"]
    assert protocols["http"]["max_request_body_size"] <= 8 * 1024 * 1024
    assert protocols["grpc"]["max_recv_msg_size_mib"] <= 8


def test_all_errors_and_all_slow_traces_are_kept() -> None:
    """Errors, slow traces and answers that were refused or cut are kept whatever the share of the rest is."""
    sampler = CONFIG["processors"]["tail_sampling"]
    policies = {policy["type"]: policy for policy in sampler["policies"]}
    assert policies["status_code"]["status_code"]["status_codes"] == ["ERROR"]
    assert 0 < policies["latency"]["latency"]["threshold_ms"] <= 30_000
    assert 0 < policies["probabilistic"]["probabilistic"]["sampling_percentage"] < 100
    assert not {"drop", "not"} & set(policies), "a drop policy would overrule the others"
    names = [policy["name"] for policy in sampler["policies"]]
    assert len(names) == len(set(names))
    assert parse_duration(sampler["decision_wait"]) >= 5


def test_the_outcomes_that_are_kept_are_outcomes_of_the_gateway() -> None:
    """The policy by outcome names words that receipts really carry."""
    from typing import get_args

    from gateway.core.receipt import Outcome

    policy = next(one for one in CONFIG["processors"]["tail_sampling"]["policies"] if one["type"] == "string_attribute")
    assert set(policy["string_attribute"]["values"]) <= set(get_args(Outcome))


# --- the patterns


def removes(signal: str, context: str, key: str) -> bool:
    """Whether transform/no_content deletes an attribute with this key in this context."""
    groups = CONFIG["processors"]["transform/no_content"][f"{signal}_statements"]
    statements = [line for group in groups if group["context"] == context for line in group["statements"]]
    patterns = [STATEMENT.fullmatch(line) for line in statements]
    assert all(patterns), "only delete_matching_keys is modelled here"
    return any(re2.search(match["pattern"].replace("$$", "$"), key) for match in patterns if match)


def masked(key: str, value: str) -> str:
    """What the redaction processor leaves of a string attribute."""
    rules = CONFIG["processors"]["redaction"]
    if any(re2.search(pattern, key) for pattern in rules["blocked_key_patterns"]):
        return "****"
    for pattern in rules["blocked_values"]:
        value = re2.sub(pattern, "****", value)
    return value


CONTENT = [
    "gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.system_instructions", "gen_ai.prompt",
    "gen_ai.completion", "gen_ai.prompt.0.content", "gen_ai.completion.12.content", "gen_ai.tool.call.arguments",
    "gen_ai.tool.call.result", "gen_ai.tool.definitions", "gen_ai.evaluation.explanation", "input.value",
    "output.value", "llm.input_messages.0.message.content", "llm.prompts", "http.request.header.authorization",
    "http.response.header.set-cookie", "http.request.body.text", "url.query", "enduser.id", "user.email",
    "client.address",
]  # fmt: skip
KEPT = [
    "gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model", "gen_ai.response.model",
    "gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens", "gen_ai.usage.cache_read.input_tokens",
    "gen_ai.usage.cache_creation.input_tokens", "gen_ai.usage.reasoning.output_tokens", "gen_ai.token.type",
    "gen_ai.response.finish_reasons", "gen_ai.response.id", "gen_ai.conversation.id", "gen_ai.prompt.name",
    "gen_ai.prompt.version", "gen_ai.evaluation.name", "gen_ai.evaluation.score.value", "gen_ai.tool.name",
    "gen_ai.tool.call.id", "error.type", "server.address", "server.port", "http.route",
    "http.response.status_code", "tidegate.outcome", "tidegate.route", "tidegate.key_id", "user.id", "session.id",
]  # fmt: skip


@pytest.mark.parametrize("key", CONTENT)
def test_content_and_credentials_never_stay_on_a_span(key: str) -> None:
    """Prompts, answers, tool arguments, headers, bodies and who asked are deleted, by either convention's names."""
    assert removes("trace", "span", key)


@pytest.mark.parametrize("key", KEPT)
def test_what_explains_a_request_stays(key: str) -> None:
    """Models, counts, outcomes and names of templates are neither deleted nor masked: `token` in a key is no secret."""
    assert not removes("trace", "span", key)
    assert masked(key, "fine") == "fine"


@pytest.mark.parametrize(
    "key", ["gen_ai.input.messages", "gen_ai.event.content", "gen_ai.prompt", "exception.stacktrace"]
)
def test_content_never_stays_on_a_span_event(key: str) -> None:
    """Events carry content in one of the conventions, and tracebacks can."""
    assert removes("trace", "spanevent", key)


@pytest.mark.parametrize("key", ["gen_ai.input.messages", "gen_ai.completion.0.content", "gen_ai.event.content"])
def test_content_never_stays_on_a_log_record(key: str) -> None:
    """The same on the log signal."""
    assert removes("log", "log", key)


def test_a_process_never_tells_its_arguments_or_environment() -> None:
    """The resource keeps the process's name, and loses what was on its command line and in its environment."""
    assert removes("trace", "resource", "process.command_args")
    assert removes("trace", "resource", "process.environment_variable.OPENAI_API_KEY")
    assert not removes("trace", "resource", "process.pid")
    assert not removes("trace", "resource", "service.name")


@pytest.mark.parametrize(
    "key",
    ["authorization", "http.Authorization", "set-cookie", "db.password", "client_secret", "x.api_key", "api-key", "access_token", "id_token"],
)  # fmt: skip
def test_values_under_a_secrets_name_are_masked_whole(key: str) -> None:
    """A key that names a secret keeps no part of its value."""
    assert masked(key, "anything at all") == "****"


@pytest.mark.parametrize(
    ("value", "secret"),
    [
        ("Authorization: Bearer abcdef0123456789", "abcdef0123456789"),
        ("used sk-proj-abcdefghijklmnop1234", "sk-proj-abcdefghijklmnop1234"),
        ("used tg_0123456789ab_abcdefghijklmnopqrst", "abcdefghijklmnopqrst"),
        ("aws AKIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7EXAMPLE"),
        ("gh ghp_abcdefghijklmnopqrstuvwxyz0123456789", "ghp_abcdefghijklmnopqrstuvwxyz0123456789"),
        ("jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "eyJhbGciOiJIUzI1NiJ9"),
        ("mail jane.doe@mail.example.com now", "jane.doe"),
        ("card 4111 1111 1111 1111.", "1111"),
        ("card 4111111111111111.", "4111111111111111"),
        ("iban DE89 3704 0044 0532 0130 00.", "3704"),
        ("iban DE89370400440532013000.", "DE89370400440532013000"),
    ],
)
def test_values_that_look_like_secrets_or_private_data_are_masked(value: str, secret: str) -> None:
    """Shapes of credentials, addresses, cards and accounts are masked under any key."""
    assert secret not in masked("note", value)


@pytest.mark.parametrize(
    "value",
    ["chat gpt-4o-mini-2024-07-18", "req_01HZX3M8Q7K2", "4bf92f3577b34da6a3ce929d0e0e4736", "127.0.0.1:8080", "1732458912345", "sk-short", "tg_0123456789ab"],
)  # fmt: skip
def test_ordinary_values_are_left_alone(value: str) -> None:
    """Model names, ids, addresses and times are not taken for secrets."""
    assert masked("note", value) == value


def test_nothing_is_logged_of_what_passes_through() -> None:
    """The collector's own output has counts, and the redaction's summary does not name what it found."""
    assert CONFIG["exporters"]["debug"]["verbosity"] == "basic"
    assert CONFIG["processors"]["redaction"]["summary"] == "silent"
    assert CONFIG["processors"]["redaction"]["allow_all_keys"] is True


def test_the_backends_credential_comes_from_the_environment() -> None:
    """The export file holds references only, and bounds its queue and its retries."""
    exporter = EXPORT["exporters"]["otlp_http/backend"]
    assert exporter["headers"]["authorization"] == "${env:OTLP_BACKEND_AUTHORIZATION}"
    assert exporter["endpoint"] == "${env:OTLP_BACKEND_ENDPOINT}"
    assert exporter["sending_queue"]["queue_size"] <= 10_000
    assert parse_duration(exporter["retry_on_failure"]["max_elapsed_time"]) > 0
    both = merged(CONFIG, EXPORT)["service"]["pipelines"]
    assert {tuple(pipeline["exporters"]) for pipeline in both.values()} == {("otlp_http/backend",)}
    assert both["traces"]["processors"] == PIPELINES["traces"]["processors"]


def test_the_only_dollar_signs_are_escaped_or_name_a_variable() -> None:
    """The collector expands `$` in values; a lone one in a pattern would be eaten."""
    for file in ("otel-collector.yaml", "otel-collector-export.yaml"):
        lines = [
            line.split("  #")[0]
            for line in (DEPLOY / file).read_text().splitlines()
            if not line.lstrip().startswith("#")
        ]
        assert not re.search(r"\$(?!\$|\{env:)", "\n".join(lines).replace("$$", ""))
