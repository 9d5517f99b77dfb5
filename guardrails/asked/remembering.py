"""What a check found in a text, for as long as the process remembers it: the tool results of an agent's loop and a long
history are sent again with every turn, and what was let through once is not to be stopped three turns later.

Texts are not kept, only digests of them under a key that no other process has; a finding is places, a score and a rule's
name."""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Sequence

from guardrails.asked.screen import Finding

MOST = 8192
"""Texts of one check. An entry takes about 300 bytes."""

_KEY = secrets.token_bytes(32)


class Memory:
    """The findings of one check, the latest `most`. Holds only what was really found: never a failure."""

    __slots__ = ("_found", "_most", "hits")

    def __init__(self, most: int = MOST) -> None:
        self._found: OrderedDict[bytes, Finding] = OrderedDict()
        self._most = most
        self.hits = 0

    def __len__(self) -> int:
        return len(self._found)

    def recall(self, owner: str, texts: Sequence[str]) -> tuple[list[bytes], list[Finding | None]]:
        """The digest and, where it is known, the finding of each text. Each owner has its own: how quickly an answer comes
        must not tell one user what another has said."""
        keys = [digest(owner, text) for text in texts]
        found: list[Finding | None] = []
        for key in keys:
            finding = self._found.get(key)
            if finding is not None:
                self._found.move_to_end(key)
                self.hits += 1
            found.append(finding)
        return keys, found

    def keep(self, keys: Sequence[bytes], findings: Sequence[Finding]) -> None:
        """The first that was said of a text stands: a judge asked twice at once may say two things."""
        for key, finding in zip(keys, findings, strict=True):
            if not finding.unfinished:
                self._found.setdefault(key, finding)
        while len(self._found) > self._most:
            self._found.popitem(last=False)


def digest(owner: str, text: str) -> bytes:
    whole = hashlib.blake2b(owner.encode("utf-8", "surrogatepass") + b"\n", digest_size=16, key=_KEY)
    whole.update(text.encode("utf-8", "surrogatepass"))
    return whole.digest()
