"""Google's service accounts: a signed claim (RFC 7523) exchanged for a token, or the machine's own account."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterable
from typing import Any

import msgspec

from gateway.core.clock import Clock
from gateway.core.secret import Secret
from gateway.providers.post import Poster
from gateway.providers.signing.config import GoogleConfig
from gateway.providers.signing.oauth import ask, token_of, told_by, wrong_token_url
from gateway.providers.signing.renewed import Lasting
from gateway.providers.signing.signer import Given, Kind, Signer
from gateway.providers.signing.tokens import Bearer

LIFE = 3600
"""Seconds that a claim asks for: the most there is."""
TOKEN_URL = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
METADATA = "metadata"
"""Instead of a key: whoever the machine is."""
_OWN = "/computeMetadata/v1/instance/service-accounts/default/token"
_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_PLACE = re.compile(r"[a-z0-9][a-z0-9:.-]{0,99}")
_NOT_A_KEY = 'is no service account\'s key; give the JSON key file, such as "${file:vertex.json}"'


class Account:
    """A service account whose key was read. Raises ValueError, in words that hold nothing of the key."""

    def __init__(self, text: Secret) -> None:
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        try:
            told: Any = msgspec.json.decode(text.reveal())
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise ValueError(_NOT_A_KEY) from None
        if type(told) is not dict or told.get("type") != "service_account":
            raise ValueError(_NOT_A_KEY)
        self.email = _text(told, "client_email")
        self.project = str(told.get("project_id") or "")
        self.token_url = str(told.get("token_uri") or TOKEN_URL)
        self._key_id = str(told.get("private_key_id") or "")
        try:
            key = load_pem_private_key(_text(told, "private_key").encode(), password=None)
        except (ValueError, TypeError):
            raise ValueError("its private_key cannot be read; download the key file again") from None
        if not isinstance(key, RSAPrivateKey):
            raise ValueError("its private_key is no RSA key")  # noqa: TRY004 - what the file says, not what we passed
        self._key = key

    def claim(self, scope: str, when: int) -> str:
        """A JSON Web Token signed with RS256, for the token service. `when` in Unix seconds."""
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
        from cryptography.hazmat.primitives.hashes import SHA256

        head = {"alg": "RS256", "typ": "JWT", **({"kid": self._key_id} if self._key_id else {})}
        said = {"iss": self.email, "scope": scope, "aud": self.token_url, "iat": when, "exp": when + LIFE}
        text = b".".join(_packed(msgspec.json.encode(part)) for part in (head, said))
        return b".".join((text, _packed(self._key.sign(text, PKCS1v15(), SHA256())))).decode()


def _text(told: dict[str, Any], name: str) -> str:
    value = told.get(name)
    if type(value) is not str or not value:
        raise ValueError(f"its {name} is missing; download the key file again")
    return value


def _packed(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def places(config: GoogleConfig) -> dict[str, str]:
    """What an address may name: `{project}` and `{location}`. Nothing for a key that cannot be read."""
    found = {"location": config.location}
    project = config.project
    if not project and config.credentials.reveal() != METADATA:
        try:
            project = Account(config.credentials).project
        except ValueError:
            return found
    return found | ({"project": project} if project else {})


def _problems(given: Given) -> Iterable[tuple[str, str]]:
    config = given.google
    if config is None:
        yield "google", 'missing; give {credentials: "${file:vertex.json}", location: us-central1}'
        return
    project = config.project or ""
    if config.credentials.reveal() != METADATA:
        try:
            account = Account(config.credentials)
        except ValueError as error:
            yield "google.credentials", str(error)
            return
        wrong = wrong_token_url(account.token_url)
        if wrong:
            yield "google.credentials", f"its token_uri cannot be used: {wrong}"
        project = project or account.project
    for name, value in (("project", project), ("location", config.location)):
        if not _PLACE.fullmatch(value):
            yield f"google.{name}", "missing" if not value else f"is no name of a {name}"


def _make(given: Given, post: Poster, clock: Clock) -> Signer:
    config = given.google
    assert config is not None, "checked before"
    if config.credentials.reveal() == METADATA:
        host = os.environ.get("GCE_METADATA_HOST", "metadata.google.internal")

        async def own() -> Lasting[Secret]:
            told = await told_by(post, "metadata server", "GET", f"http://{host}{_OWN}", {"metadata-flavor": "Google"})
            return token_of(told)

        return Bearer(own, clock)
    account = Account(config.credentials)

    async def fetch(scope: str = config.scope) -> Lasting[Secret]:
        claim = account.claim(scope, clock.wall() // 1_000_000_000)
        return await ask(post, account.token_url, {"grant_type": _GRANT, "assertion": claim})

    return Bearer(fetch, clock)


KIND = Kind(_problems, _make)
