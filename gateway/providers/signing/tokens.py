"""A bearer token that expires, as a signer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from gateway.core.clock import Clock
from gateway.core.secret import Secret
from gateway.providers.signing.renewed import Lasting, Renewed


class Bearer:
    """A `Signer`. `fetch` gets a new token; it raises UpstreamRefusedUs with words that are safe to show."""

    reads_body = False

    def __init__(self, fetch: Callable[[], Awaitable[Lasting[Secret]]], clock: Clock) -> None:
        async def header() -> Lasting[dict[str, str]]:
            token, seconds = await fetch()
            return Lasting({"authorization": f"Bearer {token.reveal()}"}, seconds)

        self._header = Renewed(header, clock)

    async def headers(
        self, method: str, url: str, headers: Sequence[tuple[str, str]], body: bytes
    ) -> Mapping[str, str]:
        return await self._header.get()

    def refused(self, status: int, reply: Mapping[str, str], sent: Mapping[str, str]) -> bool:
        """401: the token was revoked, or its service's clock is not ours."""
        if status == 401:
            self._header.forget(sent)
        return status == 401
