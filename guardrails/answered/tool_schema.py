"""The arguments of tool calls: what runs is a tool that the request gave, called as its schema says, or nothing runs.

All calls of a choice are held together, from the first one to the choice's end: only then is it known whether the
token limit cut the last one, and one bad call spoils the plan of which the others are part."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from typing import Any

from gateway.core.events import Event, Reasoning, Text, ToolCall, Unknown
from gateway.core.exchange import Exchange
from gateway.core.facts import Key
from gateway.core.response import merge_extra
from guardrails.answered.answers import AnswerRules, interested
from guardrails.answered.held_choices import HeldChoices, Judged, NotJudged
from guardrails.answered.json_flaws import Shape, shaped
from guardrails.answered.json_validate import Unusable, Validators
from guardrails.answered.tool_source import Tools, tools_of

CATEGORY = "invalid_tool_call"
MAX_CALLS = 256


class ToolSchema:
    """Transform. Open also where the request gives no tools: then every call is of an unknown one."""

    consumes: tuple[Key[Any], ...] = ()
    produces: tuple[Key[Any], ...] = ()

    def __init__(self, rules: AnswerRules, pool: Executor) -> None:
        self.name = rules.name
        self._rules = rules
        self._pool = pool
        self._validators = Validators()

    def open(self, exchange: Exchange) -> HeldChoices | None:
        if not interested(exchange, self._rules):
            return None
        rules = self._rules
        calls = Calls(
            tools_of(exchange.asked().body),
            self._validators,
            mend=rules.action == "repair",
            whole=rules.mode == "full",
        )
        return HeldChoices(exchange, rules, calls, self._pool)


class Calls:
    """Judges the calls of a choice. `whole`: text and reasoning are held too, so that nothing is out before."""

    def __init__(self, tools: Tools, validators: Validators, *, mend: bool, whole: bool) -> None:
        self._tools = tools
        self._validators = validators
        self._mend = mend
        self._held = (ToolCall, Text, Reasoning, Unknown) if whole else (ToolCall,)

    def starts(self, event: Event) -> bool:
        return isinstance(event, self._held)

    def judge(self, events: Sequence[Event], reason: str) -> Judged:
        calls: dict[int, list[ToolCall]] = {}
        for event in events:
            if type(event) is ToolCall:
                calls.setdefault(event.call, []).append(event)
        if len(calls) > MAX_CALLS:
            raise NotJudged("too_many")
        last = next(reversed(calls), None)
        shapes = {call: self._shape(pieces, reason == "length" and call == last) for call, pieces in calls.items()}
        wrong = [shape for shape in shapes.values() if shape.before != "ok"]
        reasons = tuple(dict.fromkeys(shape.change for shape in wrong))
        failed = next((shape for shape in wrong if not shape.fits), None)
        if failed is not None:
            message = f"A tool call is not one that may run ({failed.where[:200]})."
            return Judged(len(wrong), None, message, any(s.after == "truncated" for s in wrong), reasons)
        mended = {call: shape.mended for call, shape in shapes.items() if shape.mended is not None}
        return Judged(len(wrong), _replaced(events, calls, mended) if mended else None, reasons=reasons)

    def _shape(self, pieces: Sequence[ToolCall], cut: bool) -> Shape:
        name = next((piece.name for piece in pieces if piece.name), "")
        if name not in self._tools:
            return Shape("unknown_tool", "unknown_tool", None, "no tool of that name was given")
        schema = self._tools[name]
        raw = "".join(piece.arguments for piece in pieces)
        if schema is None:
            return (
                Shape("truncated", "truncated", None, "it was cut off by the token limit") if cut else Shape("ok", "ok")
            )
        try:
            if not raw.strip() and shaped("{}", schema, self._validators, mend=False, cut=False).fits and not cut:
                return Shape("ok", "ok")  # how a call without arguments is streamed
            return shaped(raw, schema, self._validators, mend=self._mend, cut=cut, close=False)
        except Unusable as problem:
            raise NotJudged("schema", f"the schema of a tool cannot be used: {problem}") from None


def _replaced(events: Sequence[Event], calls: dict[int, list[ToolCall]], mended: dict[int, str]) -> list[Event]:
    """`events` with each mended call as one event, where its first piece stood."""
    out: list[Event] = []
    said: set[int] = set()
    for event in events:
        if type(event) is not ToolCall or event.call not in mended:
            out.append(event)
        elif event.call not in said:
            said.add(event.call)
            out.append(_whole(calls[event.call], mended[event.call]))
    return out


def _whole(pieces: Sequence[ToolCall], arguments: str) -> ToolCall:
    first = pieces[0]
    extra = None
    for piece in pieces:
        extra = merge_extra(extra, piece.extra)
    id = next((piece.id for piece in pieces if piece.id), None)
    name = next((piece.name for piece in pieces if piece.name), None)
    return ToolCall(first.call, arguments, id, name, first.choice, extra)
