"""A reply under way, as frames: time-outs, bounds, and an end on every path."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

import msgspec

from gateway.core.errors import GatewayFault, UpstreamFailed, UpstreamTimeout
from gateway.core.events import (
    ChoiceFinished,
    Event,
    Failed,
    Finished,
    Frame,
    Reasoning,
    Text,
    ToolCall,
    Unknown,
    Usage,
)  # fmt: skip
from gateway.core.plan import Timeouts
from gateway.core.ports import Inlet
from gateway.providers.failures import fault_of, says_of_health
from gateway.providers.http_client import HttpReply
from gateway.providers.http_errors import HttpError, ReadTimeout

MAX_BODY = 64 * 1024 * 1024
"""Bytes of one reply, streamed or whole."""
_CONTENT = frozenset((Text, Reasoning, ToolCall, Unknown))


class UpstreamReply:
    """A `core.ports.Reply`, and its own iterator: there is no generator that could be left unfinished.

    Streams have three clocks: `ttft` until the first content event, `idle` between two reads after it, `total` over all.
    A reply that is not streamed has only `total`: its first byte comes when the model is done.
    """

    def __init__(
        self,
        http: HttpReply,
        inlet: Inlet,
        *,
        endpoint: str,
        upstream_id: str,
        streaming: bool,
        timeouts: Timeouts,
        ends: float,
        finish_reasons: Mapping[str, str],
        on_content: Callable[[], None],
        on_usage: Callable[[int, int], None],
        on_end: Callable[[bool | None], None],
    ) -> None:
        """`on_content` is called at the first content event of a stream, `on_usage` with the tokens of the prompt and those
        of them that were cached, `on_end` once, with what the reply says of the endpoint's health."""
        self.endpoint = endpoint
        self.status = http.status
        self.upstream_id = upstream_id
        self._http = http
        self._inlet = inlet
        self._streaming = streaming
        self._timeouts = timeouts
        self._ends = ends
        self._finish_reasons = finish_reasons
        self._on_content = on_content
        self._on_usage = on_usage
        self._on_end: Callable[[bool | None], None] | None = on_end
        self._begun = not streaming
        self._over = False
        self._whole = False
        self._ok: bool | None = None
        self._bytes = 0

    def frames(self) -> AsyncIterator[Sequence[Frame]]:
        return self

    def __aiter__(self) -> AsyncIterator[Sequence[Frame]]:
        return self

    async def __anext__(self) -> Sequence[Frame]:
        while not self._over:
            try:
                data = await self._http.read()
                frames = self._read(data)
            except HttpError as error:
                raise self._failed(
                    self._timed_out() if isinstance(error, ReadTimeout) else self._broke(error)
                ) from None
            except GatewayFault as fault:
                raise self._failed(fault) from None
            if frames:
                return frames
        raise StopAsyncIteration

    async def close(self) -> None:
        on_end, self._on_end = self._on_end, None
        if on_end is None:
            return
        self._over = True
        try:
            if self._whole:
                await self._http.drain()
            else:
                await self._http.aclose()
        finally:
            on_end(self._ok)

    def _read(self, data: bytes) -> Sequence[Frame]:
        """One read's worth of frames; at the end of the body, what the inlet still had."""
        self._bytes += len(data)
        if self._bytes > MAX_BODY:
            raise UpstreamFailed(f"The upstream's answer is larger than {MAX_BODY >> 20} MiB.")
        if data:
            frames = self._inlet.feed(data)
        else:
            self._over = True
            frames = self._inlet.close()
        if self._finish_reasons:
            frames = [self._renamed(frame) for frame in frames]
        for frame in frames:
            self._note(frame.events)
        return frames

    def _note(self, events: Sequence[Event]) -> None:
        for event in events:
            kind = type(event)
            if kind in _CONTENT:
                if not self._begun:
                    self._begun = True
                    self._on_content()
                    self._http.read_timeout = self._timeouts.idle
                    self._http.deadline = self._ends
            elif kind is Usage:
                if not event.estimated:  # type: ignore[attr-defined]
                    self._on_usage(event.input_tokens, event.cached_tokens)  # type: ignore[attr-defined]
            elif kind is Finished:
                self._whole = self._over = self._ok = True
            elif kind is Failed:
                self._over = True
                error = event.error  # type: ignore[attr-defined]
                self._ok = says_of_health(error) if isinstance(error, GatewayFault) else None

    def _renamed(self, frame: Frame) -> Frame:
        """The frame with the profile's finish reasons; its own bytes hold the old word and go no further."""
        words = self._finish_reasons
        if not any(type(event) is ChoiceFinished and event.reason in words for event in frame.events):
            return frame
        events = tuple(
            msgspec.structs.replace(event, reason=words.get(event.reason, event.reason))
            if isinstance(event, ChoiceFinished)
            else event
            for event in frame.events
        )
        return Frame(events, None, frame.dialect)

    def _failed(self, fault: GatewayFault) -> GatewayFault:
        self._over = True
        self._ok = says_of_health(fault)
        return fault

    def _broke(self, error: HttpError) -> GatewayFault:
        return fault_of(error, streaming=self._streaming)

    def _timed_out(self) -> UpstreamTimeout:
        limits = self._timeouts
        if asyncio.get_running_loop().time() >= self._ends - 0.005:
            return UpstreamTimeout(f"The upstream's answer was not whole within {limits.total:g} s.", clock="total")
        if not self._begun:
            return UpstreamTimeout(f"The upstream gave no token within {limits.ttft:g} s.", clock="ttft")
        return UpstreamTimeout(f"The upstream's stream stood still for {limits.idle:g} s.", clock="idle")
