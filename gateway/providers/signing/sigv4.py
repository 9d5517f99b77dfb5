"""AWS Signature Version 4, for one request with a body: pure, no clock and no environment.

Our own, rather than botocore's signer: that comes with 30 MB of service descriptions and a request class of its own, and
this is one page of hashing. Held to AWS's published examples by tests.
Source: AWS IAM user guide, "Create a signed AWS API request".
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import parse_qsl, quote

from gateway.core.secret import Secret

ALGORITHM = "AWS4-HMAC-SHA256"
_SAFE = "-_.~"


class AwsKey(NamedTuple):
    """`session_token` only for temporary credentials."""

    id: str
    secret: Secret
    session_token: Secret | None = None


class Scope(NamedTuple):
    """What a signature is good for."""

    region: str
    service: str


def signed(
    method: str,
    host: str,
    path: str,
    query: str,
    headers: Mapping[str, str],
    body: bytes,
    key: AwsKey,
    scope: Scope,
    when: int,
) -> dict[str, str]:
    """The headers to add. `path` as it stands on the request line, `query` without its question mark; `headers` are those
    that are signed beside `host`; `when` in Unix seconds."""
    stamp = datetime.fromtimestamp(when, UTC).strftime("%Y%m%dT%H%M%SZ")
    added = {"x-amz-date": stamp}
    if key.session_token:
        added["x-amz-security-token"] = key.session_token.reveal()
    signing = {name.lower(): " ".join(value.split()) for name, value in headers.items()} | {"host": host} | added
    names = ";".join(sorted(signing))
    canonical = "\n".join(
        [
            method,
            _path(path),
            _query(query),
            "".join(f"{name}:{signing[name]}\n" for name in sorted(signing)),
            names,
            hashlib.sha256(body).hexdigest(),
        ]
    )
    day = stamp[:8]
    within = f"{day}/{scope.region}/{scope.service}/aws4_request"
    text = f"{ALGORITHM}\n{stamp}\n{within}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    signature = hmac.new(_key(key.secret.reveal(), day, scope), text.encode(), hashlib.sha256).hexdigest()
    added["authorization"] = f"{ALGORITHM} Credential={key.id}/{within}, SignedHeaders={names}, Signature={signature}"
    return added


def _key(secret: str, day: str, scope: Scope) -> bytes:
    made = f"AWS4{secret}".encode()
    for word in (day, scope.region, scope.service, "aws4_request"):
        made = hmac.new(made, word.encode(), hashlib.sha256).digest()
    return made


def _path(path: str) -> str:
    """Encoded once more, as every service but S3 wants it: what is `%3A` on the wire is `%253A` in what is signed."""
    return quote(path or "/", safe=f"/{_SAFE}")


def _query(query: str) -> str:
    pairs = parse_qsl(query, keep_blank_values=True)
    said = sorted((quote(name, safe=_SAFE), quote(value, safe=_SAFE)) for name, value in pairs)
    return "&".join(f"{name}={value}" for name, value in said)
