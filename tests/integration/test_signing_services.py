"""Credentials of the machine itself, from services that stand in for AWS's and Google's over real sockets."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from gateway.core.clock import ManualClock
from gateway.core.errors import UpstreamRefusedUs
from gateway.core.plan import Target, Timeouts
from gateway.core.secret import Secret
from gateway.dialects.registry import dialects, upstream_dialects
from gateway.providers.build import build
from gateway.providers.config import ProviderConfig, provider_problems
from gateway.providers.http_client import HttpClient
from gateway.providers.signing.config import AwsConfig, GoogleConfig
from tests.fixtures.upstream_server import CHAT, Peer, RawServer, whole

REQUEST = dialects()["openai"].read("chat", {"model": "m", "messages": [{"role": "user", "content": "hi"}]})
CONVERSE = json.dumps(
    {"output": {"message": {"content": [{"text": "hi"}]}}, "stopReason": "end_turn", "usage": {}, "metrics": {}}
).encode()
AWS = AwsConfig(region="eu-west-1")


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("AWS_", "GCE_"))]:
        monkeypatch.delenv(name)


class Service:
    """Hands out keys `AK1`, `AK2`, ... for an hour, by whatever is asked of it; or answers as told."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.asked: list[Peer] = []
        self.lines: list[str] = []
        self.told: tuple[str, Any] | None = None

    @property
    def ends(self) -> float:
        return self.clock.wall() / 1e9 + 3600

    async def __call__(self, peer: Peer) -> None:
        self.asked.append(peer)
        self.lines.append(peer.line)
        count = len(self.asked)
        if self.told is not None:
            status, body = self.told
        elif "computeMetadata" in peer.line:
            status, body = "200 OK", {"access_token": f"own-{count}", "expires_in": 3600, "token_type": "Bearer"}
        elif peer.line.startswith("POST"):
            key = {"AccessKeyId": f"AK{count}", "SecretAccessKey": "s", "SessionToken": "st", "Expiration": self.ends}
            result = {"AssumeRoleWithWebIdentityResult": {"Credentials": key}}
            status, body = "200 OK", {"AssumeRoleWithWebIdentityResponse": result}
        else:
            when = datetime.fromtimestamp(self.ends, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            status, body = (
                "200 OK", {"AccessKeyId": f"AK{count}", "SecretAccessKey": "s", "Token": "ct", "Expiration": when},
            )  # fmt: skip
        await peer.send(whole(json.dumps(body).encode(), status))


class World:
    def __init__(self, service: Service, keys: RawServer, model: RawServer, http: HttpClient) -> None:
        self.service, self.keys, self.model, self.http = service, keys, model, http

    async def ask(self, config: ProviderConfig) -> dict[str, str]:
        """The headers that reached the model."""
        upstream = build({"up": config}, upstream_dialects(), self.http, clock=self.service.clock)["up"]
        return await self.again(upstream)

    async def again(self, upstream: Any) -> dict[str, str]:
        target = Target(provider="up", model="m")
        reply = await upstream.open(REQUEST, target, Timeouts(total=5), traceparent="", headers={})
        await reply.close()
        return self.model.requests[-1].headers


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async def answers(peer: Peer) -> None:
        await peer.send(whole(CONVERSE if "converse" in peer.line else CHAT))

    service = Service(ManualClock())
    http = HttpClient()
    async with RawServer(service) as keys, RawServer(answers) as model:
        yield World(service, keys, model, http)
        await http.aclose()


def bedrock(world: World) -> ProviderConfig:
    return ProviderConfig(type="bedrock", base_url=world.model.url, aws=AWS)


async def test_a_container_has_credentials_of_its_own(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ECS and EKS Pod Identity: asked with the token of a file, signed with the key and its session token."""
    (tmp_path / "token").write_text("pod-token\n")
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{world.keys.url}/v1/credentials")
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(tmp_path / "token"))
    sent = await world.ask(bedrock(world))
    assert "Credential=AK1/" in sent["authorization"]
    assert sent["x-amz-security-token"] == "ct"
    assert world.service.lines == ["GET /v1/credentials HTTP/1.1"]
    assert world.service.asked[0].headers["authorization"] == "pod-token"


async def test_a_web_identity_becomes_a_role(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """EKS's IAM roles for service accounts; the key is renewed with the file as it is then."""
    (tmp_path / "jwt").write_text("first")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "jwt"))
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/gateway")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", world.keys.url)
    upstream = build({"up": bedrock(world)}, upstream_dialects(), world.http, clock=world.service.clock)["up"]
    assert "Credential=AK1/" in (await world.again(upstream))["authorization"]
    assert "Credential=AK1/" in (await world.again(upstream))["authorization"]
    (tmp_path / "jwt").write_text("second")
    world.service.clock.advance(3600)
    sent = await world.again(upstream)
    assert "Credential=AK2/" in sent["authorization"]
    assert sent["x-amz-security-token"] == "st"
    form = parse_qs(world.service.asked[-1].body.decode())
    assert form["Action"] == ["AssumeRoleWithWebIdentity"]
    assert form["RoleArn"] == ["arn:aws:iam::123456789012:role/gateway"]
    assert form["WebIdentityToken"] == ["second"]


async def test_the_machines_own_google_account(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The metadata server's token, asked for with the header that proves it is meant."""
    monkeypatch.setenv("GCE_METADATA_HOST", world.keys.url.removeprefix("http://"))
    google = GoogleConfig(credentials=Secret("metadata"), project="acme-ai")
    config = ProviderConfig(
        type="openai-compatible", auth="service-account", google=google, base_url=f"{world.model.url}/{{project}}"
    )
    sent = await world.ask(config)
    assert sent["authorization"] == "Bearer own-1"
    assert world.model.requests[0].line.startswith("POST /acme-ai/")
    assert world.service.lines == ["GET /computeMetadata/v1/instance/service-accounts/default/token HTTP/1.1"]
    assert world.service.asked[0].headers["metadata-flavor"] == "Google"


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (("500 Oops", {"message": "s3cret"}), "HTTP 500"),
        (("200 OK", {"AccessKeyId": "A"}), "holds no key"),
        (("200 OK", {"AccessKeyId": "A", "SecretAccessKey": "s3cret", "Token": "t"}), "how long"),
        (
            ("200 OK", {"AccessKeyId": "A", "SecretAccessKey": "s3cret", "Token": "t", "Expiration": "2001-01-01T00:00:00Z"}),
            "has expired",
        ),
        (("200 OK", []), "holds no key"),
    ],
)  # fmt: skip
async def test_a_service_that_gives_no_key_is_told(
    world: World, told: tuple[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In words that say what is wrong and hold nothing that came."""
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{world.keys.url}/v1/credentials")
    world.service.told = told
    with pytest.raises(UpstreamRefusedUs, match=said) as caught:
        await world.ask(bedrock(world))
    assert "s3cret" not in caught.value.message
    assert not world.model.requests


async def test_an_identity_that_cannot_be_read_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is gone is a fault of the credential, and its path is not shown."""
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", "/nowhere/jwt")
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/gateway")
    with pytest.raises(UpstreamRefusedUs, match="cannot read the identity") as caught:
        await world.ask(bedrock(world))
    assert "nowhere" not in caught.value.message


def test_a_containers_address_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials are asked for in the clear only where AWS's own SDKs do that."""
    config = {"p": ProviderConfig(type="bedrock", aws=AWS)}
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://evil.example/keys")
    assert "must be https" in dict(provider_problems(config, upstream_dialects()))["providers.p.aws"]
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://169.254.170.23/v1/credentials")
    assert not provider_problems(config, upstream_dialects())
    monkeypatch.delenv("AWS_CONTAINER_CREDENTIALS_FULL_URI")
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/credentials/x")
    assert not provider_problems(config, upstream_dialects())
