"""Calls signed for AWS, with a clock that is set right when AWS says that it is wrong."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from email.utils import parsedate_to_datetime

from gateway.core.clock import Clock
from gateway.providers.http_request import where_of
from gateway.providers.post import Poster
from gateway.providers.signing.aws_keys import container_url, fixed_key, service
from gateway.providers.signing.config import AwsConfig
from gateway.providers.signing.renewed import Renewed
from gateway.providers.signing.signer import Given, Kind, Signer
from gateway.providers.signing.sigv4 import AwsKey, Scope, signed

SKEW = 60
"""Seconds between AWS's clock and ours that are worth another try. AWS itself allows 300."""
_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d{1,2}")
_SIGNED = ("content-type",)
"""Beside `host` and what is added: what changes the meaning of the body. Others may be changed by a proxy on the way."""


def region_of(config: AwsConfig | None, environment: Mapping[str, str] = os.environ) -> str:
    given = config.region if config is not None else None
    return given or environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or ""


class AwsSigner:
    """A `Signer`. `key` stays, or is renewed."""

    reads_body = True

    def __init__(self, key: AwsKey | Renewed[AwsKey], scope: Scope, clock: Clock) -> None:
        self._key = key
        self._scope = scope
        self._clock = clock
        self._ahead = 0
        """Seconds that AWS's clock is ahead of ours."""

    async def headers(
        self, method: str, url: str, headers: Sequence[tuple[str, str]], body: bytes
    ) -> Mapping[str, str]:
        key = await self._key.get() if isinstance(self._key, Renewed) else self._key
        where = where_of(url)
        path, _, query = where.target.partition("?")
        named = {name: value for name, value in headers if name in _SIGNED}
        return signed(method, where.host, path, query, named, body, key, self._scope, self._now())

    def refused(self, status: int, reply: Mapping[str, str], sent: Mapping[str, str]) -> bool:
        """A signature made at the wrong time is refused; AWS's own time is in every reply."""
        try:
            theirs = int(parsedate_to_datetime(reply.get("date", "")).timestamp())
        except (ValueError, TypeError, OverflowError):
            return False
        off = theirs - self._now()
        if abs(off) < SKEW:
            return False
        self._ahead += off
        return True

    def _now(self) -> int:
        return self._clock.wall() // 1_000_000_000 + self._ahead


def _problems(given: Given) -> Iterable[tuple[str, str]]:
    region, key = region_of(given.aws), fixed_key(given.aws)
    if not _REGION.fullmatch(region):
        yield "aws.region", f"{region!r} is no region" if region else "missing; give it here or in AWS_REGION"
    if key is None:
        yield from _no_key()
        return
    for name, text in (("access_key_id", key.id), ("secret_access_key", key.secret.reveal())):
        if not text:
            yield f"aws.{name}", f"missing; give it here or in AWS_{name.upper()}"
        elif not _plain(text):
            yield f"aws.{name}", "holds a space, a line break or a character that is not ASCII"
    if key.session_token is not None and not _plain(key.session_token.reveal()):
        yield "aws.session_token", "holds a space, a line break or a character that is not ASCII"


def _no_key() -> Iterable[tuple[str, str]]:
    environment = os.environ
    if environment.get("AWS_WEB_IDENTITY_TOKEN_FILE") and environment.get("AWS_ROLE_ARN"):
        return
    try:
        if container_url():
            return
    except ValueError as error:
        yield "aws", str(error)
        return
    yield "aws.access_key_id", "missing; give a key here or in AWS_ACCESS_KEY_ID, or run where AWS gives one (see docs)"


def _plain(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text


def _make(given: Given, post: Poster, clock: Clock) -> Signer:
    config = given.aws or AwsConfig()
    scope = Scope(region_of(config), config.service)
    key = fixed_key(config)
    if key is not None:
        return AwsSigner(key, scope, clock)
    fetch = service(scope.region, post, clock)
    assert fetch is not None, "checked before"
    return AwsSigner(Renewed(fetch, clock), scope, clock)


KIND = Kind(_problems, _make)
