"""The response side of one attempt: events through the sessions, in order, and out.

Pure but for `settle`, which a session may ask to be awaited. The rules:

- a frame whose events no session changed goes on as it came, with its bytes;
- nothing after `Blocked` or `Failed` goes on, and what sessions still hold is dropped;
- `Finished` goes last: each session is told of it, asked for what it holds, and only then the next one.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.core.events import Blocked, Event, Failed, Finished, Frame
from gateway.core.ports import Session

_FINISHED = Finished()


class Stream:
    """The sessions of one attempt at work. `ended` is the `Blocked` or `Failed` that stopped it, if any."""

    __slots__ = ("_sessions", "ended", "finished")

    def __init__(self, sessions: Sequence[Session]) -> None:
        self._sessions = tuple(sessions)
        self.ended: Blocked | Failed | None = None
        self.finished = False

    async def push(self, frame: Frame) -> Frame:
        """What of this frame may go on now. The same object if nothing changed."""
        events: Sequence[Event] = frame.events
        if self.ended is not None:
            return Frame(())
        whole = _has_end(events)
        if whole:
            events = tuple(event for event in events if type(event) is not Finished)
        out = await self._through(events, 0)
        if whole and self.ended is None:
            out = [*out, *await self._finish()]
        if not whole and _same(out, frame.events):
            return frame
        if whole and _same(out, (*events, _FINISHED)) and type(frame.events[-1]) is Finished:
            return frame
        return Frame(tuple(out), None, frame.dialect)

    async def _through(self, events: Sequence[Event], first: int) -> Sequence[Event]:
        for session in self._sessions[first:]:
            if not events:
                return events
            if len(events) == 1:  # as nearly always
                events = session.push(events[0])
                if session.waiting:
                    events = [*events, *await session.settle()]
                continue
            out: list[Event] = []
            for event in events:
                out.extend(session.push(event))
                if session.waiting:
                    out.extend(await session.settle())
            events = out
        for at, event in enumerate(events):
            if type(event) is Blocked or type(event) is Failed:
                self.ended = event
                return events[: at + 1]
        return events

    async def _finish(self) -> list[Event]:
        """Empties the sessions one after the other; what each gives still passes through the later ones."""
        out: list[Event] = []
        for at, session in enumerate(self._sessions):
            tail = [event for event in await _push(session, (_FINISHED,)) if type(event) is not Finished]
            tail.extend(session.finish())
            if session.waiting:
                tail.extend(await session.settle())
            out.extend(await self._through(tail, at + 1))
            if self.ended is not None:
                return out
        self.finished = True
        out.append(_FINISHED)
        return out


def _has_end(events: Sequence[Event]) -> bool:
    """A loop and no generator: this runs for every chunk of every stream."""
    for event in events:  # noqa: SIM110
        if type(event) is Finished:
            return True
    return False


async def _push(session: Session, events: Sequence[Event]) -> Sequence[Event]:
    out: list[Event] = []
    for event in events:
        out.extend(session.push(event))
        if session.waiting:
            out.extend(await session.settle())
    return out


def _same(out: Sequence[Event], events: Sequence[Event]) -> bool:
    if len(out) == 1 == len(events):
        return out[0] is events[0] or type(out[0]) is Finished is type(events[0])
    return len(out) == len(events) and all(
        a is b or (type(a) is Finished and a == b) for a, b in zip(out, events, strict=True)
    )
