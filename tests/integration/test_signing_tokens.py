"""Tokens that expire, from a real token service over a socket: asked for once, renewed ahead, and never shown."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from urllib.parse import parse_qs

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as elliptic
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gateway.core.clock import ManualClock
from gateway.core.errors import UpstreamRefusedUs
from gateway.core.plan import Target, Timeouts
from gateway.core.secret import Secret
from gateway.dialects.registry import dialects
from gateway.providers.build import build
from gateway.providers.config import ProviderConfig, provider_problems
from gateway.providers.http_client import HttpClient
from gateway.providers.signing.config import GoogleConfig, OAuthConfig
from gateway.providers.signing.renewed import REST
from gateway.providers.upstream import HttpUpstream
from tests.fixtures.upstream_server import CHAT, Behave, Peer, RawServer, whole

PRIVATE = generate_private_key(65537, 2048)
PEM = PRIVATE.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
REQUEST = dialects()["openai"].read("chat", {"model": "m", "messages": [{"role": "user", "content": "hi"}]})
TARGET = Target(provider="up", model="m")


def account(token_url: str, **changed: Any) -> Secret:
    told = {
        "type": "service_account", "project_id": "acme-ai", "private_key_id": "k1", "private_key": PEM,
        "client_email": "gw@acme-ai.iam.gserviceaccount.com", "token_uri": token_url, **changed,
    }  # fmt: skip
    return Secret(json.dumps(told))


class Tokens:
    """Behaves as a token service: counts, and hands out `token-1`, `token-2`, ... good for an hour."""

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []
        self.answer: tuple[str, dict[str, Any]] | None = None
        self.gate: asyncio.Event | None = None

    async def __call__(self, peer: Peer) -> None:
        self.asked.append({name: values[0] for name, values in parse_qs(peer.body.decode()).items()})
        if self.gate is not None:
            await self.gate.wait()
        status, told = self.answer or ("200 OK", {"access_token": f"token-{len(self.asked)}", "expires_in": 3600})
        await peer.send(whole(json.dumps({"token_type": "Bearer", **told}).encode(), status))


async def answers(peer: Peer) -> None:
    await peer.send(whole(CHAT))


class World:
    def __init__(self, upstream: HttpUpstream, service: Tokens, model: RawServer, clock: ManualClock) -> None:
        self.upstream, self.service, self.model, self.clock = upstream, service, model, clock

    async def ask(self) -> str:
        """The credential that reached the upstream, of the call that was answered."""
        reply = await self.upstream.open(REQUEST, TARGET, Timeouts(total=5), traceparent="", headers={})
        await reply.close()
        return self.model.requests[-1].headers["authorization"]


Make = Callable[..., Awaitable[World]]


@pytest.fixture
async def world() -> AsyncIterator[Make]:
    async with AsyncExitStack() as stack:

        async def make(behave: Behave = answers, *, oauth: bool = False) -> World:
            service, clock = Tokens(), ManualClock()
            tokens = await stack.enter_async_context(RawServer(service))
            model = await stack.enter_async_context(RawServer(behave))
            http = await stack.enter_async_context(client())
            url = f"{tokens.url}/token"
            fields: dict[str, Any] = (
                {"oauth": OAuthConfig(token_url=url, client_id="app", client_secret=Secret("s3cret"), scope="all")}
                if oauth
                else {"google": GoogleConfig(credentials=account(url))}
            )
            kind = "oauth" if oauth else "service-account"
            config = ProviderConfig(type="openai-compatible", base_url=f"{model.url}/v1", auth=kind, **fields)
            return World(build({"up": config}, dialects(), http, clock=clock)["up"], service, model, clock)

        yield make


@asynccontextmanager
async def client() -> AsyncIterator[HttpClient]:
    http = HttpClient()
    try:
        yield http
    finally:
        await http.aclose()


async def test_a_service_account_signs_its_claim(world: Make) -> None:
    """The token service gets a JSON Web Token that its public key verifies, with who, what for, for whom and how long."""
    w = await world()
    assert await w.ask() == "Bearer token-1"
    (form,) = w.service.asked
    assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    head, said, signature = form["assertion"].split(".")
    unpack = lambda text: base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))  # noqa: E731
    PRIVATE.public_key().verify(unpack(signature), f"{head}.{said}".encode(), PKCS1v15(), SHA256())
    assert json.loads(unpack(head)) == {"alg": "RS256", "typ": "JWT", "kid": "k1"}
    claim = json.loads(unpack(said))
    now = w.clock.wall() // 10**9
    assert claim["iss"] == "gw@acme-ai.iam.gserviceaccount.com"
    assert claim["aud"].endswith("/token")
    assert claim["scope"] == "https://www.googleapis.com/auth/cloud-platform"
    assert (claim["iat"], claim["exp"]) == (now, now + 3600)


async def test_client_credentials_are_posted(world: Make) -> None:
    """The form of RFC 6749, as Microsoft Entra and others take it."""
    w = await world(oauth=True)
    assert await w.ask() == "Bearer token-1"
    assert w.service.asked == [
        {"grant_type": "client_credentials", "client_id": "app", "client_secret": "s3cret", "scope": "all"}
    ]


async def test_one_asks_for_all(world: Make) -> None:
    """Fifty calls at once, with no token yet, ask the token service once; one that leaves takes nothing from the rest."""
    w = await world()
    w.service.gate = asyncio.Event()
    calls = [asyncio.create_task(w.ask()) for _ in range(50)]
    while not w.service.asked:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    calls[0].cancel()
    await asyncio.gather(calls[0], return_exceptions=True)
    w.service.gate.set()
    assert set(await asyncio.gather(*calls[1:])) == {"Bearer token-1"}
    assert len(w.service.asked) == 1


async def test_a_token_is_renewed_beside_the_calls(world: Make) -> None:
    """Shortly before its end a new one is asked for while calls go on with the old one; after its end they wait."""
    w = await world()
    assert await w.ask() == "Bearer token-1"
    w.clock.advance(3600 - 301)
    assert await w.ask() == "Bearer token-1"
    assert len(w.service.asked) == 1
    w.clock.advance(2)
    w.service.gate = asyncio.Event()
    assert await w.ask() == await w.ask() == "Bearer token-1"
    w.service.gate.set()
    while await w.ask() != "Bearer token-2":  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    assert len(w.service.asked) == 2
    w.clock.advance(3600)
    assert await w.ask() == "Bearer token-3"


async def test_a_renewal_that_fails_costs_nothing_while_the_token_lasts(world: Make) -> None:
    """The old token is used to its end, and the service is not asked again for a while."""
    w = await world()
    await w.ask()
    w.service.answer = ("503 Service Unavailable", {})
    w.clock.advance(3600 - 200)
    for _ in range(5):
        assert await w.ask() == "Bearer token-1"
        await asyncio.sleep(0.01)
    assert len(w.service.asked) == 2
    w.service.answer = None
    w.clock.advance(REST)
    while await w.ask() != "Bearer token-3":  # noqa: ASYNC110
        await asyncio.sleep(0.001)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (("400 Bad Request", {"error": "invalid_grant", "error_description": "s3cret"}), "HTTP 400 (invalid_grant)"),
        (("401 Unauthorized", {"error": "free text with s3cret"}), "HTTP 401."),
        (("500 Oops", {}), "HTTP 500."),
        (("200 OK", {"expires_in": 60}), "holds no bearer token"),
        (("200 OK", {"access_token": "a b", "expires_in": 60}), "holds no bearer token"),
        (("200 OK", {"access_token": "t", "expires_in": 60, "token_type": "mac"}), "holds no bearer token"),
        (("200 OK", {"access_token": "t", "expires_in": -1}), "how long"),
        (("200 OK", {"access_token": "t", "expires_in": "soon"}), "how long"),
    ],
)
async def test_a_failure_is_a_fault_in_clear_words(world: Make, answer: tuple[str, dict[str, Any]], said: str) -> None:
    """It says what the token service did, repeats nothing free that came or went, and is not tried at every call."""
    w = await world(oauth=True)
    w.service.answer = answer
    for _ in range(3):
        with pytest.raises(UpstreamRefusedUs) as caught:
            await w.ask()
        assert said in caught.value.message
        assert "s3cret" not in caught.value.message
    assert len(w.service.asked) == 1
    assert not w.model.requests
    assert w.upstream.endpoints.all[0].failures == 0, "the endpoint has done nothing"
    w.service.answer = None
    w.clock.advance(REST)
    assert await w.ask() == "Bearer token-2"


async def test_a_service_that_is_not_there_is_told(world: Make) -> None:
    """No connection is a fault of the credential, not of the model's endpoint."""
    w = await world()
    async with RawServer(answers) as gone:
        url = f"{gone.url}/token"
    config = ProviderConfig(
        type="openai-compatible", base_url=w.model.url, auth="service-account",
        google=GoogleConfig(credentials=account(url)),
    )  # fmt: skip
    async with client() as http:
        upstream = build({"up": config}, dialects(), http)["up"]
        with pytest.raises(UpstreamRefusedUs, match="cannot be reached"):
            await upstream.open(REQUEST, TARGET, Timeouts(total=5), traceparent="", headers={})


async def test_a_service_that_hangs_holds_no_call_longer_than_its_own_time(
    world: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call ends at its own time-out, or at that for tokens, whichever is sooner; the endpoint is not blamed."""
    w = await world()
    w.service.gate = asyncio.Event()
    brief = Timeouts(total=0.05)
    with pytest.raises(UpstreamRefusedUs, match="in time"):
        await w.upstream.open(REQUEST, TARGET, brief, traceparent="", headers={})
    monkeypatch.setattr("gateway.providers.signing.oauth.SECONDS", 0.05)
    other = await world()
    other.service.gate = asyncio.Event()
    with pytest.raises(UpstreamRefusedUs, match=r"did not answer within 0\.05 s"):
        await other.ask()
    assert not w.model.requests
    assert w.upstream.endpoints.all[0].failures == w.upstream.endpoints.all[0].in_flight == 0
    w.service.gate.set()
    assert await w.ask() == "Bearer token-1"


async def test_a_revoked_token_is_replaced_once(world: Make) -> None:
    """401 with a token gets one more try with a new one; a second 401 is told."""

    async def first_only(peer: Peer) -> None:
        fresh = peer.headers["authorization"] != "Bearer token-1"
        await peer.send(whole(CHAT) if fresh else whole(b"{}", "401 Unauthorized"))

    async def never(peer: Peer) -> None:
        await peer.send(whole(b"{}", "401 Unauthorized"))

    w = await world(first_only)
    assert await w.ask() == "Bearer token-2"
    assert len(w.model.requests) == 2
    w = await world(never)
    with pytest.raises(UpstreamRefusedUs):
        await w.ask()
    assert len(w.model.requests) == 2


@pytest.mark.parametrize(
    ("fields", "path", "said"),
    [
        ({"auth": "oauth"}, "oauth", "missing"),
        ({"auth": "service-account"}, "google", "missing"),
        ({"auth": "service-account", "google": GoogleConfig(credentials=Secret("{"))}, "google.credentials", "JSON key"),
        (
            {"auth": "service-account", "google": GoogleConfig(credentials=account("https://t", private_key="MIIsecret"))},
            "google.credentials", "cannot be read",
        ),
        (
            {"auth": "service-account", "google": GoogleConfig(credentials=account("https://t", client_email=""))},
            "google.credentials", "client_email is missing",
        ),
        (
            {"auth": "service-account", "google": GoogleConfig(credentials=account("http://token.example/t"))},
            "google.credentials", "https",
        ),
        (
            {"auth": "service-account", "google": GoogleConfig(credentials=account("https://t", project_id=""))},
            "google.project", "missing",
        ),
        (
            {"auth": "service-account", "google": GoogleConfig(credentials=account("https://t"), location="us/../x")},
            "google.location", "no name",
        ),
        (
            {"auth": "oauth", "oauth": OAuthConfig(token_url="http://t.example", client_id="", client_secret=Secret("x"))},
            "oauth.token_url", "https",
        ),
        (
            {"auth": "oauth", "oauth": OAuthConfig(token_url="https://t", client_id="", client_secret=Secret("x"))},
            "oauth.client_id", "empty",
        ),
        ({"base_url": "https://{region}.example/v1"}, "base_url", "{region} in it is not known"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_at_start(fields: dict[str, Any], path: str, said: str, monkeypatch: Any) -> None:
    """Each mistake with its path, and nothing of the key in it."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    config = ProviderConfig(type="openai-compatible", **{"base_url": "https://m.example/v1", **fields})
    found = dict(provider_problems({"p": config}, dialects()))
    assert said in found[f"providers.p.{path}"]
    assert "MIIsecret" not in str(found)
    assert "BEGIN" not in f"{found!r} {config!r}"


def test_a_key_that_is_no_rsa_key_is_told() -> None:
    """Google's keys are RSA; another would be refused only when the first call is made."""
    pem = elliptic(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    google = GoogleConfig(credentials=account("https://t", private_key=pem))
    config = ProviderConfig(type="openai-compatible", base_url="https://m", auth="service-account", google=google)
    assert "no RSA key" in dict(provider_problems({"p": config}, dialects()))["providers.p.google.credentials"]


def test_an_address_is_filled_in_from_the_account() -> None:
    """`{project}` and `{location}` in a base URL are the account's project and the location given."""
    google = GoogleConfig(credentials=account("https://t"), location="europe-west4")
    config = ProviderConfig(
        type="openai-compatible", auth="service-account", google=google,
        base_url="https://{location}-ai.example/projects/{project}",
    )  # fmt: skip
    upstream = build({"p": config}, dialects(), HttpClient())["p"]
    assert upstream.endpoints.all[0].url == "https://europe-west4-ai.example/projects/acme-ai"
