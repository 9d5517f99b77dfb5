"""One row of the table of faults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from gateway.faults.play import Items, Play

#: clean: the body ends as HTTP says it should. cut: FIN before it has. reset: RST before it has.
#: hangs: neither, and it does not end. broken: what came is not HTTP.
Ends = Literal["clean", "cut", "reset", "hangs", "broken"]


@dataclass(frozen=True, slots=True)
class Seen:
    """What a client sees on its socket: the status (None: no status line came) and how the answer ends."""

    status: int | None = 200
    ends: Ends = "clean"

    def __str__(self) -> str:
        return f"{self.status or '-'} {self.ends}"


CLEAN, CUT, RESETS, HANGS = Seen(), Seen(200, "cut"), Seen(200, "reset"), Seen(200, "hangs")


@dataclass(frozen=True, slots=True)
class Fault:
    """A named misbehaviour: what it does in words, its play, and what is seen when the request streams and when not."""

    name: str
    says: str
    play: Play
    seen: Seen = CLEAN
    plain_seen: Seen = CLEAN


def row(
    name: str, says: str, items: Items, plain: Items | None = None, seen: Seen = CLEAN, plain_seen: Seen | None = None
) -> Fault:
    """A fault from its items; ``seen`` holds for both kinds of request unless ``plain_seen`` says otherwise."""
    return Fault(name, says, Play(items, plain), seen, plain_seen or seen)
