"""Events as Anthropic stream events, and stream events as one message.

The writer also follows what is relayed as it came, so that encoded and relayed pieces of one answer fit together: it
knows which block is open, and a relayed event that would not fit is encoded from its canonical events instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gateway.core.events import ChoiceFinished, Event, Reasoning, Started, Text, ToolCall, Unknown, Usage
from gateway.dialects.anthropic_extra import stop_of, unwrap, usage_object
from gateway.dialects.anthropic_unknown import tool_input
from gateway.dialects.call_order import CallOrder

Wire = dict[str, Any]
"""One stream event, as JSON says it."""


class MessageWriter:
    """Writes one answer. Only the first choice has a place in this dialect."""

    def __init__(self, alias: str, fallback_id: str) -> None:
        self._alias = alias
        self._fallback_id = fallback_id
        self.started: Started | None = None
        self.usage: Usage | None = None
        self.broken = False
        """Pieces of a tool call came after its block had to be closed: the message cannot be completed honestly."""
        self.ended = False
        """The message delta is out."""
        self.open: str = ""
        """Type of the open block; empty when none is."""
        self.next = 0
        self._order = CallOrder()
        self._call: int | None = None
        self._closed: set[int] = set()
        self._finish: ChoiceFinished | None = None
        self._said_start = False
        self._signed = False
        """The open block is a thought whose signature is out: nothing more belongs to it."""

    @property
    def index(self) -> int:
        """Of the open block."""
        return self.next - 1

    def write(self, events: Sequence[Event]) -> list[Wire]:
        """The stream events that say `events`."""
        out: list[Wire] = []
        for event in events:
            if type(event) is Usage:
                self.usage = event
        for event in events:
            if getattr(event, "choice", 0) == 0:
                self._write(event, out)
        return out

    def finish(self) -> list[Wire]:
        """Everything up to the end of the message."""
        out: list[Wire] = []
        self._start(out)
        self._tools(self._order.rest(), out)
        self._close(out)
        if not self.ended:
            out.append(self._message_delta(stop_of(self._finish, tools=self._call is not None)))
        out.append({"type": "message_stop"})
        return out

    def block(self, told: Mapping[str, Any]) -> list[Wire]:
        """The ending of an answer that a check stopped. `told` stands beside it."""
        self._finish = None
        out: list[Wire] = []
        self._start(out)
        self._close(out)
        if not self.ended:
            out.append({**self._message_delta({"stop_reason": "refusal", "stop_sequence": None}), **told})
            told = {}
        out.append({"type": "message_stop", **told})
        return out

    # --- following what is relayed

    def follows(self, wires: Sequence[Wire]) -> bool:
        """Whether these events, sent as they are, continue what was sent. If so, the writer has taken notice of them."""
        open_, next_, started, ended = self.open, self.next, self._said_start, self.ended
        signed = self._signed
        for wire in wires:
            kind = wire["type"]
            if kind == "message_start":
                if started:
                    return False
                started = True
            elif not started or ended:
                return False
            elif kind == "content_block_start":
                if open_ or wire["index"] != next_:
                    return False
                open_, next_, signed = wire["content_block"]["type"], next_ + 1, False
            elif kind == "content_block_delta":
                if not open_ or wire["index"] != next_ - 1:
                    return False
                signed = wire["delta"]["type"] == "signature_delta"
            elif kind == "content_block_stop":
                if not open_ or wire["index"] != next_ - 1:
                    return False
                open_ = ""
            elif kind == "message_delta":
                if open_:
                    return False
                ended = bool((wire.get("delta") or {}).get("stop_reason"))
        self.open, self.next, self._said_start, self.ended = open_, next_, started, ended
        self._signed = signed
        return True

    def note(self, events: Sequence[Event]) -> None:
        """Takes notice of the canonical events of what was relayed."""
        for event in events:
            if type(event) is ToolCall:
                self._order.told(event)
                if self._call is not None and self._call != event.call:
                    self._closed.add(self._call)
                self._call = event.call
            elif type(event) is Usage:
                self.usage = event
            elif type(event) is ChoiceFinished:
                self._finish = event

    # --- writing

    def _write(self, event: Event, out: list[Wire]) -> None:
        if type(event) is ToolCall:
            self._tools(self._order.take(event), out)
            return
        self._tools(self._order.rest(), out)
        match event:
            case Started():
                self.started = self.started or event
                self._start(out)
            case Text():
                self._text(event, out)
            case Reasoning():
                self._reasoning(event, out)
            case Unknown():
                self._unknown(unwrap(event.fields), out)
            case ChoiceFinished():
                self._close(out)
                self._finish = event

    def _start(self, out: list[Wire]) -> None:
        if self._said_start:
            return
        self._said_start = True
        started = self.started or Started("", self._alias, 0)
        message = {
            "id": started.id or self._fallback_id,
            "type": "message",
            "role": "assistant",
            "model": self._alias,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage_object(self.usage),
            **unwrap(started.extra),
        }
        out.append({"type": "message_start", "message": message})

    def _text(self, event: Text, out: list[Wire]) -> None:
        citations = unwrap(event.extra).get("citations") or ()
        if not event.text and not citations:
            return
        self._ensure("text", {"type": "text", "text": ""}, out)
        if event.text:
            self._delta({"type": "text_delta", "text": event.text}, out)
        for citation in citations:
            self._delta({"type": "citations_delta", "citation": citation}, out)

    def _reasoning(self, event: Reasoning, out: list[Wire]) -> None:
        """A signature belongs to one block. After folding there may be several on one text, and none of them fits it."""
        signatures = unwrap(event.extra).get("signatures") or []
        if not event.text and len(signatures) != 1:
            return
        if self._signed:
            self._close(out)
        self._ensure("thinking", {"type": "thinking", "thinking": "", "signature": ""}, out)
        if event.text:
            self._delta({"type": "thinking_delta", "thinking": event.text}, out)
        if len(signatures) == 1:
            self._delta({"type": "signature_delta", "signature": signatures[0]}, out)
            self._signed = True

    def _tools(self, pieces: Sequence[ToolCall], out: list[Wire]) -> None:
        for piece in pieces:
            self._tool(piece, out)

    def _tool(self, event: ToolCall, out: list[Wire]) -> None:
        if self.open != "tool_use" or self._call != event.call:
            if event.call in self._closed or (self._call == event.call and not event.id):
                self.broken = self.broken or bool(event.arguments)
                return
            self._close(out)
            if self._call is not None:
                self._closed.add(self._call)
            self._call = event.call
            block = {
                "type": "tool_use",
                "id": event.id or f"toolu_{self._fallback_id}_{event.call}",
                "name": event.name or "",
                "input": {},
                **(unwrap(event.extra).get("block") or {}),
            }
            self._ensure("tool_use", block, out)
        if event.arguments:
            self._delta({"type": "input_json_delta", "partial_json": event.arguments}, out)

    def _unknown(self, own: dict[str, Any], out: list[Wire]) -> None:
        if "block" in own:
            self._close(out)
            self._ensure(own["block"]["type"], own["block"], out)
            self._close(out)
        elif "delta" in own and self.open:
            self._delta(own["delta"], out)
        elif "event" in own:
            out.append(own["event"])

    def _ensure(self, kind: str, block: dict[str, Any], out: list[Wire]) -> None:
        if self.open == kind:
            return
        self._start(out)
        self._close(out)
        out.append({"type": "content_block_start", "index": self.next, "content_block": block})
        self.open = kind
        self.next += 1

    def _delta(self, delta: dict[str, Any], out: list[Wire]) -> None:
        out.append({"type": "content_block_delta", "index": self.index, "delta": delta})

    def _close(self, out: list[Wire]) -> None:
        if self.open:
            out.append({"type": "content_block_stop", "index": self.index})
            self.open = ""
        self._signed = False

    def _message_delta(self, delta: dict[str, Any]) -> Wire:
        self.ended = True
        beside = unwrap(self.usage.extra) if self.usage is not None else {}
        return {"type": "message_delta", "delta": delta, "usage": usage_object(self.usage), **beside}


class Message:
    """Stream events put together to the message that a client gets which does not stream."""

    def __init__(self) -> None:
        self.body: dict[str, Any] = {}
        self._texts: dict[tuple[int, str], list[str]] = {}

    def add(self, wires: Iterable[Wire]) -> None:
        for wire in wires:
            kind = wire["type"]
            if kind == "message_start":
                self.body = {**wire["message"], "content": [], "usage": dict(wire["message"].get("usage") or {})}
            elif kind == "content_block_start":
                self.body["content"].append(dict(wire["content_block"]))
            elif kind == "content_block_delta":
                self._delta(wire["index"], wire["delta"])
            elif kind == "message_delta":
                self.body.update(wire.get("delta") or {})
                told = {name: value for name, value in (wire.get("usage") or {}).items() if value is not None}
                self.body["usage"] = {**self.body["usage"], **told}
                self.body.update({name: wire[name] for name in wire if name not in ("type", "delta", "usage")})

    def close(self) -> dict[str, Any]:
        for (index, name), pieces in self._texts.items():
            block = self.body["content"][index]
            if name == "partial_json":
                block["input"] = tool_input("".join(pieces))
            else:
                block[name] = (block.get(name) or "") + "".join(pieces)
        self._texts.clear()
        return self.body

    def _delta(self, index: int, delta: dict[str, Any]) -> None:
        kind = delta["type"]
        if kind == "citations_delta":
            block = self.body["content"][index]
            block["citations"] = [*(block.get("citations") or ()), delta["citation"]]
        elif kind == "signature_delta":
            self.body["content"][index]["signature"] = delta["signature"]
        else:
            for name, value in delta.items():
                if name != "type" and type(value) is str:
                    self._texts.setdefault((index, name), []).append(value)
                elif name != "type":
                    self.body["content"][index][name] = value
