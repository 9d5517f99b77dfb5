"""What the types of the `guardrails:` section cannot see. Messages say what is wrong and what to write instead."""

from __future__ import annotations

from collections.abc import Iterator

from guardrails import pii
from guardrails.config import CHECK_NAME, LATER, NAME, OPTIONAL, TRAITS, GuardrailConfig
from guardrails.custom import compile_pattern

Found = Iterator[tuple[str, str]]


def check_problems(name: str, check: GuardrailConfig) -> Found:
    """(key, message) pairs; the key starts with a dot, or is empty for the check as a whole."""
    if not CHECK_NAME.fullmatch(name):
        yield "", "the name goes into a response header: use up to 40 lower-case letters, digits, - and _"
    if check.use in LATER:
        yield ".use", f"{check.use!r} checks are not part of this version: nothing would run, so take the check out"
        return
    yield from _sides(check)
    yield from _keys(check)
    yield from _failure(check)
    yield from _stream(check)
    yield from _values(check)
    if check.use == "pii":
        yield from _pii(check)


def _sides(check: GuardrailConfig) -> Found:
    traits = TRAITS[check.use]
    if not check.on:
        yield ".on", "empty: the check would never run; write at least one of input, retrieved, output"
    for side in check.on:
        if side not in traits.sides:
            yield ".on", f"{check.use!r} cannot run on {side}; it runs on {', '.join(sorted(traits.sides))}"
    if check.action not in traits.actions:
        yield ".action", f"{check.use!r} cannot {check.action}; it can {', '.join(sorted(traits.actions))}"


def _keys(check: GuardrailConfig) -> Found:
    traits = TRAITS[check.use]
    for key in sorted(OPTIONAL - traits.keys):
        if getattr(check, key) is not None:
            yield f".{key}", f"means nothing for `use: {check.use}`; take it out"
    if check.use == "phrases" and not check.deny:
        yield ".deny", "missing: write the phrases to look for"
    if check.restore and (check.action != "mask" or not {"input", "retrieved"} & set(check.on)):
        yield ".restore", "only what was masked on the way in can be restored: needs `action: mask` and `on: [input]`"
    if check.scope is not None and check.action == "mask":
        yield ".scope", "masking covers every role, because history is sent again with each turn; take `scope` out"


def _failure(check: GuardrailConfig) -> Found:
    if check.on_error is None and check.action != "flag":
        yield (
            ".on_error",
            (
                f"missing: say what happens when a check that must {check.action} cannot run: "
                "`closed` (refuse the request) or `open` (let it pass, marked as degraded)"
            ),
        )
    if not 0.001 <= check.deadline <= 30:
        yield ".deadline", "must be between 1ms and 30s"


def _stream(check: GuardrailConfig) -> Found:
    if check.stream is None or "output" not in check.on:
        if check.stream is not None:
            yield ".stream", "means nothing without `on: [output]`"
        return
    modes = TRAITS[check.use].streams
    if check.stream == "off":
        if check.action != "flag":
            yield (
                ".stream",
                f"a check that must {check.action} cannot be off on streams: what it stops would pass there",
            )
    elif modes and check.stream not in modes:
        yield ".stream", f"{check.use!r} cannot {check.action} in mode {check.stream!r}; it can in {', '.join(modes)}"


def _values(check: GuardrailConfig) -> Found:
    if check.threshold is not None and not 0 < check.threshold < 1:
        yield ".threshold", "must be above 0 and below 1"
    for at, phrase in enumerate(check.deny or ()):
        if len(phrase.strip()) < 2:
            yield f".deny[{at}]", "needs at least two characters, or it would hit everywhere"
    if check.attempts is not None:
        if check.then != "retry":
            yield ".attempts", "means nothing without `then: retry`"
        elif not 1 <= check.attempts <= 5:
            yield ".attempts", "must be between 1 and 5"
    if check.scope is not None and not check.scope:
        yield ".scope", "empty: the check would never run"


def _pii(check: GuardrailConfig) -> Found:
    own = [*(check.patterns or {}), *(check.words or {})]
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
        yield from ((".ner", message) for message in _ner(check.ner))


def _ner(model: str) -> Iterator[str]:
    from guardrails.pii_ner import missing

    message = missing(model)
    if message:
        yield message
