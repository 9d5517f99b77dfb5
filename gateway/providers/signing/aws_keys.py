"""Where AWS keys come from: the configuration, the environment, or a service that gives keys which expire.

Sources: AWS SDKs and Tools reference guide, "Container credential provider" and "Assume role with web identity".
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from gateway.core.clock import Clock
from gateway.core.errors import UpstreamRefusedUs
from gateway.core.secret import Secret
from gateway.providers.post import Poster
from gateway.providers.signing.config import AwsConfig
from gateway.providers.signing.oauth import told_by, unusable
from gateway.providers.signing.renewed import Lasting
from gateway.providers.signing.sigv4 import AwsKey

_CONTAINER_HOSTS = frozenset({"127.0.0.1", "localhost", "::1", "169.254.170.2", "169.254.170.23", "fd00:ec2::23"})
"""Where a container's credentials may be asked for without TLS, as AWS's own SDKs have it."""
_RELATIVE = "http://169.254.170.2"
_SESSION = "tidegate"
_LONGEST = 64 * 1024

Environment = Mapping[str, str]
Fetch = Callable[[], Awaitable[Lasting[AwsKey]]]


def fixed_key(config: AwsConfig | None, environment: Environment = os.environ) -> AwsKey | None:
    """The key that is written somewhere. Empty parts where only some are; None where none is."""
    if config is not None and (config.access_key_id or config.secret_access_key):
        return AwsKey(config.access_key_id or "", config.secret_access_key or Secret(""), config.session_token)
    if not environment.get("AWS_ACCESS_KEY_ID") and not environment.get("AWS_SECRET_ACCESS_KEY"):
        return None
    token = environment.get("AWS_SESSION_TOKEN")
    return AwsKey(
        environment.get("AWS_ACCESS_KEY_ID", ""),
        Secret(environment.get("AWS_SECRET_ACCESS_KEY", "")),
        Secret(token) if token else None,
    )


def container_url(environment: Environment = os.environ) -> str:
    """Where a container's credentials are; empty when it has none. Raises ValueError for where they must not be asked."""
    full = environment.get("AWS_CONTAINER_CREDENTIALS_FULL_URI", "")
    relative = environment.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "")
    if relative:
        return _RELATIVE + relative
    if full and urlsplit(full).scheme != "https" and urlsplit(full).hostname not in _CONTAINER_HOSTS:
        raise ValueError("AWS_CONTAINER_CREDENTIALS_FULL_URI must be https, or an address of the container's own")
    return full


def service(region: str, post: Poster, clock: Clock, environment: Environment = os.environ) -> Fetch | None:
    """What gets keys from the service that the environment names; None when it names none. Raises ValueError."""
    file, role = environment.get("AWS_WEB_IDENTITY_TOKEN_FILE"), environment.get("AWS_ROLE_ARN")
    if file and role:
        url = environment.get("AWS_ENDPOINT_URL_STS") or f"https://sts.{region}.amazonaws.com"
        name = environment.get("AWS_ROLE_SESSION_NAME", _SESSION)
        return lambda: _assumed(post, clock, url, Path(file), role, name)
    where = container_url(environment)
    if not where:
        return None
    token, token_file = (environment.get(f"AWS_CONTAINER_AUTHORIZATION_TOKEN{end}", "") for end in ("", "_FILE"))
    return lambda: _container(post, clock, where, token, token_file)


async def _assumed(post: Poster, clock: Clock, url: str, file: Path, role: str, name: str) -> Lasting[AwsKey]:
    """STS AssumeRoleWithWebIdentity: EKS's IAM roles for service accounts. The file is read anew: it is rotated."""
    form = {
        "Action": "AssumeRoleWithWebIdentity",
        "Version": "2011-06-15",
        "RoleArn": role,
        "RoleSessionName": name,
        "WebIdentityToken": _read(file),
    }
    headers = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
    told = await told_by(post, "AWS token service", "POST", url, headers, urlencode(form).encode())
    try:
        given = told["AssumeRoleWithWebIdentityResponse"]["AssumeRoleWithWebIdentityResult"]["Credentials"]
    except (KeyError, TypeError):
        given = None
    return _key_of(given, "SessionToken", "AWS token service", clock)


async def _container(post: Poster, clock: Clock, url: str, token: str, token_file: str) -> Lasting[AwsKey]:
    """ECS and EKS Pod Identity."""
    if token_file:
        token = _read(Path(token_file))
    headers = {"accept": "application/json", **({"authorization": token} if token else {})}
    told = await told_by(post, "container's credential service", "GET", url, headers)
    return _key_of(told, "Token", "container's credential service", clock)


def _read(file: Path) -> str:
    """Small, and on the machine: read in place."""
    try:
        with file.open("rb") as opened:
            return opened.read(_LONGEST).decode().strip()
    except (OSError, UnicodeDecodeError):
        raise UpstreamRefusedUs("The gateway cannot read the identity that its provider's credentials need.") from None


def _key_of(given: Any, token: str, who: str, clock: Clock) -> Lasting[AwsKey]:
    words = ("AccessKeyId", "SecretAccessKey", token)
    if type(given) is not dict or not all(_plain(given.get(word)) for word in words):
        raise unusable(who, "holds no key")
    ends: Any = given.get("Expiration")
    try:
        until = datetime.fromisoformat(ends).astimezone(UTC).timestamp() if type(ends) is str else float(ends)
    except (TypeError, ValueError, OverflowError):
        raise unusable(who, "does not say how long its key is good for") from None
    seconds = until - clock.wall() / 1e9
    if not 0 < seconds < 1e6:
        raise unusable(who, "holds a key that has expired, or the gateway's clock is wrong")
    key, secret, session = (given[word] for word in words)
    return Lasting(AwsKey(key, Secret(secret), Secret(session)), seconds)


def _plain(text: Any) -> bool:
    return type(text) is str and 0 < len(text) <= _LONGEST and text.isascii() and text.isprintable() and " " not in text
