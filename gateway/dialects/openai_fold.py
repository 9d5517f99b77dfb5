"""Whole OpenAI bodies, for clients that do not stream."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway.core.errors import BadRequest, GatewayFault, Internal
from gateway.core.events import Blocked, Finished, Frame, Relayed, Started
from gateway.core.exchange import Exchange
from gateway.core.response import ChoiceRecord, Folder, Response
from gateway.dialects.json_codec import encode
from gateway.dialects.model_name import ModelName
from gateway.dialects.openai_errors import error_body
from gateway.dialects.openai_extra import NAME

Render = Callable[[Response, str, str, int], dict[str, Any]]
"""Answer, alias, fallback id, Unix seconds now, to a body."""


class FoldingOutlet:
    """Folds events into one body. If the upstream's own body came through unchanged, that body is the answer, so that
    nothing of it is lost, with only the model's name changed."""

    content_type = "application/json"
    streaming = False

    def __init__(self, exchange: Exchange, render: Render, prefix: str) -> None:
        self._exchange = exchange
        self._alias = exchange.asked().model
        self._render = render
        self._prefix = prefix
        self._whole: Frame | None = None
        self._folder = Folder()

    def push(self, frame: Frame) -> bytes:
        events = frame.events
        if frame.raw is not None and frame.dialect == NAME and events and type(events[-1]) is Finished:
            self._whole = frame
            return b""
        if self._whole is not None and events:
            for event in self._whole.events:
                self._folder.add(event)
            self._whole = None
        for event in events:
            self._folder.add(event)
        return b""

    def finish(self) -> bytes:
        whole = self._whole
        if whole is not None and whole.raw is not None:
            model = next((event.model for event in whole.events if type(event) is Started), "")
            return ModelName(self._alias).put(whole.raw, model)
        return self._body(self._folder.close())

    def fail(self, fault: GatewayFault) -> bytes:
        return error_body(fault)

    def block(self, blocked: Blocked) -> bytes:
        """What had passed the checks, ended by `content_filter`."""
        response = self._folder.close()
        response.choices = response.choices or {0: ChoiceRecord()}
        for choice in response.choices.values():
            choice.finish = choice.finish or "content_filter"
        return self._body(response)

    def _body(self, response: Response) -> bytes:
        exchange = self._exchange
        now = exchange.opened // 1_000_000_000
        return encode(self._render(response, self._alias, f"{self._prefix}-{exchange.id}", now))


class RelayOutlet:
    """Bodies with nothing in them that a check reads (vectors, scores, images): relayed with the model's name changed, never
    folded."""

    content_type = "application/json"
    streaming = False

    def __init__(self, exchange: Exchange) -> None:
        self._name = ModelName(exchange.asked().model)
        self._named = exchange.operation == "embeddings"
        """Clients want a model's name there, also where the upstream tells none."""
        self._raw: bytes | None = None
        self._model = ""

    def push(self, frame: Frame) -> bytes:
        if frame.raw is not None:
            self._raw = frame.raw
        for event in frame.events:
            if type(event) is Started:
                self._model = event.model
            elif type(event) is Relayed:  # from a cache, where there is no frame
                self._raw = event.body
        return b""

    def finish(self) -> bytes:
        if self._raw is None:
            raise Internal("This answer cannot be made from events; it can only be relayed.")
        return self._name.put(self._raw, self._model) if self._model or self._named else self._raw

    def fail(self, fault: GatewayFault) -> bytes:
        return error_body(fault)

    def block(self, blocked: Blocked) -> bytes:
        return error_body(BadRequest(f"The answer was stopped by {blocked.check!r}.", code="content_filter"))
