"""A conversation made to fit: the oldest exchanges left out, then retrieved text cut from its end.

What is never touched: instructions, the newest user turns with all that followed them, and the tie between a tool's call
and its result, since a user turn goes only together with everything up to the next one. What is said is never rewritten.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from gateway.core.copying import clone
from gateway.core.request import Request, Slot
from gateway.core.tokens import MEDIA_TOKENS, TURN_TOKENS, media_of, text_tokens, turns_field, turns_of

CUT = "[cut]"
"""Ends a retrieved text that was cut: no provider takes an empty one, and the model should know."""
_MARK_TOKENS = 2
_WORD_END = 200
"""Characters gone back to end at a word."""
_INSTRUCTIONS = frozenset({"system", "developer"})


class Shortened(msgspec.Struct, frozen=True):
    """`request`: a copy, the original is as it was. `turns`: messages left out; `characters`: of retrieved text; `tokens`:
    of the estimate that are gone."""

    request: Request
    turns: int
    characters: int
    tokens: float


def shorten(request: Request, too_many: float, keep: int) -> Shortened:
    """`too_many`: estimated tokens to lose; `keep`: newest user turns that stay. Loses less where there is no more."""
    gone, lost = _oldest(request, too_many, keep)
    made = clone(request)
    if gone:
        name = turns_field(made.body)
        made.body[name] = [turn for at, turn in enumerate(turns_of(made)) if at not in gone]
        prefixes = {f"{name}[{at}]" for at in gone}
        made.slots = [slot for slot in made.slots if slot.path[: slot.path.find("]") + 1] not in prefixes]
    characters = 0
    for slot in reversed([slot for slot in made.slots if slot.role == "retrieved"]):
        if lost >= too_many:
            break
        tokens, cut = _cut(slot, too_many - lost)
        lost, characters = lost + tokens, characters + cut
    return Shortened(made, len(gone), characters, lost)


def _oldest(request: Request, too_many: float, keep: int) -> tuple[set[int], float]:
    """The messages to leave out, whole exchanges at a time, and their tokens."""
    turns = turns_of(request)
    name = turns_field(request.body)
    costs = [float(TURN_TOKENS + MEDIA_TOKENS * media_of(turn)) for turn in turns]
    for slot in request.slots:
        if slot.turn < len(turns) and slot.path.startswith(f"{name}[{slot.turn}]"):
            costs[slot.turn] += text_tokens(slot.text)
    groups = list(_groups(turns))
    gone: set[int] = set()
    lost = 0.0
    for group in groups[: max(0, len(groups) - max(1, keep))]:
        if lost >= too_many:
            break
        gone.update(group)
        lost += sum(costs[at] for at in group)
    return gone, lost


def _groups(turns: list[Any]) -> Iterator[list[int]]:
    """Each user turn with all that follows it; what stands before the first is one by itself. Instructions are in none."""
    group: list[int] = []
    for at, turn in enumerate(turns):
        role = turn.get("role", "user" if "parts" in turn else None) if type(turn) is dict else None
        if role in _INSTRUCTIONS:
            continue
        if role == "user" and not _is_result(turn) and group:
            yield group
            group = []
        group.append(at)
    if group:
        yield group


def _is_result(turn: Any) -> bool:
    """A user message that holds the results of tools goes on with the turn that called them."""
    parts = turn.get("content", turn.get("parts"))
    return type(parts) is list and any(
        type(part) is dict and (part.get("type") == "tool_result" or "functionResponse" in part) for part in parts
    )


def _cut(slot: Slot, too_many: float) -> tuple[float, int]:
    """The slot's text without its end; tokens and characters lost."""
    text = slot.text
    before = text_tokens(text)
    wanted = before - too_many - _MARK_TOKENS
    if before <= _MARK_TOKENS:
        return 0.0, 0
    end = max(0, int(len(text) * wanted / before))
    while end and text_tokens(text[:end]) > wanted:
        end = end * 9 // 10
    end = _at_word(text, end)
    slot.replace(f"{text[:end].rstrip()} {CUT}".lstrip())
    return before - text_tokens(slot.text), len(text) - end


def _at_word(text: str, end: int) -> int:
    """A little earlier, where a word ends: never inside a placeholder, which has no blank in it."""
    for at in range(end, max(0, end - _WORD_END), -1):
        if text[at : at + 1].isspace() or at == len(text):
            return at
    opened = text.rfind("[[", max(0, end - _WORD_END), end)
    return opened if opened >= 0 and "]]" not in text[opened:end] else end
