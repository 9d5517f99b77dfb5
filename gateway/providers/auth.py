"""How a provider wants to be told who calls. One fixed header is made once, at start; what signs is in `signing`."""

from __future__ import annotations

from typing import Literal

from gateway.core.secret import Secret

AuthKind = Literal[
    "bearer", "x-api-key", "api-key", "x-goog-api-key", "none", "sigv4", "service-account", "oauth"
]  # fmt: skip
"""`bearer` is `Authorization: Bearer KEY`, `none` nothing; those ending in `-key` name the header that holds the key
alone. The last three have no fixed header: see `signing.kinds`."""


def auth_headers(kind: AuthKind, key: Secret | None) -> tuple[tuple[str, str], ...]:
    """The credential's headers; none without a key. Raises ValueError for a key that no header can hold."""
    if kind == "none" or not key:
        return ()
    text = key.reveal()
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError(
            "the key holds a space, a line break or a character that is not ASCII; was it read from a file?"
        )
    if kind == "bearer":
        return (("authorization", f"Bearer {text}"),)
    return ((kind, text),)
