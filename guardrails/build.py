"""From the configuration to the parts of one route: the screen, the output checks in order, and the restorer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import lru_cache
from typing import NamedTuple

import msgspec

from gateway.core.exchange import Exchange
from gateway.core.ports import Transform
from guardrails import pii, secret_tokens, toxicity
from guardrails.automaton import Phrases
from guardrails.config import TRAITS, GuardrailConfig
from guardrails.injection.check import Injection
from guardrails.inspectors import Scanning, Scoring
from guardrails.output import LeakScanners, OutputCheck, OutputRules, ScannerOf
from guardrails.pii_phone import REGIONS
from guardrails.restoring import Restore
from guardrails.scanner import Scanner
from guardrails.screen import InputCheck, InputScreen, Inspector

CATEGORIES = {
    "pii": "pii",
    "secrets": "secrets",
    "injection": "prompt_injection",
    "phrases": "denied_phrase",
    "prompt_leak": "prompt_leak",
    "json_schema": "invalid_json",
    "toxicity": "toxicity",
}
"""What the client is told. Public, and stable."""

SCOPE = ("latest_turn", "tool_results")
THRESHOLD = 0.5


class Guards(NamedTuple):
    """One route's guardrails. `screen` always runs (it costs nothing without checks); `restore` goes last, after the
    tap."""

    screen: InputScreen
    checks: list[Transform]
    restore: Restore


def build(config: Mapping[str, GuardrailConfig], names: Sequence[str], pool: Executor | None = None) -> Guards:
    """The guardrails called `names`, in that order. Loads patterns and models now, so that no request has to.
    `config` has no `problems`; raises ValueError otherwise."""
    workers = pool or ThreadPoolExecutor(max_workers=2, thread_name_prefix="guardrails")
    chosen = [(name, config[name]) for name in names]
    inputs = [_input(name, check) for name, check in chosen if {"input", "retrieved"} & set(check.on)]
    outputs = [_output(name, check, workers) for name, check in chosen if "output" in check.on]
    return Guards(InputScreen(inputs, workers), outputs, Restore())


def _input(name: str, check: GuardrailConfig) -> InputCheck:
    return InputCheck(
        name=name,
        category=CATEGORIES[check.use],
        action=check.action,
        sides=frozenset(check.on) - {"output"},
        scope=frozenset(check.scope or SCOPE),
        restore=check.restore is not False,
        closed=check.on_error == "closed",
        deadline=check.deadline,
        inspector=_inspector(check),
    )


def _inspector(check: GuardrailConfig) -> Inspector:
    if check.use == "injection":
        return Scoring(_injection(), check.threshold or THRESHOLD)
    return Scanning(scanner_of(check))


def _output(name: str, check: GuardrailConfig, pool: Executor) -> Transform:
    closed = check.on_error == "closed"
    if check.use == "json_schema":
        from guardrails.json_schema import JsonRules, JsonSchema

        retries = (check.attempts or 1) if check.then == "retry" else 0
        mend = check.action == "repair"
        return JsonSchema(
            JsonRules(name=name, mend=mend, retries=retries, closed=closed, deadline=check.deadline), pool
        )
    mode = check.stream or TRAITS[check.use].streams[0]
    rules = OutputRules(name=name, category=CATEGORIES[check.use], action=check.action, closed=closed, mode=mode)
    return OutputCheck(rules, LeakScanners() if check.use == "prompt_leak" else _always(scanner_of(check)))


def _always(scanner: Scanner) -> ScannerOf:
    def same(exchange: Exchange) -> Scanner:
        return scanner

    return same


def scanner_of(check: GuardrailConfig) -> Scanner:
    """The scanner of a `pii`, `secrets`, `phrases` or `toxicity` check. Equal checks share one: it has no state, and takes
    megabytes."""
    parts = (
        check.use,
        check.entities,
        check.regions,
        check.patterns,
        check.words,
        check.ner,
        check.deny,
        check.threshold,
    )
    return _scanner(msgspec.json.encode(parts))


@lru_cache(maxsize=64)
def _scanner(spec: bytes) -> Scanner:
    use, entities, regions, patterns, words, ner, deny, threshold = msgspec.json.decode(spec)
    if use == "secrets":
        return secret_tokens.scanner()
    if use == "phrases":
        return Phrases(deny, kind="PHRASE")
    if use == "toxicity":
        return toxicity.scanner(threshold or toxicity.THRESHOLD)
    assert use == "pii", use
    wanted = entities or pii.DEFAULT
    model = None
    if ner:
        from guardrails.pii_ner import ner_scanner

        model = ner_scanner(ner, wanted)
    return pii.scanner(
        [name for name in wanted if name in pii.ENTITIES],
        regions=regions or REGIONS,
        patterns=patterns,
        deny=words,
        ner=model,
    )


@lru_cache(maxsize=1)
def _injection() -> Injection:
    return Injection()
