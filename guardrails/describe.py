"""What really runs, for `tidegate check`: each check of a route on each side and stream mode, how it acts, what it
misses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from guardrails import pii
from guardrails.config import TRAITS, GuardrailConfig
from guardrails.custom import crosses


class Line(msgspec.Struct, frozen=True):
    """One row of the report."""

    check: str
    use: str
    side: str
    """`input`, `retrieved` or `output`."""
    mode: str
    """How: `before` the model is called; on output `hold`, `window`, `full`, `after`, or `none`."""
    acts: str
    """What it does with a hit, and what happens when it cannot run."""
    misses: str
    """What it cannot see there. Empty where nothing is known."""


def describe(
    config: Mapping[str, GuardrailConfig], names: Sequence[str], delivery: Literal["stream", "whole"]
) -> list[Line]:
    """The rows for one route, for streamed or for whole answers. The same in every dialect: checks see canonical
    events."""
    return [
        Line(name, check.use, side, _mode(check, side, delivery), _acts(check), _misses(check, side, delivery))
        for name in names
        for check in [config[name]]
        for side in check.on
    ]


def _mode(check: GuardrailConfig, side: str, delivery: str) -> str:
    if side != "output":
        return "before"
    if check.stream == "off" and delivery == "stream":
        return "none"
    if check.action == "flag":
        return "after"
    return check.stream or TRAITS[check.use].streams[0]


def _acts(check: GuardrailConfig) -> str:
    if check.action == "flag":
        return "flag"
    retry = f", asking again up to {check.attempts or 1} times" if check.then == "retry" else ""
    return f"{check.action}{retry}; on error {'refuse' if check.on_error == 'closed' else 'let pass, marked degraded'}"


def _misses(check: GuardrailConfig, side: str, delivery: str) -> str:
    known = _KNOWN[check.use]
    if check.use == "pii":
        known = _pii(check, side, delivery)
    if side == "output":
        if check.stream == "off" and delivery == "stream":
            return "everything: off on streams"
        if check.action == "flag":
            known += "; an answer that is cut short is not looked at"
        known += "; images and audio"
    return known


def _pii(check: GuardrailConfig, side: str, delivery: str) -> str:
    entities = check.entities or pii.DEFAULT
    missed = []
    if "PERSON" in entities and not check.ner:
        missed.append("names without a cue such as 'my name is'")
    absent = [name for name in pii.PATTERNED if name not in entities]
    if absent:
        missed.append(f"{', '.join(absent)} (not asked for)")
    slow = [name for name, pattern in (check.patterns or {}).items() if crosses(pattern)]
    if side == "output" and delivery == "stream" and (slow or check.ner):
        missed.append(f"nothing, but holds each line until it ends for {', '.join(slow) or 'ner'}")
    return "; ".join(missed) or "values written out in words"


_KNOWN = {
    "pii": "",
    "secrets": "keys of no known form that are not assigned to a name such as api_key",
    "injection": "payloads that only state a task, and harmful asks told as a story; scripts other than the trained ones",
    "phrases": "other spellings, synonyms, translations",
    "prompt_leak": "paraphrase, translation, encodings, prompts of fewer than eight words or without spaces",
    "toxicity": "whatever its English list does not spell out: paraphrase, allusion, sarcasm, context, letters spaced out, "
    "other languages; quotations and reports of hateful speech are hits; harmful requests in polite words are not",
    "json_schema": "answers to requests that ask for no JSON",
}
