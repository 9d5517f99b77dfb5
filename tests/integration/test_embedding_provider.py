"""A gateway whose router and caches get their vectors from a provider: a real llama.cpp server, and one that fails."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from gateway import config as configuration
from gateway.cli import main
from gateway.commands.check import report_of, text_of
from gateway.configuring.problems import ConfigError
from gateway.core.plan import Target
from gateway.core.secret import Secret
from gateway.demo.fleet import Fleet
from gateway.dialects.registry import upstream_dialects
from gateway.embedding.config import EmbeddingConfig
from gateway.faults.server import FaultServer
from gateway.faults.wire import VECTOR
from gateway.providers.build import build
from gateway.providers.config import ProviderConfig
from gateway.providers.http_client import HttpClient
from gateway.providers.vectors import AskVectors, embedding_problems
from tests.fixtures.fleet import Background, Serve, Served
from tests.fixtures.redis import free_port
from tests.fixtures.support import EXAMPLES, THEN

QUESTION, LIKE_IT = "What is the default port of Postgres?", "hi, what's the default port of postgres, please"
CACHE = {"partition": "tenant", "semantic": {"threshold": 0.9, "evidence": "assume", "verify_sample": 0.0}}
MASK = {"use": "pii", "on": ["input"], "action": "mask", "entities": ["EMAIL_ADDRESS"], "on_error": "closed"}


@pytest.fixture(scope="module")
def apart() -> Iterator[Background]:
    """A loop of its own for scripted servers: a gateway's stands still while it learns its examples."""
    loop = Background()
    yield loop
    loop.stop()


@pytest.fixture(scope="module")
def upstream(apart: Background) -> Iterator[FaultServer]:
    server = FaultServer()
    apart.run(server.__aenter__())
    yield server
    apart.run(server.__aexit__(None, None, None))


def config(upstream: FaultServer, embedding: dict[str, Any], route: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "providers": {
            "up": {"type": "openai-compatible", "base_url": upstream.base_url},
            **more.pop("providers", {}),
        },
        "models": {"m": {"targets": [{"provider": "up", "model": "ok"}]}, **more.pop("models", {})},
        "embedding": embedding,
        "routes": {"default": route},
        **more,
    }


def ask(served: Served, text: str) -> httpx.Response:
    body = {"model": "m", "messages": [{"role": "user", "content": text}]}
    return httpx.post(f"{served.url}/v1/chat/completions", json=body, timeout=30)


def sent(upstream: FaultServer) -> str:
    """All that went out for vectors."""
    asked = [request for request in upstream.requests if request.path.endswith("/embeddings")]
    return " ".join(request.body.decode() for request in asked)


def test_near_questions_are_found_with_a_real_servers_vectors(
    fleet: Fleet, serve: Serve, upstream: FaultServer
) -> None:
    """llama.cpp embeds; the like question is served, and the store's entries carry that encoder's id."""
    alias = {"demo-embed": fleet.models["demo-embed"]}
    provider = {"local-demo-embed": fleet.providers["local-demo-embed"]}
    embedding = {"model": "demo-embed", "dim": 64, "deadline": "10s"}
    served = serve(config(upstream, embedding, {"cache": CACHE}, providers=provider, models=alias))
    assert served.gateway.encoders.local is None
    assert served.gateway.encoders.meaning is not None
    assert served.gateway.encoders.meaning.id == "llama-cpp:demo-embed:64"
    assert ask(served, QUESTION).headers["x-tidegate-cache"] == "miss"
    hit = ask(served, LIKE_IT)
    while hit.headers["x-tidegate-cache"] == "miss" and served.gateway.caches.writer.stats()["queued"]:
        hit = ask(served, LIKE_IT)
    assert hit.headers["x-tidegate-cache"] == "semantic"
    assert 'tidegate_embedding_total{event="calls"}' in httpx.get(f"{served.url}/metrics").text


def test_intents_are_learned_from_a_real_servers_vectors(fleet: Fleet, serve: Serve, upstream: FaultServer) -> None:
    """The head is that encoder's; an example of an intent is read as that intent."""
    provider = {"vectors": fleet.providers["local-demo-embed"]}
    embedding = {"provider": "vectors", "model": "demo-embed", "dim": 64, "deadline": "10s"}
    route = {"intents": {"examples": EXAMPLES, "then": {"reset_password": THEN["reset_password"]}, "below": 0.0}}
    served = serve(config(upstream, embedding, route, providers=provider))
    reply = ask(served, "I forgot my password, and how do I reset my password?")
    assert "x-tidegate-degraded" not in reply.headers
    assert reply.headers["x-tidegate-intent"] in EXAMPLES


def test_only_masked_text_goes_out_for_vectors(serve: Serve, upstream: FaultServer) -> None:
    """A route that masks addresses never shows one to whoever embeds."""
    embedding = {"provider": "up", "model": "ok", "dim": VECTOR, "deadline": "10s"}
    route = {"guardrails": ["private"], "cache": CACHE, "intents": {"examples": EXAMPLES}}
    served = serve(config(upstream, embedding, route, guardrails={"private": MASK}))
    assert ask(served, "please write to jane.roe@example.org about my invoice").status_code == 200
    out = sent(upstream)
    assert "about my invoice" in out
    assert "jane.roe" not in out
    assert "EMAIL_ADDRESS" in out


def test_a_trusted_model_gets_originals_and_whoever_embeds_does_not(serve: Serve, upstream: FaultServer) -> None:
    """`internal: original` is for the answering call of a trusted target alone."""
    outside = {"outside": {"type": "openai-compatible", "base_url": upstream.base_url}}
    embedding = {"provider": "outside", "model": "ok", "dim": VECTOR, "deadline": "10s"}
    route = {"guardrails": ["private"], "cache": CACHE, "intents": {"examples": EXAMPLES}}
    reveal = {**MASK, "restore": True, "internal": "original"}
    value = config(upstream, embedding, route, guardrails={"private": reveal}, providers=outside)
    value["providers"]["up"]["trust"] = "internal"
    served = serve(value)
    before = len(upstream.requests)
    assert ask(served, "please tell john.doe@example.org about my refund").status_code == 200
    asked = upstream.requests[before:]
    called = [request.body.decode() for request in asked if request.path.endswith("/chat/completions")]
    vectors = [request.body.decode() for request in asked if request.path.endswith("/embeddings")]
    assert ["john.doe" in body for body in called] == [True]
    assert any("about my refund" in body for body in vectors)
    assert not any("john.doe" in body for body in vectors)


def test_without_its_encoder_the_gateway_serves_on_and_says_so(
    apart: Background, serve: Serve, upstream: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It starts, misses, goes without intents, and learns them when the encoder is there: no restart."""
    monkeypatch.setenv("TIDEGATE_MODELS_DIR", str(tmp_path))  # where no head of an earlier run is
    port = free_port()
    late = FaultServer(port=port)
    dead = {"late": {"type": "openai-compatible", "base_url": f"http://127.0.0.1:{port}/v1"}}
    embedding = {"provider": "late", "model": "ok", "dim": VECTOR, "deadline": "5s"}
    route = {"cache": CACHE, "intents": {"examples": EXAMPLES}}
    served = serve(config(upstream, embedding, route, providers=dead))
    for number in range(4):
        reply = ask(served, f"{QUESTION} {number}")
        assert reply.status_code == 200
        assert {"intent_router", "semantic_cache"} <= set(reply.headers["x-tidegate-degraded"].split(","))
    ready = httpx.get(f"{served.url}/readyz")
    assert ready.status_code == 200
    assert "cannot be reached" in ready.json()["degraded"]["embedding"]
    apart.run(late.__aenter__())
    learning = served.gateway._learning
    (learn,) = learning.late
    learn()
    served.gateway.encoders.remote._breaker.succeeded()  # type: ignore[union-attr]
    reply = ask(served, f"{QUESTION} again")
    assert "intent_router" not in reply.headers.get("x-tidegate-degraded", "")
    assert reply.headers["x-tidegate-intent"]
    apart.run(late.__aexit__(None, None, None))


def test_the_commands_ask_the_same_encoder(
    upstream: FaultServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`eval router`, `eval semantic-cache`, `router calibrate` and `router explain` score with the configured provider's
    vectors, in batches, and say whose they are; the lock file knows when that changes."""
    monkeypatch.setenv("TIDEGATE_MODELS_DIR", str(tmp_path / "models"))
    embedding = {"provider": "up", "model": "ok", "dim": VECTOR, "deadline": "10s"}
    value = config(upstream, embedding, {"cache": CACHE, "intents": {"examples": EXAMPLES, "below": 0.0}})
    file = tmp_path / "tidegate.yaml"
    file.write_text(yaml.safe_dump({"version": 1, **value}))
    texts = [(text, intent) for intent, each in EXAMPLES.items() if intent != "out_of_scope" for text in each]
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"text": f"{text}!", "intent": intent}) + "\n" for text, intent in texts))
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text(json.dumps({"a": QUESTION, "b": LIKE_IT, "label": 1}) + "\n")
    before = len(upstream.requests)
    for kind, data in (("router", rows), ("semantic-cache", pairs)):
        assert main(["eval", kind, "--data", str(data), "--config", str(file), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["encoder"] == f"openai-compatible:ok:{VECTOR}"
    assert len(upstream.requests) - before < 8
    assert main(["router", "calibrate", "--config", str(file)]) == 0
    assert main(["router", "calibrate", "--config", str(file), "--check"]) == 0
    assert main(["router", "explain", "I forgot my password, help", "--config", str(file), "--json"]) == 0
    file.write_text(yaml.safe_dump({"version": 1, **value, "embedding": {**embedding, "revision": "2"}}))
    assert main(["router", "calibrate", "--config", str(file), "--check"]) == 1
    gone = {
        **value,
        "providers": {"up": {"type": "openai-compatible", "base_url": f"http://127.0.0.1:{free_port()}/v1"}},
    }
    file.write_text(yaml.safe_dump({"version": 1, **gone}))
    capsys.readouterr()
    assert main(["eval", "semantic-cache", "--data", str(pairs), "--config", str(file)]) == 2
    assert "gave no vectors: The upstream cannot be reached." in capsys.readouterr().err


def checked(embedding: dict[str, Any], route: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    base = {
        "version": 1,
        "providers": {
            "up": {"type": "openai-compatible", "base_url": "http://127.0.0.1:9/v1"},
            "house": {"type": "vllm", "base_url": "http://127.0.0.1:9/v1", "trust": "internal"},
            "claude": {"type": "anthropic", "api_key": "sk-ant-x"},
        },
        "models": {
            "m": {"targets": [{"provider": "up", "model": "m"}]},
            "two": {"targets": [{"provider": "up", "model": "a"}, {"provider": "up", "model": "b"}]},
        },
        "embedding": embedding,
        "routes": {"default": route or {"cache": CACHE}},
        **more,
    }
    return report_of(configuration.of_value(base, Path()))


def test_the_check_says_who_embeds_and_what_follows() -> None:
    """Which encoder, that it is asked for masked text or not, and that learned figures are another's."""
    report = checked({"provider": "up", "model": "text-embedding-3-small", "dim": 512, "revision": "b"})
    assert report["embedding"][0] == "openai-compatible:text-embedding-3-small:512@b, outside: default"
    assert any("evidence begins anew" in line for line in report["embedding"])
    assert any("no check of the route masks them" in line for line in report["warnings"])
    assert "  openai-compatible:text-embedding-3-small:512@b, outside: default" in text_of(report)
    masked = checked(
        {"provider": "up", "model": "v", "dim": 8},
        {"cache": CACHE, "guardrails": ["private"]},
        guardrails={"private": MASK},
    )
    inside = checked({"provider": "house", "model": "v", "dim": 8})
    for report in (masked, inside):
        assert not [line for line in report["warnings"] if "masks" in line]
    unused = checked({"provider": "up", "model": "v", "dim": 8}, {"guardrails": []})
    assert any("nobody is asked" in line for line in unused["warnings"])
    short = checked({"provider": "up", "model": "v", "dim": 8}, {"intents": {"examples": EXAMPLES, "budget": "20ms"}})
    assert any("less than embedding.deadline" in line for line in short["warnings"])
    tools = checked(
        {"provider": "up", "model": "v", "dim": 8}, {"guardrails": []}, tool_caches={"docs": {"kind": "semantic"}}
    )
    assert tools["embedding"][0] == "openai-compatible:v:8, outside: tool:docs"
    assert any("tool_caches.docs: its queries go to up" in line for line in tools["warnings"])
    json.dumps(report)


@pytest.mark.parametrize(
    ("embedding", "said"),
    [
        ({"model": "nobody", "dim": 8}, "embedding.model: no model is called 'nobody'"),
        ({"model": "two", "dim": 8}, "embedding.model: 'two' has 2 targets"),
        ({"provider": "upp", "model": "v", "dim": 8}, "embedding.provider: no provider is called 'upp' (did you mean"),
        (
            {"provider": "claude", "model": "v", "dim": 8},
            "embedding.provider: a provider of type 'anthropic' has no /v1/embeddings",
        ),
        ({"provider": "up", "model": "v"}, "embedding.dim"),
        ({"provider": "up", "model": "v", "dim": 0}, "embedding.dim: 0 is not between"),
        ({"provider": "up", "model": "v", "dim": 8, "deadline": "2m"}, "embedding.deadline: 120s is not between"),
        ({"provider": "up", "model": "v", "dim": 8, "batch": 0}, "embedding.batch: 0 is not between"),
        ({"provider": "up", "model": "v", "dim": 8, "size": 3}, "embedding.size"),
    ],
)
def test_what_is_wrong_is_said_with_its_path(embedding: dict[str, Any], said: str) -> None:
    """Every slip before anything starts."""
    with pytest.raises(ConfigError) as caught:
        checked(embedding)
    assert said in "\n".join(map(str, caught.value.problems))


async def test_a_server_of_geminis_api_gives_vectors_too() -> None:
    """Asked in its own API, read as the body that all others give."""
    async with FaultServer() as server:
        google = ProviderConfig(type="gemini", api_key=Secret("k"), base_url=f"{server.url}/v1beta")
        assert not list(
            embedding_problems(EmbeddingConfig(provider="google", model="ok", dim=8), {"google": google}, {})
        )
        http = HttpClient()
        upstream = build({"google": google}, upstream_dialects(), http)["google"]
        body = await AskVectors(upstream, Target(provider="google", model="ok"), dim=8)(["one", "two"], 5.0)
        await http.aclose()
        assert [len(one["embedding"]) for one in json.loads(body)["data"]] == [VECTOR, VECTOR]
        assert server.requests[-1].path == "/v1beta/models/ok:batchEmbedContents"
