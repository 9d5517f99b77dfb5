"""The addresses behind a name, by DNS, without blocking the event loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from gateway.providers.watch_config import DiscoverConfig, address_of

if TYPE_CHECKING:
    from dns.asyncresolver import Resolver

MOST_ENDPOINTS = 256
"""Of one pool; what a name server says beyond that is left out, and told."""
LOOKUP_SECONDS = 5.0


class Found(NamedTuple):
    """Base URLs, sorted. `whole`: nothing is missing that a name server failed to say, so what is not there is gone."""

    urls: tuple[str, ...]
    whole: bool
    left_out: int = 0


class LookupFailed(Exception):
    """No name server gave an answer. Its message is for an operator and holds the name's own words at most."""


class Discovery:
    """A and AAAA records of a name, or its SRV records. Each look-up asks the name server: no cache of our own."""

    def __init__(self, said: DiscoverConfig) -> None:
        self.said = said
        self._resolver: Resolver | None = None

    async def find(self) -> Found:
        """Raises LookupFailed within `LOOKUP_SECONDS`. A name that does not exist has no endpoints: that is an answer."""
        said = self.said
        try:
            if said.dns.startswith("_"):
                urls, whole = await self._services(), True
            else:
                urls, whole = await self._addresses()
        except OSError as error:
            raise LookupFailed(f"the name server cannot be asked: {error.strerror or type(error).__name__}") from None
        except LookupFailed:
            self._resolver = None  # the machine's settings may have changed
            raise
        ordered = sorted(set(urls))
        return Found(tuple(ordered[:MOST_ENDPOINTS]), whole, max(0, len(ordered) - MOST_ENDPOINTS))

    async def _addresses(self) -> tuple[list[str], bool]:
        answers = await asyncio.gather(self._ask("A"), self._ask("AAAA"), return_exceptions=True)
        failed = [answer for answer in answers if isinstance(answer, BaseException)]
        for answer in failed:
            if not isinstance(answer, LookupFailed):
                raise answer
        told = [record for answer in answers if not isinstance(answer, BaseException) for record in answer]
        if failed and not told:
            raise failed[0]
        return [self._url(address, self.said.port) for address in told], not failed

    async def _services(self) -> list[str]:
        """Priorities and weights are not used: the endpoints of a pool are equal, and the balance is ours."""
        urls = []
        for record in await self._ask("SRV"):
            _priority, _weight, port, target = record.split()
            if target != ".":  # says that there is no such service
                urls.append(self._url(target.rstrip("."), int(port)))
        return urls

    def _url(self, host: str, port: int | None) -> str:
        held = f"[{host}]" if ":" in host else host
        return f"{self.said.scheme}://{held}:{port}{self.said.path}".rstrip("/")

    async def _ask(self, kind: str) -> list[str]:
        """The records' texts; none when the name has none of this kind, or does not exist."""
        import dns.exception
        import dns.resolver

        try:
            answer = await self._made().resolve(
                self.said.dns,
                kind,
                raise_on_no_answer=False,
                search=self.said.resolver is None,
                lifetime=LOOKUP_SECONDS,
            )
        except dns.resolver.NXDOMAIN:
            return []
        except dns.resolver.NoNameservers:
            raise LookupFailed("every name server refused or failed") from None
        except dns.exception.DNSException as error:
            raise LookupFailed(f"the look-up failed: {type(error).__name__}") from None
        return [record.to_text() for record in answer.rrset or ()]

    def _made(self) -> Resolver:
        if self._resolver is None:
            import dns.asyncresolver

            given = address_of(self.said.resolver) if self.said.resolver else None
            resolver = dns.asyncresolver.Resolver(configure=given is None)
            if given is not None:
                resolver.nameservers, resolver.port = [given[0]], given[1]
            resolver.cache = None
            self._resolver = resolver
        return self._resolver
