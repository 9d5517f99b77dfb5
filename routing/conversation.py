"""What the router reads of a conversation: the user's latest words, and enough before them to understand them."""

from __future__ import annotations

import re

import msgspec

from gateway.core.request import Request, Slot

_MOST_CHARS = 4000
"""Of one turn. The encoder looks at less."""
_FEW_WORDS = 3
_SHORT = 6
_POINTING = frozenset(
    ["it", "its", "that", "this", "those", "these", "them", "they", "one", "ones", "there", "he", "she", "him", "her"]
)
_GOING_ON = ("and ", "or ", "but ", "so ", "what about", "how about", "what if", "why", "how come", "instead", "also ")
# fmt: off
_COURTESY = frozenset([
    "hi", "hello", "hey", "bye", "goodbye", "thanks", "thank", "you", "thx", "cheers", "ok", "okay", "cool", "great",
    "nice", "good", "perfect", "yes", "yeah", "yep", "no", "nope", "please", "sure", "fine", "right", "done", "got", "it",
])
# fmt: on
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")


class Turn(msgspec.Struct, frozen=True, gc=False):
    """`text`: the latest user turn; `before`: the user turn before it; `reply`: what was last said to the user in
    between. Empty where there is none. `in_tools`: a tool has answered since, so the model is in the middle of its work.
    `said`: every assistant text, oldest first."""

    text: str
    before: str
    reply: str
    in_tools: bool
    said: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Turn({len(self.text)} characters, in_tools={self.in_tools})"


def turn_of(request: Request) -> Turn | None:
    """None when the user has written nothing: images only, or no user turn at all."""
    users: dict[int, list[Slot]] = {}
    said: list[tuple[int, str]] = []
    tool = -1
    for slot in request.slots:
        if slot.role == "user" and slot.kind == "text":
            users.setdefault(slot.turn, []).append(slot)
        elif slot.role == "assistant" and slot.kind == "text":
            said.append((slot.turn, slot.text[:_MOST_CHARS]))
        elif slot.role == "tool" and slot.turn > tool:
            tool = slot.turn
    if not users:
        return None
    turns = sorted(users)
    latest = turns[-1]
    text = _text(users[latest])
    if not text:
        return None
    before = _text(users[turns[-2]]) if len(turns) > 1 else ""
    reply = next((words for turn, words in reversed(said) if turn < latest), "")
    return Turn(text, before, reply, tool >= latest, tuple(words for _, words in said))


def leans_on_before(text: str) -> bool:
    """The words alone may not say what is meant: they point back (`and how do I cancel it?`) or are very few."""
    lower = text.lower()
    words = _WORD.findall(lower[:200])
    if len(words) > _SHORT:
        return False
    if lower.startswith(_GOING_ON) or not _POINTING.isdisjoint(words):
        return not _COURTESY.issuperset(words)
    return len(words) <= _FEW_WORDS and not _COURTESY.issuperset(words)


def normal(text: str) -> str:
    """Lower case, words only: two ways of typing the same utterance are one."""
    return " ".join(_WORD.findall(text.casefold()[:_MOST_CHARS]))


def _text(slots: list[Slot]) -> str:
    out: list[str] = []
    room = _MOST_CHARS
    for slot in slots:
        if room <= 0:
            break
        out.append(slot.text[:room])
        room -= len(out[-1])
    return "\n".join(out).strip()
