"""From the configuration to the parts of one route: the screen, the output checks in order, and the restorer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from gateway.core.exchange import Exchange
from gateway.core.ports import Transform
from guardrails.config import GuardrailConfig
from guardrails.inspectors import Scanning
from guardrails.kind import Kind, Tools
from guardrails.kinds import KINDS
from guardrails.output import OutputCheck, ScannerOf, rules_of
from guardrails.remask import Remask
from guardrails.restoring import Restore
from guardrails.scanner import Scanner
from guardrails.screen import InputCheck, InputScreen, Inspector
from guardrails.unshared import Unshared

SCOPE = ("latest_turn", "tool_results")


class Guards(NamedTuple):
    """One route's guardrails. `screen` always runs (it costs nothing without checks); `restore` goes last, after the
    tap."""

    screen: InputScreen
    checks: list[Transform]
    restore: Restore


def tools_alone() -> Tools:
    """Tools for checks that need nothing of the house."""
    return Tools(pool=ThreadPoolExecutor(max_workers=2, thread_name_prefix="guardrails"))


def build(config: Mapping[str, GuardrailConfig], names: Sequence[str], tools: Tools | None = None) -> Guards:
    """The guardrails called `names`, in that order. Loads patterns and models now, so that no request has to.
    `config` has no `problems`; raises ValueError otherwise."""
    tools = tools or tools_alone()
    chosen = [(name, config[name], KINDS[config[name].use]) for name in names]
    inputs = [_input(*one, tools) for one in chosen if {"input", "retrieved"} & set(one[1].on)]
    outputs = [_output(*one, tools) for one in chosen if "output" in one[1].on]
    if any(check.internal == "original" for _, check, _ in chosen):
        outputs = [Remask(), *outputs, Unshared(_masking_scanners(chosen))]
    return Guards(InputScreen(inputs, tools.pool), outputs, Restore())


def _masking_scanners(chosen: Sequence[tuple[str, GuardrailConfig, Kind]]) -> list[Scanner]:
    """Those of the checks that mask what comes in."""
    masks = [check for _, check, kind in chosen if check.action == "mask" and kind.scanner is not None]
    return [scanner_of(check) for check in masks if {"input", "retrieved"} & set(check.on)]


def _input(name: str, check: GuardrailConfig, kind: Kind, tools: Tools) -> InputCheck:
    return InputCheck(
        name=name,
        category=kind.category,
        action=check.action,
        sides=frozenset(check.on) - {"output"},
        scope=frozenset(check.scope or SCOPE),
        restore=check.restore is not False,
        reveal=check.internal == "original",
        closed=check.on_error == "closed",
        deadline=check.deadline,
        inspector=_inspector(check, kind, tools),
        asking=kind.asking(name, check, tools) if kind.asking is not None else None,
    )


def _inspector(check: GuardrailConfig, kind: Kind, tools: Tools) -> Inspector | None:
    """A kind without an inspector and without a scanner only asks."""
    if kind.inspector is not None:
        return kind.inspector(check, tools)
    return Scanning(scanner_of(check)) if kind.scanner is not None else None


def _output(name: str, check: GuardrailConfig, kind: Kind, tools: Tools) -> Transform:
    if kind.transform is not None:
        return kind.transform(name, check, tools)
    return OutputCheck(rules_of(name, check, kind), _always(scanner_of(check)))


def _always(scanner: Scanner) -> ScannerOf:
    def same(exchange: Exchange) -> Scanner:
        return scanner

    return same


def scanner_of(check: GuardrailConfig) -> Scanner:
    """The scanner of a check that finds spans."""
    make = KINDS[check.use].scanner
    assert make is not None, f"{check.use} finds no spans"
    return make(check)
