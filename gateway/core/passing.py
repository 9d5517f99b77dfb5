"""A request whose body is passed on and not understood: files, sound, pictures. It may be larger than memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Protocol

import msgspec


class Sending(msgspec.Struct, frozen=True):
    """A body on its way out. `pieces` can be gone through once."""

    pieces: AsyncIterator[bytes]
    length: int | None
    """Bytes in all, where that is known."""


class Upload(Protocol):
    """A client's body as far as it is read, with the rest still to come."""

    @property
    def repeatable(self) -> bool:
        """All of it is held, so it can be sent to a second target."""
        ...

    def sending(self, model: str) -> Sending:
        """The body for one call, with the target's name for the model where the client's stood."""
        ...


class Passing(msgspec.Struct, frozen=True, kw_only=True):
    """What is passed on beside the body that `Request` holds."""

    method: str
    path: str
    """Below the provider's base URL, with the query."""
    headers: dict[str, str]
    """Those of the client's that describe the body or what is wanted of it."""
    upload: Upload | None = None
    """None: the body is the request's own JSON, or there is none."""
    answers: bool = False
    """The reply is a JSON object of the provider's bookkeeping, with ids in it that are told under other names."""
    pages: Callable[[bytes], str | None] | None = None
    """Of a list: called with each whole page, it gives the path of the next that must be asked for; None: no more."""
    words: tuple[tuple[str, str], ...] = ()
    """The provider's ids in this request, and what the client calls them: for errors that quote one."""
    provider: str = ""
    """Where it must go, when an id in it says so."""
