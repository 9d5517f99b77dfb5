"""The last transform: placeholders of this exchange become the client's own values again, in whatever answers it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gateway.core.events import Blocked, ChoiceFinished, Event, Failed, Finished, Reasoning, Text, ToolCall, Unknown
from gateway.core.exchange import Exchange
from gateway.core.facts import Key
from guardrails.hiding.link_hosts import Allowed, own_hosts
from guardrails.hiding.links import Links
from guardrails.hiding.restore import Placeholders, Restorer
from guardrails.hiding.vault import VAULT

_DEPTH = 32
MAX_PLACES = 1_024
"""Places in unknown events whose texts are followed. An answer with more gets nothing restored in further ones."""

_Key = tuple[str, int, int]
"""Text, Reasoning or ToolCall; the choice; the call, or -1."""


class Restore:
    """Transform. Not interested when nothing was masked, so an exchange without private data costs one look-up.

    `hosts`: what the operator lists as hosts whose links may have private values in them, with all below them."""

    name = "restore"
    consumes: tuple[Key[Any], ...] = (VAULT,)
    produces: tuple[Key[Any], ...] = ()

    def __init__(self, hosts: Iterable[str] = ()) -> None:
        self._hosts = tuple(hosts)

    def open(self, exchange: Exchange) -> Restoring | None:
        vault = exchange.facts.get(VAULT)
        if vault is None or not vault.values:
            return None
        values = vault.values
        return Restoring(values, exchange, Allowed(self._hosts, lambda: own_hosts(exchange.asked(), values)))


class Restoring:
    """One answer on its way back to the client. Each choice's text and reasoning, and each tool call, by itself."""

    waiting = False

    def __init__(self, values: Mapping[str, str], exchange: Exchange, allowed: Allowed) -> None:
        """`values` may grow: masking the answer of a target that was shown originals gives out placeholders too."""
        self._values = values
        self._known = Placeholders(values, allowed)
        self._exchange = exchange
        self._texts: dict[_Key, tuple[Restorer, Event]] = {}
        """The restorer, and the last event that fed it: the pattern for what is sent of the rest."""
        self._links: dict[_Key, Links] = {}
        """Where each text is. Outlives its restorer: a client joins what comes of it after another text."""
        self._places: dict[tuple[int, str], Links] = {}
        self._told = False

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
            self._tell()
        return (event,)

    def finish(self) -> Sequence[Event]:
        """Beginnings that never became a placeholder, as they stand."""
        rest = [event for choice in sorted({key[1] for key in self._texts}) for event in self._close(choice)]
        self._tell()
        return rest

    def _tell(self) -> None:
        """Once, and without a word of the text: how many values the client does not get to see."""
        refused = self._known.refused
        if refused and not self._told:
            self._told = True
            self._exchange.warnings.append(f"restore: {refused} placeholder(s) left in links to other hosts")

    async def settle(self) -> Sequence[Event]:
        return ()

    def _restorer(self, key: _Key, event: Event) -> Restorer:
        known = self._texts.get(key)
        if known:
            restorer = known[0]
        else:
            as_json = key[0] == "ToolCall"
            restorer = Restorer(self._known, as_json, self._links.setdefault(key, Links(as_json)))
        self._texts[key] = (restorer, event)
        return restorer

    def _switch(self, kind: str, event: Text | Reasoning | ToolCall, call: int) -> list[Event]:
        """What is held of another text of this choice goes out before this one begins, or a client that counts content
        blocks would see the first go on after its end."""
        stale = [key for key in self._texts if key[1] == event.choice and (key[0] != kind or key[2] != call)]
        return [rest for key in stale for rest in self._rest(key)]

    def _text(self, event: Text | Reasoning, key: _Key) -> Sequence[Event]:
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
        fields = self._deep(event.fields, event.choice, "", 0)
        return event if fields == event.fields else Unknown(fields, event.choice)

    def _deep(self, value: Any, choice: int, path: str, depth: int) -> Any:
        """A JSON value with placeholders restored in its strings. Whole strings only: pieces of one are left as they
        are. But strings at one place of an answer may be one text in pieces, so links are followed across them."""
        if isinstance(value, str):
            return self._restored(value, choice, path)
        if depth >= _DEPTH:
            return value
        if isinstance(value, dict):
            return {key: self._deep(item, choice, f"{path}.{key}", depth + 1) for key, item in value.items()}
        if isinstance(value, list):
            return [self._deep(item, choice, f"{path}[]", depth + 1) for item in value]
        return value

    def _restored(self, text: str, choice: int, path: str) -> str:
        links = self._places.get((choice, path))
        if links is None:
            if len(self._places) >= MAX_PLACES:
                return text
            links = self._places[choice, path] = Links()
        restorer = Restorer(self._known, links=links)
        return restorer.push(text) + restorer.finish()

    def _close(self, choice: int) -> list[Event]:
        return [rest for key in [key for key in self._texts if key[1] == choice] for rest in self._rest(key)]

    def _rest(self, key: _Key) -> list[Event]:
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
