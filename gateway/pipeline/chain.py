"""Which model is asked after which, and why: the plan as one exchange goes through it.

A fault that any other model might mend goes on along the chain. Two causes have chains of their own, because only some
models can mend them: a prompt that is too long, and a content filter of the upstream's.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.core.errors import ContentRefused, ContextOverflow, GatewayFault
from gateway.core.events import Remedy
from gateway.core.plan import ModelPlan, Plan

_DETOURS: dict[type[GatewayFault], str] = {ContextOverflow: "overflow", ContentRefused: "content_policy"}
"""Faults to the reason that calls of their own chain are made for."""


class Chain:
    """`model` is the one to ask now; None: the plan has none. `why` and `cause` are for the receipt's attempts."""

    __slots__ = ("_at", "_models", "_plan", "_taken", "cause", "why")

    def __init__(self, plan: Plan, why: str = "first") -> None:
        """`why`: the first call is made."""
        self._plan = plan
        self._models: Sequence[ModelPlan] = plan.models
        self._at = 0
        self._taken: tuple[str, ...] = ()
        self.why = why
        self.cause = ""

    @property
    def model(self) -> ModelPlan | None:
        return self._models[self._at] if self._at < len(self._models) else None

    @property
    def more(self) -> bool:
        """Another model comes after the one that is asked."""
        return self._at + 1 < len(self._models)

    @property
    def minds_filters(self) -> bool:
        """An answer that the upstream's content filter ended may be had from another model."""
        if self.why == "content_policy":
            return self.more
        return bool(self._plan.refused) and "content_policy" not in self._taken

    def on(self, ended: GatewayFault | Remedy, cause: str) -> bool:
        """Goes on to the next model, because the one before `ended` so. False: there is none that could mend it."""
        if isinstance(ended, Remedy):
            self.why = "guardrail"
        elif (detour := _DETOURS.get(type(ended))) is not None:
            if detour != self.why:
                return self._turn(detour, cause)
        elif not ended.wire.next_target:
            return False
        elif self.why not in _DETOURS.values():
            self.why = "fallback"
        if not self.more:
            return False
        self._at += 1
        self.cause = cause
        return True

    def _turn(self, detour: str, cause: str) -> bool:
        """Into a chain of its own, once."""
        models = self._plan.overflow if detour == "overflow" else self._plan.refused
        if not models or detour in self._taken:
            return False
        self._models, self._at = models, 0
        self._taken = (*self._taken, detour)
        self.why, self.cause = detour, cause
        return True
