"""Token services of OAuth 2.0: one form posted, one token back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlencode

import msgspec

from gateway.core.clock import Clock
from gateway.core.errors import Unavailable, UpstreamRefusedUs
from gateway.core.secret import Secret
from gateway.providers.http_request import wrong_url
from gateway.providers.post import Poster
from gateway.providers.signing.config import OAuthConfig
from gateway.providers.signing.renewed import Lasting
from gateway.providers.signing.signer import Given, Kind, Signer
from gateway.providers.signing.tokens import Bearer

SECONDS = 10.0
LARGEST = 64 * 1024
_LONGEST_TOKEN = 16 * 1024
_SHORT = 300.0
"""Seconds that a token is trusted when its service does not say: RFC 6749 leaves it open."""
_FORM = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
_CODES = frozenset(
    {
        "invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type",
        "invalid_scope",
    }
)  # fmt: skip
"""RFC 6749, 5.2. Only these words of an error are repeated: anything else could hold what nobody should see."""
_FAILED = "The gateway could not get a credential for the provider of this model: "


async def ask(post: Poster, url: str, form: Mapping[str, str]) -> Lasting[Secret]:
    """A token. Raises UpstreamRefusedUs; its message holds nothing that was sent and nothing free that came."""
    return token_of(await told_by(post, "token service", "POST", url, _FORM, urlencode(form).encode()))


async def told_by(
    post: Poster, who: str, method: str, url: str, headers: Mapping[str, str], body: bytes = b""
) -> dict[str, Any]:
    """The JSON object that a service of credentials answers with. Raises UpstreamRefusedUs, as `ask` does."""
    try:
        status, answer = await post(url, headers, body, seconds=SECONDS, most=LARGEST, method=method)
    except TimeoutError:
        raise UpstreamRefusedUs(f"{_FAILED}the {who} did not answer within {SECONDS:g} s.") from None
    except Unavailable:
        raise UpstreamRefusedUs(f"{_FAILED}the {who} cannot be reached.") from None
    try:
        told: Any = msgspec.json.decode(answer)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        told = None
    fields: dict[str, Any] = told if type(told) is dict else {}
    if status != 200:
        code = fields.get("error")
        why = f" ({code})" if type(code) is str and code in _CODES else ""
        raise UpstreamRefusedUs(f"{_FAILED}the {who} answered with HTTP {status}{why}.")
    return fields


def unusable(who: str, what: str) -> UpstreamRefusedUs:
    """What a service gave is no credential."""
    return UpstreamRefusedUs(f"{_FAILED}the {who}'s answer {what}.")


def token_of(told: dict[str, Any]) -> Lasting[Secret]:
    token, seconds, kind = told.get("access_token"), told.get("expires_in", _SHORT), told.get("token_type", "Bearer")
    if type(token) is not str or not _plain(token) or str(kind).lower() != "bearer":
        raise unusable("token service", "holds no bearer token")
    if type(seconds) is str and seconds.isdigit():  # Entra's first version says it so
        seconds = int(seconds[:9])
    if type(seconds) not in (int, float) or not 0 < seconds < 1e9:
        raise unusable("token service", "does not say how long its token is good for")
    return Lasting(Secret(token), float(seconds))


def _plain(token: str) -> bool:
    return 0 < len(token) <= _LONGEST_TOKEN and token.isascii() and token.isprintable() and " " not in token


def _problems(given: Given) -> Iterable[tuple[str, str]]:
    config = given.oauth
    if config is None:
        yield "oauth", "missing; this kind of auth needs token_url, client_id and client_secret"
        return
    wrong = wrong_token_url(config.token_url)
    if wrong:
        yield "oauth.token_url", wrong
    for name in ("client_id", "client_secret"):
        if not getattr(config, name):
            yield f"oauth.{name}", "is empty"


def wrong_token_url(url: str) -> str | None:
    """What is wrong with a token service's address; None when nothing is. Credentials travel to it, so it is https."""
    wrong = wrong_url(url)
    if wrong:
        return wrong
    host = url.partition("://")[2].partition("/")[0].rpartition(":")[0] or url.partition("://")[2].partition("/")[0]
    if not url.startswith("https://") and host not in ("127.0.0.1", "localhost", "[::1]"):
        return "must be https: the credential travels to it"
    return None


def _make(given: Given, post: Poster, clock: Clock) -> Signer:
    config = given.oauth
    assert config is not None, "checked before"

    async def fetch(config: OAuthConfig = config) -> Lasting[Secret]:
        form = {
            "grant_type": "client_credentials",
            "client_id": config.client_id,
            "client_secret": config.client_secret.reveal(),
        }
        return await ask(post, config.token_url, form | ({"scope": config.scope} if config.scope else {}))

    return Bearer(fetch, clock)


KIND = Kind(_problems, _make)
