"""When a person should take over: the user asks for one, is angry, or has asked too often."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from gateway.core.request import Request
from guardrails.asked.anger import anger
from guardrails.finding.automaton import Phrases

PHRASES = (
    "talk to a human", "speak to a human", "speak with a human", "talk to a person", "speak to a person",
    "talk to a real person", "speak to a real person", "talk to someone real", "human agent", "live agent",
    "real human", "customer service representative", "talk to an agent", "speak to an agent", "speak to a representative",
    "talk to a representative", "speak to your manager", "speak to a manager", "talk to a manager", "talk to your manager",
    "connect me to a human", "connect me to an agent", "transfer me to", "call me back", "let me talk to somebody",
    "let me speak to someone", "operator please",
    "mit einem menschen sprechen", "mit einem mitarbeiter sprechen", "echten menschen", "menschlichen mitarbeiter",
    "parler à un humain", "parler à une personne", "parler à un conseiller", "un vrai humain",
    "hablar con una persona", "hablar con un agente", "hablar con un humano",
    "parlare con un operatore", "parlare con una persona", "falar com um humano", "falar com um atendente",
    "falar com uma pessoa", "met een medewerker spreken", "met een mens praten",
)  # fmt: skip
"""How people ask for people. `phrases:` adds to these."""

_NEGATED = re.compile(r"(?:don['’]?t|do not|no need to|not|without)\s+(?:\w+\s+){0,3}$", re.IGNORECASE)


class Triggers(msgspec.Struct, frozen=True, kw_only=True):
    """What sets off a hand-over; None or empty: does not."""

    phrases: Phrases | None = None
    anger: float | None = None
    """From this score on."""
    turns: int | None = None
    """From this many turns of the user on."""

    def reason(self, request: Request) -> str:
        """Why a person should take over: `phrase`, `anger`, `turns`, or ""."""
        said = latest(request)
        if self.phrases is not None and _asked(self.phrases, said):
            return "phrase"
        if self.anger is not None and anger(said) >= self.anger:
            return "anger"
        if self.turns is not None and turns(request) >= self.turns:
            return "turns"
        return ""


def latest(request: Request) -> str:
    """What the user said last."""
    return "\n".join(slot.text for slot in request.latest_user())


def _asked(phrases: Phrases, said: str) -> bool:
    """ "I don't want to talk to a human" is no wish for one."""
    return any(not _NEGATED.search(said[max(0, span.start - 48) : span.start]) for span in phrases.find(said))


def turns(request: Request) -> int:
    """How many messages the user has written in this conversation."""
    return len({slot.turn for slot in request.slots if slot.role == "user"})


def asking_phrases(own: Sequence[str] | None) -> Phrases:
    return Phrases([*PHRASES, *(own or ())], kind="HANDOVER")
