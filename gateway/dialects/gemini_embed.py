"""OpenAI's embeddings asked of a Gemini server: `batchEmbedContents` there, the body that OpenAI's clients know here."""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable, Sequence
from typing import Any

from gateway.core.events import Event, Finished, Relayed, Started, Usage
from gateway.core.request import Body, Request
from gateway.core.tokens import text_tokens
from gateway.dialects.gemini_extra import count
from gateway.dialects.json_codec import encode
from gateway.dialects.neutral import untranslatable

_HANDLED = frozenset({"model", "input", "dimensions", "encoding_format", "user"})


def embed_body(body: Body, model: str) -> Body:
    """`body` was checked by `openai_read`. Raises `Untranslatable`."""
    for name, value in body.items():
        if value is not None and name not in _HANDLED:
            raise untranslatable(name)
    given = body["input"]
    texts = [given] if type(given) is str else given
    if not all(type(text) is str for text in texts):
        raise untranslatable("input", "token ids mean something to one model only")
    more = {"outputDimensionality": body["dimensions"]} if body.get("dimensions") is not None else {}
    return {"requests": [{"model": model, "content": {"parts": [{"text": text}]}, **more} for text in texts]}


def reader_for(request: Request) -> Callable[[dict[str, Any]], Sequence[Event]]:
    """Reads the answer into OpenAI's shape. Where the server tells no usage, it is estimated and called so."""
    packed = request.body.get("encoding_format") == "base64"

    def read(body: dict[str, Any]) -> Sequence[Event]:
        data = [
            {"object": "embedding", "index": at, "embedding": _packed(one["values"]) if packed else one["values"]}
            for at, one in enumerate(body["embeddings"])
        ]
        told = body.get("usageMetadata")
        tokens = count(told.get("promptTokenCount")) if type(told) is dict else 0
        known = tokens > 0
        tokens = tokens or _estimate(request)
        usage: dict[str, Any] = {"prompt_tokens": tokens, "total_tokens": tokens}
        if not known:
            usage["estimated"] = True
        made = {"object": "list", "data": data, "model": "", "usage": usage}
        return (Started("", "", 0), Usage(tokens, raw=usage, estimated=not known), Relayed(encode(made)), Finished())

    return read


def _packed(values: Sequence[float]) -> str:
    """Little-endian 32-bit floats, as OpenAI's clients unpack them."""
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()


def _estimate(request: Request) -> int:
    return max(1, round(sum(text_tokens(slot.text) for slot in request.slots)))
