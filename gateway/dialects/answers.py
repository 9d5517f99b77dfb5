"""How many answers a request asks for, as its dialect says it."""

from __future__ import annotations

from gateway.core.request import Request


def answers(request: Request) -> int:
    """At least 1, which is also what a request asks for that does not say."""
    config = request.body.get("generationConfig")
    for given in (request.body.get("n"), config.get("candidateCount") if type(config) is dict else None):
        if type(given) is int and given > 0:
            return given
    return 1
