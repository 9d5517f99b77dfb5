"""Output checks on an answer's events: one session for each check and exchange, whatever the dialect, streamed or
folded.

Text and reasoning go through the hold-back as they come; tool calls when their arguments are whole; events that no
codec understands are held until their choice ends and then looked at as a whole, because a forbidden thing said in a
new field is still said."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from gateway.core.errors import CheckFailed
from gateway.core.events import Blocked, ChoiceFinished, Event, Failed, Finished, Reasoning, Text, ToolCall, Unknown
from gateway.core.exchange import Exchange
from gateway.core.verdict import Action, Verdict
from guardrails.scanner import Scanner
from guardrails.tracks import CallTrack, Out, TextTrack
from guardrails.unknown import UnknownTrack, strings
from guardrails.vault import VAULT, unescaped

MAX_TRACKS = 512
"""Choices and tool calls that one answer may have; more is a broken upstream."""

Track = TextTrack | CallTrack


class Held:
    """A session that masks or blocks. Nothing a check forbids leaves it.

    `whole`: the scanner holds every text to its end, so a block can also keep back what came before the span.
    """

    waiting = False

    def __init__(
        self,
        exchange: Exchange,
        name: str,
        category: str,
        scanner: Scanner,
        action: Action,
        *,
        closed: bool,
        whole: bool,
    ) -> None:
        self._exchange = exchange
        self._vault = exchange.facts.get(VAULT)
        self._name = name
        self._category = category
        self._scanner = scanner
        self._action = action
        self._closed = closed
        self._whole = whole
        self._streams = exchange.asked().stream
        self._tracks: dict[tuple[str, int, int], Track] = {}
        self._unknown: dict[int, UnknownTrack] = {}
        self._count = 0
        self._micros = 0
        self._over = False
        """Blocked, crashed or finished: nothing more is looked at."""
        self._bypassed = False

    def push(self, event: Event) -> Sequence[Event]:
        if self._over:
            return (event,) if self._bypassed else ()
        start = self._exchange.clock.now()
        try:
            out = self._push(event)
        except CheckFailed:
            raise
        except Exception:
            out = self._crashed(event)
        self._micros += (self._exchange.clock.now() - start) // 1000
        return out

    def finish(self) -> Sequence[Event]:
        return () if self._over else self._end()

    async def settle(self) -> Sequence[Event]:
        return ()

    def replacement(self, kind: str, original: str, as_json: bool) -> str | None:
        """For the tracks: what to send instead of a span. The user's own value, which the vault knows, is theirs to
        see: it becomes their placeholder again. Anything else is the model's, and cannot be restored."""
        self._count += 1
        if self._action == "block":
            return None
        own = self._vault.known(kind, unescaped(original) if as_json else original) if self._vault is not None else None
        if own is not None:
            self._count -= 1
            return own
        return f"[{kind}]"

    def _push(self, event: Event) -> Sequence[Event]:
        kind = type(event)
        if kind is Text or kind is Reasoning or kind is ToolCall:
            return self._text(event)  # type: ignore[arg-type]
        if kind is Unknown:
            self._unknown.setdefault(event.choice, UnknownTrack()).push(event)  # type: ignore[attr-defined, arg-type]
            return ()
        if kind is ChoiceFinished:
            out = self._close(event.choice)  # type: ignore[attr-defined]
            return out if self._over else [*out, event]
        if kind is Finished:
            rest = self._end()
            return rest if rest and type(rest[-1]) is Blocked else [*rest, event]
        if kind is Blocked or kind is Failed:
            self._over = True
        return (event,)

    def _text(self, event: Text | Reasoning | ToolCall) -> Sequence[Event]:
        if event.extra and any(self._scanner.find(text) for _, text in strings(event.extra)):
            self._count += 1
            if self._action == "block":
                return [self._block()]
            event = msgspec.structs.replace(event, extra=None)
        out = self._switch(event)
        if self._over:
            return out
        track = self._track(event)
        out += self._stopped(track, track.push(event))  # type: ignore[arg-type]
        if self._streams and track.held > self._exchange.held_chars:
            self._exchange.held_chars = track.held
        return out

    def _switch(self, event: Text | Reasoning | ToolCall) -> list[Event]:
        """A text ends where another kind of content of its choice begins: Anthropic's stream closes its block there,
        and what is held must be out before. So a span is not seen across such a change."""
        out: list[Event] = []
        if type(event) is not ToolCall and not event.text:  # type: ignore[union-attr]
            return out
        kind = type(event).__name__
        for key in [key for key in self._tracks if key[1] == event.choice and key[0] != kind]:
            out += self._drain(self._tracks.pop(key))
        return out

    def _track(self, event: Text | Reasoning | ToolCall) -> Track:
        call = event.call if type(event) is ToolCall else -1
        key = (type(event).__name__, event.choice, call)
        track = self._tracks.get(key)
        if track is None:
            if len(self._tracks) >= MAX_TRACKS:
                raise ValueError("too many choices")
            track = self._tracks[key] = self._new_track(event)
        return track

    def _new_track(self, event: Text | Reasoning | ToolCall) -> Track:
        choice = event.choice
        if type(event) is ToolCall:
            return CallTrack(self._scanner, self)
        made: type[Text] | type[Reasoning] = Text if type(event) is Text else Reasoning
        return TextTrack(self._scanner, self, lambda text, extra: made(text, choice, extra))

    def _drain(self, track: Track) -> Sequence[Event]:
        return self._stopped(track, track.finish()) if not self._over else ()

    def _stopped(self, track: Track, out: Out) -> Sequence[Event]:
        if track.stopped is None:
            return out
        return [self._block()] if self._whole else [*out, self._block()]

    def _block(self) -> Blocked:
        self._over = True
        self._verdict("block")
        return Blocked(self._name, self._category)

    def _close(self, choice: int) -> list[Event]:
        out: list[Event] = []
        for key in [key for key in self._tracks if key[1] == choice]:
            out += self._drain(self._tracks.pop(key))
        track = self._unknown.pop(choice, None)
        if track is not None and not self._over:
            events, hits = track.finish(self._scanner)
            self._count += hits
            if hits and self._action == "block":
                return [*out, self._block()]
            out += events
        return out

    def _end(self) -> Sequence[Event]:
        out: list[Event] = []
        for choice in sorted({key[1] for key in self._tracks} | set(self._unknown)):
            out += self._close(choice)
            if self._over:
                return out
        self._over = self._bypassed = True
        self._verdict(self._action if self._count else "allow")
        return out

    def _verdict(self, action: Action, reason: str = "") -> None:
        self._exchange.verdicts.append(
            Verdict(self._name, action, "output", self._count, self._category, None, reason, self._micros)
        )

    def _crashed(self, event: Event) -> Sequence[Event]:
        """The check itself failed. Never taken for "passed": closed ends the answer, open lets go and says so."""
        self._over = True
        self._verdict("not_scanned", "crashed")
        if self._closed:
            raise CheckFailed(f"The check {self._name!r} could not look at the answer, so it may not pass.") from None
        self._bypassed = True
        self._exchange.degraded.append(f"guardrail:{self._name}")
        out: list[Event] = []
        for track in self._tracks.values():
            out += track.release()
        for unknown in self._unknown.values():
            out += unknown.events
        return [*out, *(() if _held_already(event, out) else (event,))]


def _held_already(event: Event, out: Sequence[Event]) -> bool:
    return any(other is event for other in out)
