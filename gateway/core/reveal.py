"""The originals of a masked request, for calls of targets inside the house only.

Everything works on the masked request: the router, the caches, whatever records. Where a route says so, one call of a
trusted target gets a copy with originals in it; the next call, if it goes elsewhere, gets the masked request again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from gateway.core.facts import Key
from gateway.core.request import Request


class Reveal(Protocol):
    """What was masked in one exchange and may be shown to trusted targets. Its repr must not say it."""

    def request(self, masked: Request) -> Request:
        """A copy with originals, for one call; `masked` stays as it is. The same object when there is nothing to show."""
        ...

    def originals(self) -> Mapping[str, str]:
        """Placeholder -> original. For keyed digests only: an answer made from originals is an answer for them alone."""
        ...


REVEAL: Key[Reveal] = Key("reveal")
"""Put by the screen when a check has masked something that trusted targets may see."""
