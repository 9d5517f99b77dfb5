"""How a provider wants to be told who calls. Headers are made once, at start."""

from __future__ import annotations

from typing import Literal

from gateway.core.secret import Secret

AuthKind = Literal["bearer", "x-api-key", "api-key", "x-goog-api-key", "none"]
"""`bearer` is `Authorization: Bearer KEY`, `none` nothing; the others name the header that holds the key alone."""


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
