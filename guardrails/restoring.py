"""The last transform: placeholders of this exchange become the client's own values again, in whatever answers it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gateway.core.events import Blocked, ChoiceFinished, Event, Failed, Finished, Reasoning, Text, ToolCall, Unknown
from gateway.core.exchange import Exchange
from gateway.core.facts import Key
from guardrails.restore import Placeholders, Restorer, restore
from guardrails.vault import VAULT

_DEPTH = 32


class Restore:
    """Transform. Not interested when nothing was masked, so an exchange without private data costs one look-up."""

    name = "restore"
    consumes: tuple[Key[Any], ...] = (VAULT,)
    produces: tuple[Key[Any], ...] = ()

    def open(self, exchange: Exchange) -> Restoring | None:
        vault = exchange.facts.get(VAULT)
        if vault is None or not vault.values:
            return None
        return Restoring(vault.values, exchange)


class Restoring:
    """One answer on its way back to the client. Each choice's text and reasoning, and each tool call, by itself."""

    waiting = False

    def __init__(self, values: Mapping[str, str], exchange: Exchange) -> None:
        """`values` may grow: masking the answer of a target that was shown originals gives out placeholders too."""
        self._values = values
        self._known = Placeholders(values)
        self._exchange = exchange
        self._texts: dict[tuple[str, int, int], tuple[Restorer, Event]] = {}
        """The restorer, and the last event that fed it: the pattern for what is sent of the rest."""

    def push(self, event: Event) -> Sequence[Event]:
        kind = type(event)
        if len(self._values) > len(self._known.plain):
            self._known.learn(self._values)
        if kind is Text or kind is Reasoning:
            if not event.text:  # type: ignore[attr-defined]
                return (event,)
            before = self._switch(kind.__name__, event, -1) if self._texts else []  # type: ignore[arg-type]
            out = self._text(event, (kind.__name__, event.choice, -1))  # type: ignore[arg-type, attr-defined]
            return [*before, *out] if before else out
        if kind is ToolCall:
            before = self._switch("ToolCall", event, event.call) if self._texts else []  # type: ignore[arg-type, attr-defined]
            return [*before, *self._call(event)]  # type: ignore[arg-type]
        if kind is Unknown:
            return (self._unknown(event),)  # type: ignore[arg-type]
        if kind is ChoiceFinished:
            return [*self._close(event.choice), event]  # type: ignore[attr-defined]
        if kind is Finished:
            return [*self.finish(), event]
        if kind is Blocked or kind is Failed:
            self._texts.clear()
        return (event,)

    def finish(self) -> Sequence[Event]:
        """Beginnings that never became a placeholder, as they stand."""
        return [event for choice in sorted({key[1] for key in self._texts}) for event in self._close(choice)]

    async def settle(self) -> Sequence[Event]:
        return ()

    def _restorer(self, key: tuple[str, int, int], event: Event) -> Restorer:
        known = self._texts.get(key)
        restorer = known[0] if known else Restorer(self._known, as_json=key[0] == "ToolCall")
        self._texts[key] = (restorer, event)
        return restorer

    def _switch(self, kind: str, event: Text | Reasoning | ToolCall, call: int) -> list[Event]:
        """What is held of another text of this choice goes out before this one begins, or a client that counts content
        blocks would see the first go on after its end."""
        stale = [key for key in self._texts if key[1] == event.choice and (key[0] != kind or key[2] != call)]
        return [rest for key in stale for rest in self._rest(key)]

    def _text(self, event: Text | Reasoning, key: tuple[str, int, int]) -> Sequence[Event]:
        restorer = self._restorer(key, event)
        text = restorer.push(event.text)
        self._note(restorer)
        if text == event.text:
            return (event,)
        if not text and not event.extra:
            return ()
        return (type(event)(text, event.choice, event.extra),)

    def _call(self, event: ToolCall) -> Sequence[Event]:
        restorer = self._restorer(("ToolCall", event.choice, event.call), event)
        arguments = restorer.push(event.arguments)
        self._note(restorer)
        if arguments == event.arguments:
            return (event,)
        return (ToolCall(event.call, arguments, event.id, event.name, event.choice, event.extra),)

    def _unknown(self, event: Unknown) -> Event:
        fields = _deep(event.fields, self._known, 0)
        return event if fields == event.fields else Unknown(fields, event.choice)

    def _close(self, choice: int) -> list[Event]:
        return [rest for key in [key for key in self._texts if key[1] == choice] for rest in self._rest(key)]

    def _rest(self, key: tuple[str, int, int]) -> list[Event]:
        restorer, last = self._texts.pop(key)
        rest = restorer.finish()
        if not rest:
            return []
        if isinstance(last, ToolCall):
            return [ToolCall(last.call, rest, None, None, last.choice)]
        assert isinstance(last, Text | Reasoning)
        return [type(last)(rest, last.choice)]

    def _note(self, restorer: Restorer) -> None:
        if len(restorer.held) > self._exchange.held_chars:
            self._exchange.held_chars = len(restorer.held)


def _deep(value: Any, known: Placeholders, depth: int) -> Any:
    """A JSON value with placeholders restored in its strings. Whole strings only: pieces of one are left as they
    are."""
    if isinstance(value, str):
        return restore(value, known.plain) if "[" in value else value
    if depth >= _DEPTH:
        return value
    if isinstance(value, dict):
        return {key: _deep(item, known, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_deep(item, known, depth + 1) for item in value]
    return value
