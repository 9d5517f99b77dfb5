"""Which of a model's targets is first: by weight at random, or by weight and always the same for one conversation."""

from __future__ import annotations

import random
from collections.abc import Sequence
from hashlib import blake2b

from gateway.core.exchange import Exchange
from gateway.core.plan import ModelPlan, Target

_WHOLE = 1 << 64


def weighed(model: ModelPlan, exchange: Exchange, rng: random.Random) -> Sequence[Target]:
    """The chosen one first, the others after it in the order written."""
    targets = model.targets
    if len(targets) == 1:
        return targets
    who = _stays(model, exchange)
    point = _point(model.alias, who) if who else rng.random()
    first = _at(targets, point * sum(target.weight for target in targets))
    return [first, *(target for target in targets if target is not first)]


def _at(targets: Sequence[Target], point: float) -> Target:
    """Whose share of the weights holds the point. The shares lie in the order written, so that a weight that is raised
    moves as few as it must."""
    able = [target for target in targets if target.weight]
    for target in able:
        point -= target.weight
        if point < 0:
            return target
    return able[-1]


def _stays(model: ModelPlan, exchange: Exchange) -> str:
    """What keeps to one target; empty: nothing does."""
    if model.sticky == "session":
        return exchange.session or exchange.headers.get("x-claude-code-session-id", "")[:128]
    return exchange.user if model.sticky == "user" else ""


def _point(alias: str, who: str) -> float:
    """From 0 to under 1, the same in every process."""
    return int.from_bytes(blake2b(f"{alias}\0{who}".encode("utf-8", "replace"), digest_size=8).digest()) / _WHOLE
