"""Streamed Converse answers, read: binary messages become events. No client speaks this, so no bytes are relayed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.core.errors import GatewayFault, StreamCut, UpstreamFailed
from gateway.core.events import Event, Failed, Finished, Frame, Started, Text, ToolCall, Unknown
from gateway.core.ports import Inlet
from gateway.dialects.converse_blocks import ended, read_answer, reasoned, told
from gateway.dialects.converse_extra import MALFORMED, NAME, fault_of, malformed, usage_of
from gateway.dialects.eventstream import EventStream, Malformed, Message
from gateway.dialects.json_codec import UNREADABLE, decode
from gateway.dialects.whole_inlet import WholeInlet

_SHAPE = "The upstream's stream could not be read: an event has an unknown shape."


class StreamInlet:
    """Reads one streamed answer. Errors of any kind come as `Failed`; after it, and after `Finished`, nothing comes.

    An answer is whole when its stop reason was told and the message after it, which has the usage; a server that leaves
    that one out is believed if its bytes end between two messages.
    """

    def __init__(self) -> None:
        self._stream = EventStream()
        self._whole: Inlet | None = None
        self._peeked = False
        self._calls = 0
        self._open: dict[Any, tuple[int, bool]] = {}
        """Tool calls under way by block: number, and whether arguments have come."""
        self._started = False
        self._stopped = False
        self._done = False

    def feed(self, data: bytes) -> Sequence[Frame]:
        if not self._peeked and data:
            self._peeked = True
            if data[:1] == b"{":  # no message begins so: it would be 2 GB long
                self._whole = WholeInlet(NAME, read_answer)
        if self._whole is not None:
            return self._whole.feed(data)
        if self._done:
            return ()
        try:
            messages = self._stream.feed(data)
        except Malformed as why:
            return (self._fail(UpstreamFailed(f"The upstream's stream could not be read: {why}.")),)
        return self._frames(messages)

    def close(self) -> Sequence[Frame]:
        if self._whole is not None:
            return self._whole.close()
        if self._done:
            return ()
        if self._stopped and not self._stream.within:
            return (self._end(),)
        return (self._fail(StreamCut("The upstream's stream ended before its answer did.")),)

    def _frames(self, messages: Sequence[Message]) -> list[Frame]:
        frames: list[Frame] = []
        for message in messages:
            if self._done:
                break
            frame = self._frame(message)
            if frame is not None:
                frames.append(frame)
        return frames

    def _frame(self, message: Message) -> Frame | None:
        kind = message.headers.get(":message-type")
        try:
            if kind == "error":
                return self._fail(self._error(message.headers.get(":error-code", ""), message.headers))
            body = decode(message.payload) if message.payload else {}
            if kind == "exception":
                return self._fail(self._error(message.headers.get(":exception-type", ""), body))
            return self._event(message.headers.get(":event-type", ""), body)
        except UNREADABLE:
            return self._fail(UpstreamFailed("The upstream's stream could not be read: it is not valid JSON."))
        except (AttributeError, KeyError, TypeError, ValueError):
            return self._fail(UpstreamFailed(_SHAPE))

    def _error(self, name: str, body: dict[str, Any]) -> GatewayFault:
        words = body.get("message") or body.get("Message") or body.get(":error-message") or ""
        return fault_of(name, 500, str(words), None, place="in its answer")

    def _event(self, kind: str, body: dict[str, Any]) -> Frame | None:
        events: list[Event] = []
        if not self._started:
            self._started = True
            events.append(Started("", "", 0))
        if kind == "contentBlockDelta":
            events.extend(self._delta(body["contentBlockIndex"], body["delta"]))
        elif kind == "contentBlockStart":
            events.extend(self._begin(body["contentBlockIndex"], body.get("start") or {}))
        elif kind == "contentBlockStop":
            events.extend(self._close_block(body["contentBlockIndex"]))
        elif kind == "messageStop":
            reason = str(body["stopReason"])
            if reason in MALFORMED:
                return self._fail(malformed(reason))
            self._stopped = True
            events.append(ended(reason, body.get("additionalModelResponseFields")))
        elif kind == "metadata":
            events.append(usage_of(body.get("usage") or {}))
            if self._stopped:
                self._done = True
                events.append(Finished())
        elif kind != "messageStart":
            events.append(Unknown({NAME: {kind: body}}))
        return Frame(tuple(events), None, NAME) if events else None

    def _begin(self, index: Any, start: dict[str, Any]) -> Sequence[Event]:
        tool = start.get("toolUse")
        if tool is not None and not tool.get("type"):
            number, self._calls = self._calls, self._calls + 1
            self._open[index] = (number, False)
            return (ToolCall(number, "", str(tool["toolUseId"]), str(tool["name"])),)
        return (Unknown({NAME: start}),) if start else ()

    def _delta(self, index: Any, delta: dict[str, Any]) -> Sequence[Event]:
        text = delta.get("text")
        if type(text) is str:
            return (Text(text),) if text else ()
        tool = delta.get("toolUse")
        if tool is not None and index in self._open:
            number, _ = self._open[index]
            if not tool["input"]:
                return ()
            self._open[index] = (number, True)
            return (ToolCall(number, tool["input"]),)
        thought = delta.get("reasoningContent")
        return reasoned(thought) if type(thought) is dict else told(delta)

    def _close_block(self, index: Any) -> Sequence[Event]:
        number, said = self._open.pop(index, (0, True))
        return () if said else (ToolCall(number, "{}"),)  # a call without arguments sends no piece of them

    def _end(self) -> Frame:
        self._done = True
        return Frame((Finished(),), None, NAME)

    def _fail(self, fault: GatewayFault) -> Frame:
        self._done = True
        return Frame((Failed(fault),), None, NAME)
