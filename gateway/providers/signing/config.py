"""The sections of a provider that hold more than one key: `aws:`, `google:`, `oauth:`."""

from __future__ import annotations

import msgspec

from gateway.core.secret import Secret


class AwsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is not given is taken from the environment when the gateway starts: AWS_REGION (or AWS_DEFAULT_REGION),
    AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN. The key's three parts come from one place: all from here
    or all from there."""

    region: str | None = None
    access_key_id: str | None = None
    secret_access_key: Secret | None = None
    session_token: Secret | None = None
    """Of temporary credentials. They expire, and the gateway does not renew them."""
    service: str = "bedrock"
    """What the signature is for."""


class GoogleConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A service account's key, exchanged for tokens that are renewed before they expire."""

    credentials: Secret
    """The key file's JSON text, such as "${file:vertex.json}"."""
    project: str | None = None
    """Absent: the service account's own."""
    location: str = "us-central1"
    scope: str = "https://www.googleapis.com/auth/cloud-platform"


class OAuthConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """OAuth 2.0 client credentials (RFC 6749, 4.4): Microsoft Entra ID and others. Tokens are renewed before they expire."""

    token_url: str
    client_id: str
    client_secret: Secret
    scope: str = ""
