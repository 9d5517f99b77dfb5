"""From the configuration to the parts of one route: the screen, the output checks in order, and the restorer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from gateway.core.ports import Transform
from guardrails.actions import actions_of
from guardrails.answered.canary import PutCanaries, Unechoed
from guardrails.answered.output import Always, OutputCheck, merged, rules_of
from guardrails.answered.passing import Passing
from guardrails.asked.inspecting import Inspect
from guardrails.asked.inspectors import Scanning
from guardrails.asked.looking import Look
from guardrails.asked.masking import Mask
from guardrails.asked.screen import INLINE, InputCheck, Inspector
from guardrails.asked.throttling import Throttling
from guardrails.config import GuardrailConfig
from guardrails.finding.scanner import Scanner
from guardrails.hiding.remask import Remask
from guardrails.hiding.restoring import Restore
from guardrails.hiding.unshared import Unshared
from guardrails.kind import Kind, Tools
from guardrails.kinds import KINDS

SCOPE = ("latest_turn", "tool_results")


class Guards(NamedTuple):
    """One route's guardrails; None where there is nothing to do. `restore` goes last, after the tap."""

    mask: Mask | None
    inspect: Inspect | None
    checks: list[Transform]
    restore: Restore | None
    canary: PutCanaries | None = None

    @property
    def beside(self) -> bool:
        """Whether some check may go on while the model is called."""
        return self.inspect is not None and any(look.check.beside for look in self.inspect.looks)


def tools_alone() -> Tools:
    """Tools for checks that need nothing of the house."""
    return Tools(pool=ThreadPoolExecutor(max_workers=2, thread_name_prefix="guardrails"))


def build(
    config: Mapping[str, GuardrailConfig], names: Sequence[str], tools: Tools | None = None, *, cached: bool = True
) -> Guards:
    """The guardrails called `names`, in that order. Loads patterns and models now, so that no request has to. `cached`:
    answers of the route may be stored. `config` has no `problems`; raises ValueError otherwise."""
    tools = tools or tools_alone()
    chosen = [(name, config[name], KINDS[config[name].use]) for name in names]
    inputs = [_look(*one, tools) for one in chosen if {"input", "retrieved"} & set(one[1].on)]
    # Whatever is asked outside is shown an answer last, when all that mask have seen it.
    late = sorted(chosen, key=lambda one: one[2].outside)
    outputs = merged(_output(*one, tools) for one in late if "output" in one[1].on)
    if any(check.internal == "original" for _, check, _ in chosen):
        outputs = [Remask(), *outputs, *([Unshared(_masking_scanners(chosen))] if cached else [])]
    canaries = _canaries(chosen, tools)
    if canaries is not None:
        outputs = [Unechoed(), *outputs]
    masks = [look for look in inputs if isinstance(look, Look) and look.check.masks]
    others = [look for look in inputs if look not in masks]
    return Guards(
        Mask(masks) if masks else None,
        Inspect(others) if others else None,
        outputs,
        Restore(_link_hosts(chosen)) if masks else None,
        canaries,
    )


def _link_hosts(chosen: Sequence[tuple[str, GuardrailConfig, Kind]]) -> list[str]:
    return sorted({host.lower() for _, check, _ in chosen for host in check.link_hosts or ()})


def _canaries(chosen: Sequence[tuple[str, GuardrailConfig, Kind]], tools: Tools) -> PutCanaries | None:
    made = [kind.canary(name, check, tools) for name, check, kind in chosen if kind.canary is not None]
    words = tuple(word for word in made if word)
    return PutCanaries(words) if words else None


def _masking_scanners(chosen: Sequence[tuple[str, GuardrailConfig, Kind]]) -> list[Scanner]:
    """Those of the checks that mask what comes in."""
    masks = [check for _, check, kind in chosen if actions_of(check).can("mask") and kind.scanner is not None]
    return [scanner_of(check) for check in masks if {"input", "retrieved"} & set(check.on)]


def _look(name: str, check: GuardrailConfig, kind: Kind, tools: Tools) -> Look | Throttling:
    """One for each check, whatever routes use it: what it remembers and counts holds for all of them, and where it fails
    for one it is left alone by all."""
    known = tools.looks.get(name)
    if known is None or known[0] != check:
        made = _input(name, check, kind, tools)
        look = Throttling(made) if made.throttle is not None else Look(made, tools.pool, tools.clock)
        known = tools.looks[name] = (check, look)
    return known[1]


def _input(name: str, check: GuardrailConfig, kind: Kind, tools: Tools) -> InputCheck:
    return InputCheck(
        name=name,
        category=kind.category,
        actions=actions_of(check),
        sides=frozenset(check.on) - {"output"},
        scope=frozenset(check.scope or SCOPE),
        restore=check.restore is not False,
        reveal=check.internal == "original",
        closed=check.on_error == "closed",
        deadline=check.deadline,
        inspector=_inspector(check, kind, tools),
        throttle=kind.throttle(check, tools) if kind.throttle is not None else None,
        cuts=kind.cuts(check) if kind.cuts is not None else None,
        remembers=kind.remembers,
        handover=(check.handoff or "", check.reply or "") if check.action == "handoff" else None,
        beside=check.beside is not None,
        asking=kind.asking(name, check, tools) if kind.asking is not None else None,
    )


def _inspector(check: GuardrailConfig, kind: Kind, tools: Tools) -> Inspector | None:
    """A kind without an inspector and without a scanner only asks."""
    if kind.inspector is not None:
        return kind.inspector(check, tools)
    if kind.scanner is None:
        return None
    return Scanning([scanner_of(part) for part in _parts(check, kind)], inline=0 if check.ner else INLINE)


def _output(name: str, check: GuardrailConfig, kind: Kind, tools: Tools) -> Transform:
    def make(check: GuardrailConfig) -> Transform:
        made = kind.transform(name, check, tools) if kind.transform is not None else None
        if made is not None:
            return made
        return OutputCheck(rules_of(name, check, kind), Always(*(scanner_of(part) for part in _parts(check, kind))))

    return Passing(check, make) if "pass" in check.steps else make(check)


def _parts(check: GuardrailConfig, kind: Kind) -> Sequence[GuardrailConfig]:
    """The check, or one for each of its actions."""
    return kind.split(check) if kind.split is not None and check.actions else [check]


def scanner_of(check: GuardrailConfig) -> Scanner:
    """The scanner of a check that finds spans."""
    make = KINDS[check.use].scanner
    assert make is not None, f"{check.use} finds no spans"
    return make(check)
