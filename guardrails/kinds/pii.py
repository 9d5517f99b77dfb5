"""`use: pii`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

import msgspec

from guardrails.actions import actions_of
from guardrails.config import NAME, GuardrailConfig
from guardrails.finding.custom import compile_pattern, crosses
from guardrails.finding.scanner import Scanner
from guardrails.kind import BOTH, SCANNED, Delivery, Kind, words
from guardrails.private import pii
from guardrails.private.pii_phone import REGIONS


def _scanner(check: GuardrailConfig) -> Scanner:
    """Equal checks share one: it has no state, and takes megabytes."""
    if "allow" in (check.actions or {}).values():
        actions = actions_of(check)
        check = _only(check, [name for name in _looked_for(check) if actions.of(name) != "allow"])
    parts = (check.entities, check.regions, check.patterns, check.words, check.ner)
    return _made(msgspec.json.encode(parts))


@lru_cache(maxsize=64)
def _made(spec: bytes) -> Scanner:
    entities, regions, patterns, listed, ner = msgspec.json.decode(spec)
    wanted = pii.DEFAULT if entities is None else entities
    model = None
    if ner:
        from guardrails.private.pii_ner import ner_scanner

        model = ner_scanner(ner, wanted)
    return pii.scanner(
        [name for name in wanted if name in pii.ENTITIES],
        regions=regions or REGIONS,
        patterns=patterns,
        deny=listed,
        ner=model,
    )


def _split(check: GuardrailConfig) -> Sequence[GuardrailConfig]:
    """One check for each action. Looked for together, a card inside a URL would be a URL and nothing else, and what was
    to be blocked would be logged."""
    actions = actions_of(check)
    by_action: dict[str, list[str]] = {}
    for name in _looked_for(check):
        by_action.setdefault(actions.of(name), []).append(name)
    return [_only(check, names) for action, names in by_action.items() if action != "allow"]


def _looked_for(check: GuardrailConfig) -> Sequence[str]:
    entities = pii.DEFAULT if check.entities is None else check.entities
    return list(dict.fromkeys([*entities, *(check.patterns or {}), *(check.words or {})]))


def _only(check: GuardrailConfig, names: Sequence[str]) -> GuardrailConfig:
    """The check, looking for `names` and nothing else."""
    own = {**(check.patterns or {}), **(check.words or {})}
    return msgspec.structs.replace(
        check,
        entities=[name for name in names if name not in own],
        patterns={name: pattern for name, pattern in (check.patterns or {}).items() if name in names} or None,
        words={name: words for name, words in (check.words or {}).items() if name in names} or None,
        ner=check.ner if check.ner and any(name not in own for name in names) else None,
        actions=None,
    )


def _misses(check: GuardrailConfig, side: str, delivery: Delivery) -> str:
    entities = check.entities or pii.DEFAULT
    missed = []
    if "PERSON" in entities and not check.ner:
        missed.append("names without a cue such as 'my name is'")
    absent = [name for name in pii.ENTITIES if name not in entities]
    if absent:
        missed.append(f"{', '.join(absent)} (not asked for)")
    missed.append("values written out in words, street addresses, what only its context makes private")
    slow = [name for name, pattern in (check.patterns or {}).items() if crosses(pattern)]
    if side == "output" and delivery == "stream" and (slow or check.ner):
        missed.append(f"nothing more, but holds each line until it ends for {', '.join(slow) or 'ner'}")
    return "; ".join(missed)


def _problems(check: GuardrailConfig) -> Iterator[tuple[str, str]]:
    own = [*(check.patterns or {}), *(check.words or {})]
    looked_for = _looked_for(check)
    for entity in check.actions or ():
        if entity not in looked_for:
            yield f".actions.{entity}", f"the check does not look for it; it looks for {', '.join(looked_for)}"
    if looked_for and all(actions_of(check).of(name) == "allow" for name in looked_for):
        yield ".actions", "allows everything: the check would find nothing"
    for at, entity in enumerate(check.entities or ()):
        if entity not in pii.ENTITIES and entity not in own and not check.ner:
            yield f".entities[{at}]", f"unknown entity {entity!r}; known are {', '.join(pii.ENTITIES)}"
    if check.entities is not None and not check.entities and not own and not check.ner:
        yield ".entities", "empty: the check would find nothing"
    for key, names in (("patterns", check.patterns or {}), ("words", check.words or {})):
        for entity in names:
            if not NAME.fullmatch(entity):
                yield f".{key}.{entity}", "an entity's name is upper-case letters, digits and _, such as STAFF_ID"
    for entity, pattern in (check.patterns or {}).items():
        try:
            compile_pattern(pattern)
        except ValueError as error:
            yield f".patterns.{entity}", str(error)
    for at, region in enumerate(check.regions or ()):
        if region not in pii.KNOWN_REGIONS:
            yield f".regions[{at}]", f"{region!r} is not an ISO 3166 country code such as US or DE"
    if check.ner:
        from guardrails.private.pii_ner import missing

        message = missing(check.ner)
        if message:
            yield ".ner", message


KIND = Kind(
    use="pii",
    category="pii",
    sides=BOTH,
    actions=words("mask block flag"),
    keys=words(
        "entities actions regions patterns words ner restore link_hosts internal scope stream then attempts reply handoff"
    ),
    streams=SCANNED,
    misses=_misses,
    scanner=_scanner,
    split=_split,
    problems=_problems,
)
