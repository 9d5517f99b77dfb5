"""How hard a request looks: a score that anybody can work out with a pencil, from the words alone.

It adds up a few signs, each bounded, to a number of 0 to 1. It knows nothing of how good any model is at anything: whether
the large model is needed above a score is for the operator to find out on traffic of his own. No encoder is used, and the
same conversation always has the same score, whichever process looks at it.
"""

from __future__ import annotations

import math
from itertools import islice
from typing import Any

import msgspec
import re2

from gateway.core.request import Request
from routing.needs import needs

_LONGEST = 4000
"""Characters looked at of one user turn."""
_MOST_CHARS = 12_000
"""Of all of them."""
_MOST_TURNS = 16
"""User turns looked at, newest first."""
_LONG_WORDS = 400
"""Words of one turn from which length counts in full."""
_LONG_HISTORY = 60_000
"""Characters of everything from which it counts in full."""

LENGTH, HISTORY, CODE, MATHS, STEPS, TOOLS, OUTPUT, QUESTIONS = 0.35, 0.1, 0.4, 0.4, 0.5, 0.15, 0.1, 0.1
"""The most that each sign adds. None reaches 0.6 by itself: it takes code and something to do with it, or several steps
told at some length."""
_MOST_MATCHES = 64
"""Looked at of one sign in one turn."""

_CODE = re2.compile(
    r"```|\b(?:def|class|import|function|const|SELECT|struct|public|void|lambda|async|await|printf|println)\b[^.?!\n]*[({;:=]"
    r"|[{};]\s*\n|=>|==|!=|\b\w+\.\w+\(|\bTraceback\b|\bException\b|#include|</\w+>"
)
_MATHS = re2.compile(
    r"(?i)\\(?:frac|sum|int|sqrt|begin|mathbb)\b|[∑∫√≤≥≠±∞∂∇∈∀∃]|\b[a-z]\s*[\^=]\s*[-\d(a-z]|\d\s*[*/^]\s*\d"
    r"|\b(?:prove|proof|theorem|lemma|integral|derivative|differentiate|eigenvalues?|matrix|equations?|probability"
    r"|polynomial|converges?|logarithm|combinatorics?|modulo)\b"
)
_STEPS = re2.compile(
    r"(?is)\b(?:step[- ]by[- ]step|first\b.{1,200}\bthen|trade-?offs?|pros and cons|compare|contrast|analy[sz]e|evaluate"
    r"|critique|design|architect(?:ure)?|plan|strategy|derive|explain (?:why|how)|root cause|debug|refactor|optimi[sz]e"
    r"|implement|migrate|rewrite|summari[sz]e .{1,80} and|for each|taking into account|subject to|constraints?"
    r"|requirements?)\b"
)
_ENOUGH_STEPS = 4
_ENOUGH_SIGNS = 3


class Complexity(msgspec.Struct, frozen=True):
    """`score`: 0 to 1, the sum of `parts`: sign to what it added, those that added nothing left out."""

    score: float
    parts: dict[str, float]


def complexity(request: Request) -> Complexity:
    """The hardest user turn's own signs, and what the request as a whole adds. So a conversation that goes on does not
    become easier: a turn that was hard is still in it."""
    turns = _turns(request)
    hardest = max((_of_text(text) for text in turns), key=lambda parts: sum(parts.values()), default={})
    parts = hardest | _of_request(request)
    parts = {name: round(value, 3) for name, value in parts.items() if value >= 0.001}
    return Complexity(round(min(1.0, sum(parts.values())), 3), parts)


def _turns(request: Request) -> list[str]:
    """The newest user turns' texts."""
    texts: dict[int, list[str]] = {}
    for slot in request.slots:
        if slot.role == "user" and slot.kind == "text":
            texts.setdefault(slot.turn, []).append(slot.text[:_LONGEST])
    found: list[str] = []
    room = _MOST_CHARS
    for turn in sorted(texts, reverse=True)[:_MOST_TURNS]:
        if room <= 0:
            break
        text = "\n".join(texts[turn])[: min(_LONGEST, room)]
        room -= len(text)
        found.append(
            text.encode("utf-8", "replace").decode("utf-8")
        )  # RE2 takes no lone surrogates, which JSON can hold
    return found


def _of_text(text: str) -> dict[str, float]:
    words = len(text.split())
    return {
        "length": LENGTH * min(1.0, math.log1p(words) / math.log1p(_LONG_WORDS)) ** 2,
        "code": CODE * _share(_CODE, text, _ENOUGH_SIGNS),
        "maths": MATHS * _share(_MATHS, text, _ENOUGH_SIGNS),
        "steps": STEPS * _share(_STEPS, text, _ENOUGH_STEPS),
        "questions": QUESTIONS * min(1.0, max(0, text.count("?") - 1) / 3),
    }


def _share(pattern: Any, text: str, enough: int) -> float:
    """How many different signs there are, against `enough` of them; one weighs half of all."""
    seen = set()
    for match in islice(pattern.finditer(text), _MOST_MATCHES):
        seen.add(match[0][:24].lower())
        if len(seen) >= enough:
            return 1.0
    return 0.5 + 0.5 * (len(seen) - 1) / (enough - 1) if seen else 0.0


def _functions(tool: Any) -> int:
    """One entry is one tool, save where it declares several functions."""
    declared = tool.get("functionDeclarations") if type(tool) is dict else None
    return len(declared) if type(declared) is list else 1


def _of_request(request: Request) -> dict[str, float]:
    wanted = needs(request)
    tools = request.body.get("tools")
    count = sum(map(_functions, tools)) if type(tools) is list else 0
    size = sum(len(slot.text) for slot in request.slots)
    return {
        "history": HISTORY * min(1.0, size / _LONG_HISTORY),
        "tools": TOOLS * min(1.0, count / 5),
        "output": OUTPUT * bool({"json", "json_schema"} & wanted.keys()),
    }
