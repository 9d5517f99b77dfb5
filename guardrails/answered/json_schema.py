"""Structured output: an answer that must be JSON of some schema is that, or is mended, or does not go out.

Works on whole texts, so it holds everything it is asked about until the choice ends: a value cannot be judged by half.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from typing import Any

from gateway.core.events import Event, Reasoning, Text, ToolCall, Unknown
from gateway.core.exchange import Exchange
from gateway.core.facts import Key
from guardrails.answered.answers import AnswerRules, declined, interested
from guardrails.answered.held_choices import HeldChoices, Judged, NotJudged
from guardrails.answered.json_flaws import Shape, shaped
from guardrails.answered.json_validate import Unusable, Validators
from guardrails.answered.schema_source import wanted

CATEGORY = "invalid_json"


class JsonSchema:
    """Transform. Interested only when the request asks for JSON."""

    consumes: tuple[Key[Any], ...] = ()
    produces: tuple[Key[Any], ...] = ()

    def __init__(self, rules: AnswerRules, pool: Executor) -> None:
        self.name = rules.name
        self._rules = rules
        self._pool = pool
        self._validators = Validators()

    def open(self, exchange: Exchange) -> HeldChoices | None:
        want = wanted(exchange.request.body) if exchange.request is not None else None
        if want is None or not interested(exchange, self._rules):
            return None
        rules = self._rules
        judging = JsonText(want.schema, self._validators, mend=rules.action == "repair", whole=rules.mode == "full")
        return HeldChoices(exchange, self._rules, judging, self._pool)


class JsonText:
    """Judges the visible text of a choice. Reasoning, calls and fields that no codec knows are not its business; `whole`:
    they are held with it, so that nothing is out before."""

    def __init__(self, schema: Mapping[str, Any] | None, validators: Validators, *, mend: bool, whole: bool) -> None:
        self._schema = schema
        self._validators = validators
        self._mend = mend
        self._held = (Text, Reasoning, ToolCall, Unknown) if whole else (Text,)

    def starts(self, event: Event) -> bool:
        return isinstance(event, self._held)

    def judge(self, events: Sequence[Event], reason: str) -> Judged:
        texts = [event for event in events if type(event) is Text]
        whole = "".join(event.text for event in texts)
        if not whole.strip() and (not whole or any(type(event) is ToolCall for event in events)):
            return Judged()
        if any(declined(event) for event in texts):
            message = "The model refused, where JSON was asked for."
            return Judged(1, error=message, reasons=("refused>refused",))
        try:
            shape = shaped(whole, self._schema, self._validators, mend=self._mend, cut=reason == "length")
        except Unusable as problem:
            raise NotJudged("schema", f"the schema cannot be used: {problem}") from None
        return self._judged(events, shape)

    @staticmethod
    def _judged(events: Sequence[Event], shape: Shape) -> Judged:
        if shape.before == "ok":
            return Judged()
        if not shape.fits:
            message = f"The answer is not the JSON that was asked for ({shape.where[:200]})."
            return Judged(1, error=message, cut=shape.after == "truncated", reasons=(shape.change,))
        return Judged(1, _with_text(events, shape.mended or ""), reasons=(shape.change,))


def _with_text(events: Sequence[Event], text: str) -> list[Event]:
    """`events` saying `text`, where their first text stood. What came beside the old text (log-probabilities spell it
    out) goes with it."""
    out: list[Event] = []
    said = False
    for event in events:
        if type(event) is not Text:
            out.append(event)
        elif not said:
            said = True
            out.append(Text(text, event.choice))
    return out
