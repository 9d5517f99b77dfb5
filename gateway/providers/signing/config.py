"""The sections of a provider that hold more than one key: `aws:`, `google:`, `oauth:`."""

from __future__ import annotations

import msgspec

from gateway.core.secret import Secret


class AwsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where nothing is given, the environment at the start says it, as AWS's own tools read it: AWS_REGION (or
    AWS_DEFAULT_REGION) and, in this order, AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN;
    AWS_WEB_IDENTITY_TOKEN_FILE with AWS_ROLE_ARN; AWS_CONTAINER_CREDENTIALS_FULL_URI or _RELATIVE_URI. The last two give
    keys that expire and are renewed before that."""

    region: str | None = None
    access_key_id: str | None = None
    secret_access_key: Secret | None = None
    session_token: Secret | None = None
    """Of temporary credentials. Those given here are not renewed when they expire."""
    service: str = "bedrock"
    """What the signature is for."""


class GoogleConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A service account's tokens, renewed before they expire."""

    credentials: Secret
    """The key file's JSON text, such as "${file:vertex.json}"; or `metadata`: the machine's own account, from Google
    Cloud's metadata server (Compute Engine, Cloud Run, GKE with workload identity)."""
    project: str | None = None
    """Absent: that of the key file."""
    location: str = "us-central1"
    scope: str = "https://www.googleapis.com/auth/cloud-platform"


class OAuthConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """OAuth 2.0 client credentials (RFC 6749, 4.4): Microsoft Entra ID and others. Tokens are renewed before they expire."""

    token_url: str
    client_id: str
    client_secret: Secret
    scope: str = ""
