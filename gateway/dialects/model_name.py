"""Putting the alias the client asked for where the upstream wrote its own model name, without decoding the rest."""

from __future__ import annotations

from gateway.dialects.json_codec import decode, encode


class ModelName:
    """Rewrites the top-level `model` (or another `field`) of JSON objects of one answer.

    The cheap way is taken only when it is certain: the key is spelled exactly once in the whole object, and it is
    followed by the upstream's name. Inside a JSON string a quote is always escaped, so neither can be part of a text.
    In all other cases (`model` also in a nested object, an unusual spacing or escape, no `model`) the object is decoded
    and encoded again, which keeps every field and its order.
    """

    __slots__ = ("_alias", "_alias_json", "_field", "_key", "_patterns", "_upstream")

    def __init__(self, alias: str, field: str = "model") -> None:
        self._alias = alias
        self._field = field
        self._key = encode(field)
        self._alias_json = encode(alias)
        self._upstream: str | None = None
        self._patterns: list[tuple[bytes, bytes]] = []

    def put(self, raw: bytes, upstream: str) -> bytes:
        """`raw` with the alias. `upstream` is what a decoder found under the top-level `model` ("" when nothing)."""
        if upstream == self._alias:
            return raw
        if upstream != self._upstream:
            self._learn(upstream)
        for pattern, replacement in self._patterns:
            at = raw.find(pattern)
            if at >= 0 and raw.find(self._key, at + 1) < 0 and raw.find(self._key, 0, at) < 0:
                return raw[:at] + replacement + raw[at + len(pattern) :]
        body = decode(raw)
        body[self._field] = self._alias
        return encode(body)

    def _learn(self, upstream: str) -> None:
        name = encode(upstream)
        self._upstream = upstream
        self._patterns = [(self._key + gap + name, self._key + gap + self._alias_json) for gap in (b":", b": ")]
