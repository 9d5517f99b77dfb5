"""The ids that clients see of what a provider keeps for us: files, batches, uploads.

All keys of a gateway share one account at the provider, so its ids would open everybody's files to everybody. A client
gets the id sealed instead: enciphered and signed with the gateway's secret, over the provider and the owner as well. So
every replica can open it, nothing has to be kept anywhere, another key's id is as unknown as one that was made up, and the
provider's own id never leaves. It is a deterministic authenticated cipher in the manner of SIV (RFC 5297), from HMAC-SHA-256
and SHAKE-256: the signature is the nonce.

What a provider lists is told apart by a mark that we put into a file's name or a batch's metadata.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Collection, Sequence
from itertools import product
from typing import Literal

from gateway.core.errors import NotFound
from gateway.core.exchange import Principal
from gateway.core.fingerprint import keyed

Owner = Literal["key", "tenant"]
Use = Literal["id", "cursor"]
"""A cursor only says where a list goes on: it may name what is somebody else's, so nothing else can be done with it."""
_SIGNED = 16
_LONGEST = 512
_SEALED = re.compile(r"([a-z]{1,16}[-_])?tg([a-z2-7]{27,1024})")
_PREFIX = re.compile(r"[a-z]{1,16}[-_]")
MARKED = re.compile(r"^tg-[0-9a-f]{24}-")
METADATA = "tidegate_owner"


class Seals:
    """`providers`: every name that may have handed out an id."""

    def __init__(self, secret: bytes, providers: Collection[str], owner: Owner = "key") -> None:
        self._secret = secret
        self._stream = hmac.new(secret, b"relay id stream", hashlib.sha256).digest()
        self._providers = tuple(providers)
        self._owner = owner

    def ours(self, id: str) -> bool:
        """Whether it has the form of an id that was handed out."""
        return _SEALED.fullmatch(id) is not None

    def seal(self, raw: str, provider: str, principal: Principal, use: Use = "id") -> str:
        """Keeps the beginning that says what it is the id of, such as `file-`."""
        found = _PREFIX.match(raw)
        prefix = found[0] if found else ""
        data = raw.encode("utf-8", "surrogateescape")
        sign = self._sign(raw, provider, principal, use)
        text = base64.b32encode(sign + self._mixed(data, sign)).decode().rstrip("=").lower()
        return f"{prefix}tg{text}"

    def open(self, id: str, principal: Principal, uses: Sequence[Use] = ("id",)) -> tuple[str, str]:
        """(provider, its id). Raises `NotFound`, in the same words whatever is wrong."""
        match = _SEALED.fullmatch(id)
        if match is not None and len(id) <= 2 * _LONGEST:
            text = match[2].upper()
            try:
                data = base64.b32decode(text + "=" * (-len(text) % 8))
            except ValueError:
                data = b""
            sign = data[:_SIGNED]
            raw = self._mixed(data[_SIGNED:], sign).decode("utf-8", "surrogateescape")
            for provider, use in product(self._providers, uses):
                if raw and hmac.compare_digest(sign, self._sign(raw, provider, principal, use)):
                    return provider, raw
        raise NotFound(f"There is nothing with the id {id[:80]!r}, or it belongs to another key.")

    def mark(self, principal: Principal) -> str:
        """24 hex digits that say whose something is, to nobody but us."""
        return keyed(self._secret, ["relay owner", *self._of(principal)])[:24]

    def _of(self, principal: Principal) -> list[str]:
        return ["tenant", principal.tenant] if self._owner == "tenant" else ["key", principal.key_id]

    def _sign(self, raw: str, provider: str, principal: Principal, use: Use) -> bytes:
        data = raw.encode("utf-8", "surrogateescape").hex()
        return bytes.fromhex(keyed(self._secret, ["relay", use, provider, *self._of(principal), data]))[:_SIGNED]

    def _mixed(self, data: bytes, sign: bytes) -> bytes:
        stream = hashlib.shake_256(self._stream + sign).digest(len(data))
        return bytes(one ^ other for one, other in zip(data, stream, strict=True))
