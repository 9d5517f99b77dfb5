"""JSON, decoded strictly first and leniently where real servers are sloppy."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

decode = msgspec.json.Decoder().decode
encode = msgspec.json.Encoder().encode

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What `decode` raises on bytes it cannot read."""

_SURROGATE = re.compile("[\ud800-\udfff]")


class Unreadable(Exception):
    """Bytes that are no JSON even by the lenient reading. The message is a short reason, never the bytes."""


def decode_lenient(payload: bytes) -> Any:
    """What some servers send although JSON forbids it: NaN and infinities, and halves of surrogate pairs (an emoji cut
    in two by a tokenizer), which become U+FFFD. A value read this way cannot be relayed as it came.

    Raises `Unreadable`.
    """
    try:
        text = payload.decode("utf-8")
    except UnicodeDecodeError:
        raise Unreadable("it is not valid UTF-8") from None
    try:
        return _scrub(json.loads(text))
    except ValueError:
        raise Unreadable("it is not valid JSON") from None
    except RecursionError:
        raise Unreadable("it is nested too deeply") from None


def _scrub(value: Any) -> Any:
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, list):
        return [_scrub(item) for item in value]
    if isinstance(value, dict):
        return {_scrub(name): _scrub(item) for name, item in value.items()}
    return value
