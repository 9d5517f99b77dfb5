"""Output checks on an answer's events: one session for all checks that hold back in the same way, whatever the dialect,
streamed or folded.

Text and reasoning go through the hold-back as they come; tool calls when their arguments are whole; events that no
codec understands are held until their choice ends and then looked at as a whole, because a forbidden thing said in a
new field is still said."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from gateway.core.errors import CheckFailed
from gateway.core.events import (
    Blocked,
    ChoiceFinished,
    Event,
    Failed,
    Finished,
    Reasoning,
    Started,
    Text,
    ToolCall,
    Unknown,
    Usage,
)
from gateway.core.exchange import Exchange
from guardrails.answered.merged import Known, Merged, Owned, Part
from guardrails.answered.rules import OutputRules
from guardrails.answered.tally import Tally
from guardrails.answered.tracks import CallTrack, Out, Overheld, ShownTrack, TextTrack
from guardrails.answered.unknown import UnknownTrack, strings
from guardrails.finding.scanner import Scanner, Whole
from guardrails.finding.spans import Span
from guardrails.hiding.vault import VAULT, unescaped

MAX_TRACKS = 512
"""Choices and tool calls that one answer may have; more is a broken upstream."""

Track = TextTrack | ShownTrack | CallTrack
Key = tuple[type[Event], int, int]
"""Of a track: the events' type, choice, and tool call or -1."""


class TooMany(Exception):
    """An answer of more choices and calls than may be."""


class Held:
    """A session that masks or blocks. Nothing a check forbids leaves it, unless it is `shown`.

    `whole`: every text is held to its end, so a block can also keep back what came before the span. `shown`: text goes
    out at once, and a block says that it must be taken back; tool calls are held all the same, for what a program has
    done cannot be. `tables` know the scanners of `parts`.
    """

    waiting = False

    def __init__(
        self,
        exchange: Exchange,
        rules: Sequence[OutputRules],
        parts: Sequence[Part],
        tables: Sequence[Known],
        *,
        whole: bool,
        shown: bool = False,
    ) -> None:
        self._exchange = exchange
        self._vault = exchange.facts.get(VAULT)
        self._rules = rules
        self._whole = whole
        self._shown = shown
        self._now: Callable[[], int] = exchange.clock.now
        self._streams = exchange.asked().stream
        self._tally = Tally(exchange, rules, "retract" if shown else "")
        self._merged = Merged(parts, tables, failed=self._tally.crashed, now=self._now)
        self._scanner: Scanner = Whole(self._merged) if whole else self._merged
        self._tracks: dict[Key, Track] = {}
        self._latest: Key | None = None
        """The track that took the last event; all others of its choice are done."""
        self._unknown: dict[int, UnknownTrack] = {}
        self._start = 0
        self._over = False
        """Blocked, crashed or finished: nothing more is looked at."""
        self._bypassed = False

    def push(self, event: Event) -> Sequence[Event]:
        if self._over:
            return (event,) if self._bypassed else ()
        self._start = self._now()
        try:
            kind = type(event)
            out = self._text(event) if kind is Text or kind is Reasoning or kind is ToolCall else self._push(event)  # type: ignore[arg-type]
        except CheckFailed:
            self._over = True
            raise
        except Exception as error:
            out = self._broken(event, error)
        self._tally.nanos += self._now() - self._start
        return out

    def finish(self) -> Sequence[Event]:
        try:
            return () if self._over else self._end()
        except CheckFailed:
            self._over = True
            raise

    async def settle(self) -> Sequence[Event]:
        return ()

    # --- for the tracks

    def passes(self, span: Span) -> bool:
        if type(span) is Owned and span.action == "flag":
            self._tally.count(span)
            return True
        return False

    def replacement(self, span: Span, original: str, as_json: bool) -> str | None:
        """The user's own value, which the vault knows, is theirs to see: it becomes their placeholder again. Anything else
        is the model's, and cannot be restored."""
        assert type(span) is Owned
        if span.action != "block" and self._vault is not None:
            own = self._vault.known(span.kind, unescaped(original) if as_json else original)
            if own is not None:
                return own
        self._tally.count(span)
        return None if span.action == "block" else f"[{span.kind}]"

    # --- events

    def _push(self, event: Event) -> Sequence[Event]:
        kind = type(event)
        if kind is Unknown:
            self._unknown.setdefault(event.choice, UnknownTrack(self._start)).push(event)  # type: ignore[attr-defined, arg-type]
            return ()
        if kind is Started or kind is Usage or kind is ChoiceFinished:
            out = self._close(event.choice) if kind is ChoiceFinished else []  # type: ignore[attr-defined]
            return out if self._over else [*out, self._beside(event)]
        if kind is Finished:
            rest = self._end()
            return rest if rest and type(rest[-1]) is Blocked else [*rest, event]
        if kind is Blocked or kind is Failed:
            self._over = True
        return (event,)

    def _text(self, event: Text | Reasoning | ToolCall) -> Sequence[Event]:
        if event.extra:
            seen = self._beside(event)
            if type(seen) is Blocked:
                return [seen]
            event = seen  # type: ignore[assignment]
        kind = type(event)
        key = (kind, event.choice, event.call if kind is ToolCall else -1)  # type: ignore[union-attr]
        out: list[Event] = []
        if key != self._latest:
            out = self._switch(key, event)
            if self._over:
                return out
        track = self._tracks.get(key) or self._track(key)
        since = track.since
        told = track.push(event, self._start)  # type: ignore[arg-type]
        if self._streams:
            if told and since is not None:
                self._waited(since)
            if track.held > self._exchange.held_chars:
                self._exchange.held_chars = track.held
        if track.stopped is not None:
            return [*out, *self._stopped(track, told)]
        return [*out, *told] if out else told

    def _switch(self, key: Key, event: Text | Reasoning | ToolCall) -> list[Event]:
        """A text ends where another kind of content of its choice begins: Anthropic's stream closes its block there,
        and what is held must be out before. So a span is not seen across such a change."""
        out: list[Event] = []
        kind, choice, _ = key
        if kind is not ToolCall and not event.text:  # type: ignore[union-attr]
            return out
        self._latest = key
        for other in [other for other in self._tracks if other[1] == choice and other[0] is not kind]:
            out += self._drain(self._tracks.pop(other))
        return out

    def _track(self, key: Key) -> Track:
        if len(self._tracks) >= MAX_TRACKS:
            raise TooMany
        kind, choice, _ = key
        if kind is ToolCall:
            track: Track = CallTrack(self._scanner, self)
        elif self._shown:
            track = ShownTrack(self._scanner, self)
        else:
            made: type[Text] | type[Reasoning] = Text if kind is Text else Reasoning
            free = None if self._whole else self._merged.free
            track = TextTrack(self._scanner, self, lambda text, extra: made(text, choice, extra), free)
        self._tracks[key] = track
        return track

    def _drain(self, track: Track) -> Sequence[Event]:
        if self._over:
            return ()
        since = track.since
        told = track.finish()
        if told and since is not None:
            self._waited(since)
        return told if track.stopped is None else self._stopped(track, told)

    def _waited(self, since: int) -> None:
        if self._streams and self._start - since > self._exchange.held:
            self._exchange.held = self._start - since

    def _stopped(self, track: Track, told: Out) -> Sequence[Event]:
        stop = track.stopped
        assert type(stop) is Owned
        blocked = self._block(stop, retract=type(track) is ShownTrack)
        return [blocked] if self._whole else [*told, blocked]

    def _block(self, span: Owned, *, retract: bool = False) -> Blocked:
        self._over = True
        self._tally.stopped(span.owner, self._merged.spent, self._now() - self._start)
        rules = self._rules[span.owner]
        return Blocked(rules.name, rules.category, remedies=rules.remedies, retract=retract)

    def _beside(self, event: Event) -> Event:
        """The event, without the fields beside its text if they say what is forbidden."""
        fields = {name: value for name in ("extra", "raw") if (value := getattr(event, name, None))}
        spans = self._merged.find("\n".join(text for _, text in strings(fields))) if fields else ()
        acting = [span for span in spans if not self.passes(span)]
        for span in acting:
            self._tally.count(span)  # type: ignore[arg-type]
            if span.action == "block":  # type: ignore[attr-defined]
                return self._block(span)  # type: ignore[arg-type]
        return msgspec.structs.replace(event, **dict.fromkeys(fields)) if acting else event

    def _close(self, choice: int) -> list[Event]:
        out: list[Event] = []
        for key in [key for key in self._tracks if key[1] == choice]:
            out += self._drain(self._tracks.pop(key))
        self._latest = None
        track = self._unknown.pop(choice, None)
        if track is None or self._over:
            return out
        acting = [span for span in track.spans(self._merged) if not self.passes(span)]
        for span in acting:
            self._tally.count(span)  # type: ignore[arg-type]
            if span.action == "block":  # type: ignore[attr-defined]
                return [*out, self._block(span)]  # type: ignore[arg-type]
        if not acting:
            self._waited(track.since)
            out += track.events
        return out

    def _end(self) -> Sequence[Event]:
        out: list[Event] = []
        for choice in sorted({key[1] for key in self._tracks} | set(self._unknown)):
            out += self._close(choice)
            if self._over:
                return out
        self._over = self._bypassed = True
        self._tally.passed(self._merged.spent, self._now() - self._start)
        return out

    # --- what fails

    def _broken(self, event: Event, error: Exception) -> Sequence[Event]:
        """The answer cannot be held, so none of the checks can look at it."""
        self._over = True
        reason = "too_long" if isinstance(error, Overheld) else "too_many" if isinstance(error, TooMany) else "crashed"
        left = [owner for owner in range(len(self._rules)) if not self._tally.is_lost(owner)]
        self._tally.failed(left, reason)
        self._bypassed = True
        out: list[Any] = []
        for track in self._tracks.values():
            out += track.release()
        for unknown in self._unknown.values():
            out += unknown.events
        return out if any(other is event for other in out) else [*out, event]
