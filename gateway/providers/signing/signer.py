"""What signs calls one at a time. Kinds of auth that are one fixed header have none of this on their way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from gateway.core.clock import Clock
from gateway.providers.post import Poster
from gateway.providers.signing.config import AwsConfig, GoogleConfig, OAuthConfig


class Signer(Protocol):
    """One provider's. Made at start, asked for every call."""

    reads_body: bool
    """What it adds depends on the body, so that a body which is passed on as it comes cannot be signed."""

    async def headers(
        self, method: str, url: str, headers: Sequence[tuple[str, str]], body: bytes
    ) -> Mapping[str, str]:
        """What to add to this call. `url` whole, with its query. Raises UpstreamRefusedUs when there is no credential."""
        ...

    def refused(self, status: int, reply: Mapping[str, str], sent: Mapping[str, str]) -> bool:
        """The upstream answered 401 or 403 to a call that went out with `sent`. True when signing it again gives
        something else (another clock, a new token), so that one more try makes sense. `reply`: its headers."""
        ...


class Given(Protocol):
    """The sections of a provider's configuration that credentials come from."""

    @property
    def aws(self) -> AwsConfig | None: ...

    @property
    def google(self) -> GoogleConfig | None: ...

    @property
    def oauth(self) -> OAuthConfig | None: ...


class Kind(NamedTuple):
    """One kind of auth that signs."""

    problems: Callable[[Given], Iterable[tuple[str, str]]]
    """What is wrong with what was given, as (path below the provider, message)."""
    make: Callable[[Given, Poster, Clock], Signer]
    """Only for what has no problems."""
