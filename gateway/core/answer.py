"""What a decider may end the phase with. Short circuits are values: a refusal is an answer like any other."""

from __future__ import annotations

from typing import Literal

import msgspec

from gateway.core.response import Response

AnswerKind = Literal["generated", "cached", "semantic", "canned", "clarify", "handoff", "refused"]


class Refusal(msgspec.Struct, frozen=True):
    """Why a request was refused, in words that are safe to show. Told as 400 with code `content_filter`."""

    check: str
    category: str
    message: str


class Handoff(msgspec.Struct, frozen=True):
    """A person takes over."""

    team: str
    """Who: a name of the operator's."""
    reason: str
    """Why, as a short rule name: `intent:billing_error`, `phrase`, `anger`, `turns`, `check:grounded`. No user text."""


class Answer(msgspec.Struct, frozen=True):
    """An answer found without calling a model (`generated` is what dispatch makes).

    `response` is set for every kind but `refused`, which has `refusal`. `headers` go to the client as they stand.
    """

    kind: AnswerKind
    response: Response | None = None
    refusal: Refusal | None = None
    headers: dict[str, str] = {}
    handoff: Handoff | None = None
    """A person takes over, once this answer is the one that is given."""
