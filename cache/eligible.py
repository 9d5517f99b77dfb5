"""Which requests the semantic cache may answer at all. Deny by default: one plain question and nothing else.

Safety does not rest on these rules (all else in the body is part of the partition); being right does.
"""

from __future__ import annotations

from typing import Any

import msgspec

from cache.key import Scope
from cache.text import normalise
from cache.words import FILLER, FLEETING, PERSONAL, POINTING, SHOWN
from gateway.core.exchange import Exchange
from gateway.core.request import Request, Slot

MAX_BYTES = 320
"""Of the question. The encoder cuts its input (at 128 word pieces, which are 2.6 bytes and more in any Latin script); two
long texts that differ only beyond the cut would have one vector."""

_LIVE = ("tools", "functions", "tool_choice", "web_search_options", "plugins")
"""Fields with which an answer depends on more than the text."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The route's own limits."""

    scope: Scope
    max_temperature: float = 1.0
    """A request that asks for more wants variety. One that does not say is taken as fine."""


def question_of(exchange: Exchange, limits: Limits) -> Slot | str:
    """The slot with the question, or the reason why the semantic cache has no part in this request."""
    request = exchange.asked()
    if request.operation != "chat":
        return "operation"
    reason = _asks_more(request, limits)
    if reason:
        return reason
    turns = _turns(request)
    if len(turns) != 1 or any(slot.role not in ("system", "user") for slot in request.slots):
        return "multi_turn"
    users = [slot for slot in request.slots if slot.role == "user"]
    if len(users) != 1 or users[0].kind != "text" or _has_company(turns[0], users[0]):
        return "attachment"
    if any(verdict.side == "input" and verdict.action == "mask" and verdict.count for verdict in exchange.verdicts):
        return "private"
    return unfit(users[0].text, limits.scope) or users[0]


def unfit(text: str, scope: Scope) -> str:
    """Why a question by its words alone must not be answered from a similar one's answer; empty if it may."""
    if len(text) > MAX_BYTES or len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        return "long"
    if "```" in text or text.count("\n") > 2:
        return "structured"
    plain = normalise(text)
    if any(ord(letter) > 0x24F and letter.isalpha() for letter in plain):
        return "script"  # an encoder taught on Latin script hears other scripts as noise, and all noise is alike
    words = plain.replace(",", " ").replace("?", " ").replace(".", " ").split()
    if len([word for word in words if word not in FILLER]) < 2:
        return "short"
    said = frozenset(words)
    if said & FLEETING:
        return "fleeting"
    if said & POINTING and _points_outside(words, scope):
        return "pointing"
    if scope != "user" and said & PERSONAL:
        return "personal"
    return ""


def _points_outside(words: list[str], scope: Scope) -> bool:
    """`this` and `these` before a noun ("this fee", "these cards") are mostly the asker's own, known from the question;
    alone, or before what can be shown or pasted, they are not. Beyond one user every pointing word counts."""
    for at, word in enumerate(words):
        if word in POINTING:
            after = words[at + 1] if at + 1 < len(words) else ""
            if scope != "user" or word not in ("this", "these") or not after or after in FILLER or after in SHOWN:
                return True
    return False


def _asks_more(request: Request, limits: Limits) -> str:
    body = request.body
    if any(body.get(name) for name in _LIVE):
        return "tools"
    inner = body.get("generationConfig")
    config = inner if isinstance(inner, dict) else {}
    if body.get("n") not in (None, 1) or config.get("candidateCount") not in (None, 1):
        return "many_choices"
    temperature = body.get("temperature", config.get("temperature"))
    if isinstance(temperature, int | float) and temperature > limits.max_temperature:
        return "temperature"
    return ""


def _turns(request: Request) -> list[Any]:
    """The conversation as it stands in the body: turns without text (a call of a tool, an image) have no slot."""
    turns = request.body.get("messages", request.body.get("contents"))
    return [turn for turn in turns if _role(turn) not in ("system", "developer")] if isinstance(turns, list) else []


def _role(turn: Any) -> Any:
    return turn.get("role") if isinstance(turn, dict) else None


def _has_company(turn: Any, slot: Slot) -> bool:
    """The question's message has other parts: an image, a file, a second text. A shape we do not know counts as such."""
    if turn is slot.holder:
        return False
    parts = turn.get("content", turn.get("parts")) if isinstance(turn, dict) else None
    return not (isinstance(parts, list) and len(parts) == 1 and parts[0] is slot.holder)
