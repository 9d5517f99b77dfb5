"""The `route` stage: which models may answer this request, or an answer that needs none."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import msgspec

from gateway.core.answer import Answer, AnswerKind, Handoff
from gateway.core.exchange import Exchange
from gateway.core.facts import Key
from gateway.core.ports import Decider
from routing.baseline import Baseline
from routing.clarify import title
from routing.config import ContextConfig, IntentsConfig, Then
from routing.conversation import Turn, turn_of
from routing.fitting import fit
from routing.intents import Intent, Intents
from routing.plans import Plans
from routing.tiers import Tiers

DEGRADED = "intent_router"
"""In `x-tidegate-degraded` when a request went on without an intent because the encoder was missing or slow."""


BUDGET = 0.03
"""Seconds for embedding one question on this machine."""


class PlanRouter:
    """Decider for routes without intents: the plan of the model asked for, or of its tier. Mostly a look-up in a table made
    at start."""

    name = "route"
    consumes: tuple[Key[Any], ...] = ()
    produces: tuple[Key[Any], ...] = ()

    def __init__(self, plans: Plans, tiers: Tiers | None = None) -> None:
        self._choose = tiers.plan if tiers is not None else plans.asked

    async def decide(self, exchange: Exchange) -> Answer | None:
        exchange.plan = self._choose(exchange)
        return None


class Route:
    """Decider, the whole `route` stage: what the router chooses, less who cannot serve it.

    Retrieved text is in the request by now, so the context rule counts it. A stage that adds more after this one must
    apply `fitting.fit` again.
    """

    name = "route"
    consumes: tuple[Key[Any], ...] = ()
    produces: tuple[Key[Any], ...] = ()

    def __init__(self, router: Decider, context: ContextConfig, baseline: Baseline | None = None) -> None:
        self._router = router
        self._context = context
        self._baseline = baseline

    async def decide(self, exchange: Exchange) -> Answer | None:
        if self._baseline is not None:
            self._baseline.watch(exchange)
        answer = await self._router.decide(exchange)
        if answer is None:
            fit(exchange, self._context)
        return answer


class IntentRouter:
    """Decider for routes with intents. Never fails a request: without an intent, the model asked for answers.

    What an intent does is the operator's word, so the model it names is not compared with the caller's own list.
    """

    name = "route"
    consumes: tuple[Key[Any], ...] = ()
    produces: tuple[Key[Any], ...] = ()

    def __init__(
        self,
        plans: Plans,
        config: IntentsConfig,
        intents: Intents,
        *,
        default: str | None,
        tiers: Tiers | None = None,
        budget: float | None = None,
    ) -> None:
        """`default`: the model for names that are no model. `tiers` choose for what no action settles. `budget`: seconds
        for one question where the configuration does not say. Raises ValueError if an action names no model."""
        for name, then in config.then.items():
            if then.model is not None and then.model not in plans:
                raise ValueError(f"intent {name!r} goes to {then.model!r}, which is no model")
        self._plans = plans
        self._then = config.then
        self._intents = intents
        self._choose = tiers.plan if tiers is not None else partial(plans.asked, default=default)
        self._budget = config.budget or budget or BUDGET

    async def decide(self, exchange: Exchange) -> Answer | None:
        request = exchange.asked()
        turn = turn_of(request) if request.operation in ("chat", "completions") else None
        intent = await self._intent(exchange, turn) if turn is not None else None
        then: Then | None = None
        if turn is not None and intent is not None:
            exchange.intent, exchange.intent_score = intent.name, round(intent.score, 4)
            then = self._then.get(intent.name)
            exchange.action = then.action or "" if then is not None else ""
            answer = self._answer(exchange, intent, then, turn) if then is not None else None
            if answer is not None:
                return answer
        plan = self._plans.get(then.model) if then is not None and then.model is not None else None
        exchange.plan = plan or self._choose(exchange)
        return None

    async def _intent(self, exchange: Exchange, turn: Turn) -> Intent | None:
        try:
            async with asyncio.timeout(min(self._budget, exchange.remaining())):
                intent = await self._intents.of(turn)
        except Exception:  # whatever is wrong with the encoder, the request can be answered without it
            intent = None
        if intent is None:
            exchange.degraded.append(DEGRADED)
        return intent

    def _answer(self, exchange: Exchange, intent: Intent, then: Then, turn: Turn) -> Answer | None:
        """None when a model must answer: the action says so, the question was asked before, or a tool has just
        answered and the model is in the middle of its work."""
        if turn.in_tools or intent.again:
            return None
        if then.clarify is not None:
            question = then.clarify.format(first=title(intent.first), second=title(intent.second))
            return None if question in turn.said else self._say(exchange, "clarify", question)
        if then.handoff is not None:
            words = then.answer or f"I am handing this over to {title(then.handoff)}."
            headers = {"x-tidegate-handoff": then.handoff}
            if then.reason is not None:
                headers["x-tidegate-handoff-reason"] = then.reason
            answer = self._say(exchange, "handoff", words, headers)
            return msgspec.structs.replace(
                answer, handoff=Handoff(then.handoff, then.reason or f"intent:{intent.name}")
            )
        if then.answer is not None:
            return self._say(exchange, "canned", then.answer)
        return None

    def _say(self, exchange: Exchange, kind: AnswerKind, text: str, headers: dict[str, str] | None = None) -> Answer:
        """The edge tells the intent itself, so it is not among the headers."""
        return Answer(kind, exchange.says(text), headers=headers or {})
