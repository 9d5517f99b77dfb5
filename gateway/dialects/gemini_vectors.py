"""`:embedContent` and `:batchEmbedContents` of Gemini's clients: read, asked of either kind of server, and told back.

What a request for vectors says across dialects is OpenAI's body for it, and what an answer says is OpenAI's answer: few
fields, and no other API has more that anyone else understands.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.core.errors import BadRequest, GatewayFault, Internal
from gateway.core.events import Blocked, Event, Finished, Frame, Relayed, Started, Usage
from gateway.core.exchange import Exchange
from gateway.core.request import Body, Slot
from gateway.dialects.gemini_errors import error_body
from gateway.dialects.gemini_extra import NAME, count
from gateway.dialects.json_codec import decode, encode
from gateway.dialects.neutral import untranslatable
from gateway.dialects.reading import items, wrong

_HANDLED = frozenset({"model", "content", "outputDimensionality"})
_UNSPECIFIED = "TASK_TYPE_UNSPECIFIED"


def read_vectors(body: Body, slots: list[Slot]) -> None:
    """Texts are slots, so that checks hold here as they do elsewhere. Raises `BadRequest` naming the field."""
    if "requests" not in body:
        _content(body, "", slots)
        return
    for at, request in enumerate(items(body, "requests")):
        if type(request) is not dict:
            raise wrong(f"requests[{at}]", "an object", request)
        _content(request, f"requests[{at}].", slots)


def _content(request: Body, path: str, slots: list[Slot]) -> None:
    content = request.get("content")
    if type(content) is not dict:
        raise wrong(f"{path}content", "an object with parts", content)
    parts = content.get("parts")
    if type(parts) is dict:
        parts = content["parts"] = [parts]
    if type(parts) is not list or not parts:
        raise wrong(f"{path}content.parts", "a list with something in it", parts)
    for at, part in enumerate(parts):
        where = f"{path}content.parts[{at}]"
        if type(part) is not dict:
            raise wrong(where, "an object", part)
        if part.get("text") is not None:
            if type(part["text"]) is not str:
                raise wrong(f"{where}.text", "a string", part["text"])
            slots.append(Slot("user", "text", 0, part, "text", f"{where}.text"))
    if type(request.get("title")) is str:
        slots.append(Slot("user", "text", 0, request, "title", f"{path}title"))


def native_body(body: Body, model: str) -> Body:
    """For a server of this API: as it came, but for the name of the model, which each request of a batch has."""
    if "requests" not in body:
        return dict(body)
    return {**body, "requests": [{**request, "model": model} for request in body["requests"]]}


def openai_body(body: Body) -> Body:
    """Raises `Untranslatable`: what a text is for (`taskType`, `title`) makes another vector of it."""
    requests = body.get("requests")
    texts: list[str] = []
    sizes: set[Any] = set()
    for at, request in enumerate([body] if requests is None else requests):
        path = "" if requests is None else f"requests[{at}]."
        for name, value in request.items():
            if name not in _HANDLED and value is not None and value != _UNSPECIFIED:
                raise untranslatable(f"{path}{name}")
        parts = request["content"]["parts"]
        if len(parts) != 1 or type(parts[0].get("text")) is not str:
            raise untranslatable(f"{path}content.parts", "one text makes one vector there")
        texts.append(parts[0]["text"])
        size = request.get("outputDimensionality")
        if size is not None and type(size) is not int:
            raise untranslatable(f"{path}outputDimensionality", "it is no whole number")
        sizes.add(size)
    if len(sizes) > 1:
        raise untranslatable("requests", "all vectors of a batch have one outputDimensionality there")
    size = sizes.pop()
    return {"input": texts, "encoding_format": "float", **({} if size is None else {"dimensions": size})}


def read_native(body: dict[str, Any]) -> Sequence[Event]:
    """The answer of a server of this API, for a client of it: relayed."""
    if type(body.get("embeddings", body.get("embedding"))) not in (list, dict):
        raise ValueError("there are no vectors")
    told = body.get("usageMetadata")
    tokens = count(told.get("promptTokenCount")) if type(told) is dict else 0
    usage = (Usage(tokens, raw=told),) if tokens else ()
    return (Started("", "", 0), *usage, Finished())


class VectorsOutlet:
    """One body: relayed as it came from a server of this API, or made from one of OpenAI's."""

    content_type = "application/json"
    streaming = False

    def __init__(self, exchange: Exchange) -> None:
        self._id = exchange.id
        self._batch = "requests" in exchange.asked().body
        self._raw: bytes | None = None
        self._own = False

    def push(self, frame: Frame) -> bytes:
        for event in frame.events:
            if type(event) is Relayed:
                self._raw, self._own = event.body, frame.dialect == NAME
        return b""

    def finish(self) -> bytes:
        if self._raw is None:
            raise Internal("This answer cannot be made from events; it can only be relayed.")
        if self._own:
            return self._raw
        body = decode(self._raw)  # also from a cache, which keeps an answer as the server gave it
        if "data" not in body:
            return self._raw
        vectors = [{"values": one["embedding"]} for one in sorted(body["data"], key=lambda one: one.get("index", 0))]
        told: Body = {"embeddings": vectors} if self._batch else {"embedding": vectors[0]}
        usage = body.get("usage")
        if type(usage) is dict and usage.get("prompt_tokens") is not None:
            told["usageMetadata"] = {"promptTokenCount": usage["prompt_tokens"]}
        return encode(told)

    def fail(self, fault: GatewayFault) -> bytes:
        return error_body(fault, self._id)

    def block(self, blocked: Blocked) -> bytes:
        return self.fail(BadRequest(f"The answer was stopped by {blocked.check!r}.", code="content_filter"))
