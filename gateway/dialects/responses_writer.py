"""Events as the stream events of a response, each with its number; and the response object itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gateway.core.errors import GatewayFault
from gateway.core.events import ChoiceFinished, Event, Reasoning, Started, Text, ToolCall, Unknown, Usage
from gateway.core.request import Body
from gateway.dialects import openai_extra
from gateway.dialects.call_order import CallOrder
from gateway.dialects.responses_extra import unwrap, usage_object
from gateway.dialects.responses_items import TEXT_DELTAS, CallItem, Item, MessageItem, ReasoningItem, Wire, item_of
from gateway.dialects.sealed import seal_item

_ECHOED: dict[str, Any] = {
    "instructions": None, "max_output_tokens": None, "metadata": {}, "parallel_tool_calls": True, "temperature": None,
    "text": {"format": {"type": "text"}}, "tool_choice": "auto", "tools": [], "top_p": None, "truncation": "disabled",
}  # fmt: skip
"""What a response tells of its request, with what is told when the request did not say. As it stands after masking."""
OWN_REASONING = "rs_local_"
"""Begins the ids of reasoning that no server keeps or can read again."""
_ENDS = frozenset({"response.completed", "response.incomplete"})
_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


class ResponseWriter:
    """Writes one answer. Only the first choice has a place in this dialect."""

    def __init__(
        self, body: Body, alias: str, exchange_id: str, now: int, seal: Callable[[str], str] | None = None
    ) -> None:
        """`now`: Unix seconds, for upstreams that do not tell when. `seal`: see `core.pinning`."""
        self._seal = seal
        self._id = exchange_id
        self._head: dict[str, Any] = {"id": f"resp_{exchange_id}", "object": "response", "created_at": now}
        self._alias = alias
        self._echo = {name: default if body.get(name) is None else body[name] for name, default in _ECHOED.items()}
        self._reasoning = {"effort": None, "summary": None, **(body.get("reasoning") or {})}
        self._number = 0
        self._started = False
        self._said: MessageItem | ReasoningItem | None = None
        """The item that takes text now."""
        self._calls: dict[int, CallItem] = {}
        self._order = CallOrder()
        self._open: list[Item] = []
        self._done: dict[int, Wire] = {}
        self._next = 0
        self._finish = ""
        self._usage: Usage | None = None
        self._following: dict[int, Item] = {}
        self.ended = False
        """The last event is out, relayed as it came."""

    # --- following what is relayed

    def follow(self, wires: Sequence[Wire]) -> bool:
        """Whether these events, sent as they are, continue what was sent. If so, the writer has taken notice of them.

        The numbers tell: where a check held or dropped a frame there is a gap, and from then on everything is encoded, for
        the events that end an item or the response repeat all its text.
        """
        number = self._number if self._started else wires[0].get("sequence_number")
        if type(number) is not int or (not self._started and wires[0]["type"] != "response.created"):
            return False
        if [wire.get("sequence_number") for wire in wires] != list(range(number, number + len(wires))):
            return False
        for wire in wires:
            self._notice(wire["type"], wire)
        self._number = number + len(wires)
        return True

    def _notice(self, kind: str, wire: Wire) -> None:
        index = wire.get("output_index", -1)
        if "response" in wire:
            self._started = True
            self._head.update({name: wire["response"][name] for name in ("id", "created_at")})
            self.ended = kind in _ENDS
        elif kind == "response.output_item.added":
            self._next = max(self._next, index + 1)
            item = item_of(wire["item"], index)
            if item is not None:
                self._following[index] = item
                self._open.append(item)
                if isinstance(item, CallItem):
                    self._calls[len(self._calls)] = item
                else:
                    self._said = item
        elif kind == "response.output_item.done":
            self._done[index] = wire["item"]
            item = self._following.pop(index, None)
            if item is not None:
                self._open.remove(item)
            if self._said is item:
                self._said = None
        elif index in self._following and kind in TEXT_DELTAS:
            item = self._following[index]
            item.add(wire["delta"])
            if isinstance(item, CallItem):
                self._order.told(ToolCall(list(self._calls.values()).index(item), wire["delta"]))

    # --- writing

    def write(self, events: Sequence[Event]) -> list[Wire]:
        """The stream events that say `events`."""
        out: list[Wire] = []
        for event in events:
            if getattr(event, "choice", 0) == 0:
                self._write(event, out)
        return self._numbered(out)

    def finish(self) -> list[Wire]:
        """Everything up to the end of a whole answer."""
        out: list[Wire] = []
        self._tools(self._order.rest(), out)
        reason = _INCOMPLETE.get(self._finish)
        fields = {"incomplete_details": {"reason": reason}} if reason else {}
        return self._numbered(out) + self._end("incomplete" if reason else "completed", fields)

    def block(self, told: Mapping[str, Any]) -> list[Wire]:
        """The ending of an answer that a check stopped. `told` stands beside it."""
        return self._end("incomplete", {"incomplete_details": {"reason": "content_filter"}, **told})

    def fail(self, fault: GatewayFault) -> list[Wire]:
        return self._end("failed", {"error": {"code": fault.code or "server_error", "message": fault.message}})

    def response(self, status: str, **fields: Any) -> dict[str, Any]:
        return {
            **self._head,
            "status": status,
            "background": False,
            "error": None,
            "incomplete_details": None,
            "model": self._alias,
            "output": [self._done[index] for index in sorted(self._done)],
            "previous_response_id": None,
            "reasoning": self._reasoning,
            "store": False,
            **self._echo,
            "usage": usage_object(self._usage),
            **fields,
        }

    def _numbered(self, wires: list[Wire]) -> list[Wire]:
        for wire in wires:
            wire["sequence_number"] = self._number
            self._number += 1
        return wires

    def _write(self, event: Event, out: list[Wire]) -> None:
        if type(event) is ToolCall:
            self._tools(self._order.take(event), out)
            return
        self._tools(self._order.rest(), out)
        match event:
            case Started():
                self._head["created_at"] = event.created or self._head["created_at"]
                self._start(out)
            case Text() if event.text:
                refusal = openai_extra.unwrap(event.extra).get("refusal") is True
                if not isinstance(self._said, MessageItem) or self._said.refusal is not refusal:
                    self._say(MessageItem(f"msg_{self._id}_{self._next}", self._next, refusal=refusal), out)
                out.append(self._said.add(event.text))  # type: ignore[union-attr]
            case Reasoning():
                self._think(event, unwrap(event.extra), out)
            case Unknown():
                self._unknown(unwrap(event.fields), out)
            case ChoiceFinished():
                self._finish = event.reason
            case Usage():
                self._usage = event

    def _start(self, out: list[Wire]) -> None:
        if not self._started:
            self._started = True
            for kind in ("created", "in_progress"):
                out.append({"type": f"response.{kind}", "response": self.response("in_progress")})

    def _think(self, event: Reasoning, own: dict[str, Any], out: list[Wire]) -> None:
        """What is sealed goes on as an item of its own: its id was told by the server, and an open item has another."""
        sealed = own.get("sealed")
        if type(sealed) is dict:
            sealed = {**sealed}
            seal_item(sealed, self._seal)
        if type(sealed) is dict and isinstance(self._said, ReasoningItem) and self._said.id == sealed["id"]:
            self._said.encrypted = sealed["encrypted_content"]
            self._hush("completed", out)
        elif type(sealed) is dict:
            item = {"type": "reasoning", "status": "completed", "summary": [], **sealed}
            self._unknown({"item": item, "sealed": True}, out)
        if not event.text:
            return
        # Of another dialect's thoughts it is not said which they are: clients that ask for a summary read nothing else.
        summary = own.get("as", "summary" if self._reasoning["summary"] else "content") == "summary"
        if not isinstance(self._said, ReasoningItem) or self._said.summary is not summary:
            self._say(ReasoningItem(f"{OWN_REASONING}{self._id}_{self._next}", self._next, summary=summary), out)
        out.append(self._said.add(event.text))  # type: ignore[union-attr]

    def _say(self, item: MessageItem | ReasoningItem, out: list[Wire]) -> None:
        self._hush("completed", out)
        self._said = item
        self._begin(item, out)

    def _hush(self, status: str, out: list[Wire]) -> None:
        if self._said is not None:
            self._close(self._said, status, out)
            self._said = None

    def _begin(self, item: Item, out: list[Wire]) -> None:
        self._start(out)
        self._open.append(item)
        self._next += 1
        out.extend(item.begin())

    def _close(self, item: Item, status: str, out: list[Wire]) -> None:
        self._open.remove(item)
        out.extend(item.end(status))
        self._done[item.index] = item.item(status)

    def _tools(self, pieces: Sequence[ToolCall], out: list[Wire]) -> None:
        for piece in pieces:
            self._call(piece, out)

    def _call(self, event: ToolCall, out: list[Wire]) -> None:
        call = self._calls.get(event.call)
        if call is None:
            self._hush("completed", out)
            index = self._next
            call_id = event.id or f"call_{self._id}_{event.call}"
            custom = unwrap(event.extra).get("type") == "custom"
            item_id = f"{'ctc' if custom else 'fc'}_{self._id}_{index}"
            call = self._calls[event.call] = CallItem(item_id, index, call_id, event.name or "", custom=custom)
            self._begin(call, out)
        if event.arguments:
            out.append(call.add(event.arguments))

    def _unknown(self, own: dict[str, Any], out: list[Wire]) -> None:
        """A whole item that no check reads."""
        if "item" not in own:
            return
        self._start(out)
        self._hush("completed", out)
        item = {**own["item"]}
        if own.get("sealed") is None:
            seal_item(item, self._seal)
        for kind in ("added", "done"):
            out.append({"type": f"response.output_item.{kind}", "output_index": self._next, "item": item})
        self._done[self._next] = item
        self._next += 1

    def _end(self, status: str, fields: dict[str, Any]) -> list[Wire]:
        """What is open is closed first: a client may have built on it."""
        out: list[Wire] = []
        self._start(out)
        self._said = None
        for item in list(self._open):
            self._close(item, "completed" if status == "completed" else "incomplete", out)
        out.append({"type": f"response.{status}", "response": self.response(status, **fields)})
        return self._numbered(out)
