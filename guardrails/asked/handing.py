"""An input check's hit, as an answer that hands the conversation over to a person."""

from __future__ import annotations

from gateway.core.answer import Answer, Handoff
from gateway.core.exchange import Exchange
from guardrails.asked.screen import InputCheck

SAID = "I am handing this over to a person."


def handed_over(exchange: Exchange, check: InputCheck, reason: str) -> Answer:
    """A 200 like any other, without a call of a model; the desk is told by the spine. `reason`: the check's rule."""
    team, words = check.handover or ("", "")
    return Answer(
        kind="handoff",
        response=exchange.says(words or SAID),
        headers={"x-tidegate-handoff": team},
        handoff=Handoff(team, f"{check.name}:{reason}" if reason else check.name),
    )
