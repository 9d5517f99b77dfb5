"""Operations whose replies are relayed as they came, never made from events: reranking and the making of images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.core.errors import BadRequest
from gateway.core.events import Event, Finished, Started, Usage
from gateway.core.request import Body, Operation, Request, Slot
from gateway.dialects.openai_extra import NAME, count
from gateway.dialects.reading import flag, items, model_of, wrong

PATHS = {"rerank": "/rerank", "images": "/images/generations"}
"""By operation."""


def read_relayed(operation: Operation, body: Body) -> Request:
    """Texts are slots, so that checks hold here as they do elsewhere. Raises `BadRequest` naming the field."""
    model = model_of(body)
    if flag(body, "stream"):
        raise BadRequest(f"stream must be false: {operation} is answered whole.", param="stream")
    asked = "query" if operation == "rerank" else "prompt"
    if type(body.get(asked)) is not str:
        raise wrong(asked, "a string", body.get(asked))
    slots = [Slot("user", "text", 0, body, asked, asked)]
    if operation == "rerank":
        _documents(items(body, "documents"), slots)
    return Request(
        dialect=NAME, operation=operation, body=body, model=model, stream=False, include_usage=False, slots=slots
    )


def _documents(documents: list[Any], slots: list[Slot]) -> None:
    """Strings, or objects that hold a `text`."""
    for at, document in enumerate(documents):
        where = f"documents[{at}]"
        if type(document) is str:
            slots.append(Slot("retrieved", "text", 0, documents, at, where))
        elif type(document) is not dict:
            raise wrong(where, "a string or an object", document)
        elif type(document.get("text")) is str:
            slots.append(Slot("retrieved", "text", 0, document, "text", f"{where}.text"))


def read_reranked(body: dict[str, Any]) -> Sequence[Event]:
    if type(body["results"]) is not list:
        raise ValueError("results is not a list")
    return _relayed(body)


def read_images(body: dict[str, Any]) -> Sequence[Event]:
    if type(body["data"]) is not list:
        raise ValueError("data is not a list")
    return _relayed(body)


def _relayed(body: dict[str, Any]) -> Sequence[Event]:
    model, usage = body.get("model"), body.get("usage")
    events: list[Event] = [Started("", model if type(model) is str else "", 0)]
    if type(usage) is dict and usage:
        made = count(usage.get("output_tokens"))
        read = usage.get("input_tokens", usage.get("prompt_tokens"))
        events.append(Usage(count(usage.get("total_tokens")) - made if read is None else count(read), made, raw=usage))
    events.append(Finished())
    return events
