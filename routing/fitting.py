"""Which models of a plan can serve a request at all: those that can do what it needs, and that it fits into.

Both are filters over the plan, made before anything is called, so retries, hedges and fallbacks go by them as well. The
order of a plan's models stays; only who cannot serve is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from gateway.core.errors import ContextOverflow, Untranslatable
from gateway.core.exchange import Exchange
from gateway.core.plan import Capability, ModelPlan, Plan, Target
from gateway.core.request import Request
from gateway.core.tokens import at_most, estimate
from routing.config import ContextConfig
from routing.needs import Needs, needs
from routing.shorten import shorten

_CONVERSES = frozenset({"chat", "completions"})
_ANSWER_FIELDS = ("max_completion_tokens", "max_tokens", "max_output_tokens")
"""How dialects say the most tokens of an answer."""


def fit(exchange: Exchange, config: ContextConfig) -> None:
    """Takes from the exchange's plan who cannot serve its request, or makes the request fit, as `config` says.

    Raises `Untranslatable` naming what no model can do, `ContextOverflow` when it fits into none.
    """
    plan = exchange.plan
    request = exchange.asked()
    if plan is None or request.operation not in _CONVERSES:
        return
    plan = _capable(exchange, plan, request)
    exchange.plan = _roomy(exchange, plan, request, config)


def serves(model: ModelPlan, request: Request, config: ContextConfig) -> bool:
    """Whether one model can serve a request as it stands."""
    if request.operation not in _CONVERSES:
        return True
    able = [target for target in model.targets if _can(target, request)]
    need = _need(request, [target.context_window for target in able], config)
    return any(target.context_window is None or need <= target.context_window for target in able)


# --- capabilities


def _capable(exchange: Exchange, plan: Plan, request: Request) -> Plan:
    if not any(target.capabilities is not None for target in _targets(plan)):
        return plan
    wanted = needs(request)
    if not wanted:
        return plan
    lacking = {model.alias: _lacking(model, wanted) for model in (*plan.models, *plan.overflow)}
    kept = _kept(plan, lambda target: _able(target, wanted))
    if not kept.models:
        missing = lacking[plan.alias] or list(wanted)
        asked = "; ".join(f"{name} ({wanted[name]})" for name in missing)
        raise Untranslatable(
            f"No model that may answer this request can do what it needs: {asked}.", param=wanted[missing[0]]
        )
    _tell(exchange, plan, kept, lambda model: "+".join(lacking[model.alias]))
    return kept


def _can(target: Target, request: Request) -> bool:
    return target.capabilities is None or _able(target, needs(request))


def _able(target: Target, wanted: Needs) -> bool:
    return target.capabilities is None or wanted.keys() <= target.capabilities


def _lacking(model: ModelPlan, wanted: Needs) -> list[Capability]:
    """What none of a model's targets has."""
    able: set[str] = set()
    for target in model.targets:
        if target.capabilities is None:
            return []
        able |= target.capabilities
    return [name for name in wanted if name not in able]


# --- context windows


def _roomy(exchange: Exchange, plan: Plan, request: Request, config: ContextConfig) -> Plan:
    told = config.on_overflow is not None
    if not told and None in [target.context_window for model in plan.models for target in model.targets]:
        return plan
    need = _need(request, [target.context_window for target in _targets(plan)], config)
    if not need:
        return plan
    if config.on_overflow == "truncate" and not _fits(plan.models[0], need):
        need = _shortened(exchange, request, plan.models[0], need, config.keep)
    if config.on_overflow == "reject" and not _fits(plan.models[0], need):
        raise _overflow(request, need, plan.models[:1], config)
    kept = _kept(plan, lambda target: target.context_window is None or need <= target.context_window)
    if not kept.models:
        kept = Plan(models=kept.overflow, refused=kept.refused)
    if not kept.models:
        if told:
            raise _overflow(request, need, (*plan.models, *plan.overflow), config)
        return plan  # an estimate alone refuses nobody unless the operator said so
    _tell(exchange, plan, kept, lambda _: "context_window")
    return kept


def _need(request: Request, windows: Sequence[int | None], config: ContextConfig) -> int:
    """Tokens of prompt and answer, by the estimate; 0 when it surely fits into all of these windows."""
    known = [window for window in windows if window is not None]
    if not known:
        return 0
    reserve = _answer_tokens(request, config)
    room = min(known) - reserve
    bound = _prompt(request, at_most, room)
    if bound <= room:
        return 0
    return min(bound, _prompt(request, lambda asked, _: estimate(asked), room)) + reserve


def _prompt(request: Request, count: Callable[[Request, int], int], enough: int) -> int:
    """Tokens of the prompt. Several prompts in one `completions` request are each a prompt of its own."""
    if request.operation == "chat" or len(request.slots) < 2:
        return count(request, enough)
    longest = max(request.slots, key=lambda slot: len(slot.text))
    alone = Request(
        dialect=request.dialect,
        operation=request.operation,
        body={},
        model=request.model,
        stream=False,
        include_usage=False,
        slots=[longest],
    )
    return count(alone, enough)


def _answer_tokens(request: Request, config: ContextConfig) -> int:
    for name in _ANSWER_FIELDS:
        value = request.body.get(name)
        if type(value) is int and value > 0:
            return value
    inner = request.body.get("generationConfig")
    value = inner.get("maxOutputTokens") if type(inner) is dict else None
    return value if type(value) is int and value > 0 else config.reserve


def _fits(model: ModelPlan, need: int) -> bool:
    return any(target.context_window is None or need <= target.context_window for target in model.targets)


def _shortened(exchange: Exchange, request: Request, model: ModelPlan, need: int, keep: int) -> int:
    """Makes the request fit into the model's largest window, as far as it goes. What it needs then."""
    largest = max(target.context_window or 0 for target in model.targets)
    made = shorten(request, need - largest, keep)
    if not made.tokens:
        return need
    exchange.request = made.request
    told = f"context: {made.turns} earlier messages left out"
    exchange.warnings.append(f"{told}; {made.characters} characters of retrieved text cut" if made.characters else told)
    return need - int(made.tokens)


def _overflow(request: Request, need: int, models: Sequence[ModelPlan], config: ContextConfig) -> ContextOverflow:
    reserve = _answer_tokens(request, config)
    window = max(target.context_window or 0 for model in models for target in model.targets)
    names = ("messages", "input", "contents", "prompt")
    return ContextOverflow(
        f"This model's maximum context length is {window} tokens. This request needs about {need}: {need - reserve} for "
        f"what it says, by an estimate, and {reserve} for the answer. Please shorten it, or ask for a shorter answer.",
        param=next((name for name in names if name in request.body), None),
    )


# --- plans


def _targets(plan: Plan) -> list[Target]:
    return [target for model in (*plan.models, *plan.overflow, *plan.refused) for target in model.targets]


def _kept(plan: Plan, good: Callable[[Target], bool]) -> Plan:
    """The plan with the targets that are good; the same object when all are."""
    models, overflow, refused = (_models(chain, good) for chain in (plan.models, plan.overflow, plan.refused))
    if models is plan.models and overflow is plan.overflow and refused is plan.refused:
        return plan
    return Plan(models=models, overflow=overflow, refused=refused)


def _models(models: tuple[ModelPlan, ...], good: Callable[[Target], bool]) -> tuple[ModelPlan, ...]:
    if all(good(target) for model in models for target in model.targets):
        return models
    kept = []
    for model in models:
        targets = tuple(target for target in model.targets if good(target))
        if targets and not any(target.weight for target in targets):  # those that had the calls are gone
            targets = tuple(msgspec.structs.replace(target, weight=1) for target in targets)
        if targets:
            kept.append(
                model if len(targets) == len(model.targets) else msgspec.structs.replace(model, targets=targets)
            )
    return tuple(kept)


def _tell(exchange: Exchange, before: Plan, after: Plan, why: Callable[[ModelPlan], str]) -> None:
    if after is before:
        return
    stays = {model.alias for model in after.models}
    exchange.left_out += [f"{model.alias}: {why(model)}" for model in before.models if model.alias not in stays]
