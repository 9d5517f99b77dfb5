"""The documented example of a whole configuration is one that this gateway takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.admission.config import KeyEntry, KeyFile
from gateway.admission.keyring import hash_of, new_key, write_key_file
from gateway.cli import main

EXAMPLE = """\
version: 1
server: {host: "127.0.0.1", port: 8080, workers: 1, max_body: 10MiB, drain: 30s}
redis: "redis://127.0.0.1:6379/0"
qdrant: "http://127.0.0.1:6333"

providers:
  openai:    {type: openai, api_key: "${OPENAI_API_KEY}"}
  claude:    {type: anthropic, api_key: "${ANTHROPIC_API_KEY}"}
  gpu:
    type: vllm
    trust: internal
    endpoints: ["http://10.0.0.1:8000/v1", "http://10.0.0.2:8000/v1"]
    balance: prefix

models:
  smart: {targets: [{provider: claude, model: claude-x}], on_failure: [fast]}
  fast:
    targets: [{provider: gpu, model: qwen3-8b, weight: 9}, {provider: openai, model: gpt-x-mini, weight: 1}]
    on_failure: [smart]
    on_context_overflow: [smart]
    timeouts: {ttft: 5s, idle: 20s, total: 120s}
    retry: {attempts: 2, max_wait: 10s}
    hedge: {after: 2s}
    context_window: 32768
    price: {input: 0.15, cached_input: 0.075, output: 0.60}

guardrails:
  private:   {use: pii, on: [input, output], action: mask, restore: true, entities: [PERSON, EMAIL_ADDRESS, PHONE_NUMBER, CREDIT_CARD, IBAN_CODE], on_error: closed, deadline: 80ms}
  secrets:   {use: secrets, on: [input, output], action: mask, restore: true, on_error: closed, deadline: 40ms}
  attacks:   {use: injection, on: [input, retrieved], scope: [latest_turn, tool_results], action: block, threshold: 0.5, on_error: open, deadline: 60ms}
  phrases:   {use: phrases, on: [input, output], deny: ["project bluebird"], action: block, on_error: closed, deadline: 10ms}
  prompt-leak: {use: prompt_leak, on: [output], action: block, stream: window, on_error: closed, deadline: 20ms}
  json:      {use: json_schema, on: [output], action: repair, then: retry, attempts: 2, on_error: closed, deadline: 20ms}
  toxicity:  {use: toxicity, on: [output], action: block, stream: window, on_error: open, deadline: 60ms}

routes:
  default:
    guardrails: [private, secrets, attacks, phrases, prompt-leak, toxicity, json]
    cache:
      partition: user
      exact: {ttl: 1h, max_entries: 10000, evict: lru}
      semantic: {ttl: 1h, threshold: 0.93, max_false_hit_rate: 0.01, verify_sample: 0.02}
    limits: {rpm: 600, tpm: 200000, concurrency: 64}
  support:
    match: {models: [support]}
    intents:
      examples: support-intents.yaml
      below: 0.5
      margin: 0.1
      then:
        reset_password: {answer: "You can reset your password at https://example.com/reset."}
        billing_error:  {handoff: billing-team}
        technical:      {model: smart}
        out_of_scope:   {answer: "I can help with your account, billing and technical questions."}
        unclear:        {clarify: "Do you mean {first} or {second}?"}
    guardrails: [private, secrets, attacks]

access:
  keys: "keys.yaml"
telemetry: {otlp: "${OTEL_EXPORTER_OTLP_ENDPOINT:-}", sample: 1.0, content: "off", prometheus: true}
"""
INTENTS = ("reset_password", "billing_error", "technical")


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-one")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-two")
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    lines = [f"{name}:\n" + "".join(f"  - example {at} of {name}\n" for at in range(8)) for name in INTENTS]
    (tmp_path / "support-intents.yaml").write_text("".join(lines))
    key, id = new_key()
    write_key_file(tmp_path / "keys.yaml", KeyFile(keys=[KeyEntry(id=id, hash=hash_of(key))]))
    path = tmp_path / "tidegate.yaml"
    path.write_text(EXAMPLE)
    return path


def test_the_documented_example_passes_the_check(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`tidegate check` finds nothing wrong, names both routes, and shows no secret."""
    assert main(["check", "--config", str(config)]) == 0
    said = capsys.readouterr().out
    assert "no problems" in said
    assert "route default" in said
    assert "route support" in said
    assert "sk-one" not in said


@pytest.mark.parametrize(
    ("right", "wrong", "path", "hint"),
    [
        ("balance: prefix", "balance: prefx", "providers.gpu.balance", "prefix"),
        ("hedge: {after: 2s}", "hedge: {after: 0s}", "models.fast.hedge.after", "more than 0"),
        ("hedge: {after: 2s}", "hedge: {aftr: 2s}", "models.fast.hedge.aftr", "after"),
        ("hedge: {after: 2s}", "hedge: {after: 200s}", "models.fast.hedge.after", "timeouts.total"),
    ],
)
def test_a_slip_in_it_is_told_by_path(
    config: Path, capsys: pytest.CaptureFixture[str], right: str, wrong: str, path: str, hint: str
) -> None:
    """One wrong word ends the check with 2, the key's path and what was meant."""
    config.write_text(EXAMPLE.replace(right, wrong))
    assert main(["check", "--config", str(config)]) == 2
    (problem,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith(path)]
    assert hint in problem
