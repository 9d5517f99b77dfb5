"""`use: remote`: a moderation service outside the gateway."""

from __future__ import annotations

from gateway.core.ports import Transform
from guardrails.answered.answers import answer_rules
from guardrails.asked.screen import Asking
from guardrails.asking.asking_output import OutputAsking
from guardrails.asking.outside import at_once_problems, url_problem
from guardrails.asking.remote import AT_ONCE, OpenAIForm, PlainForm, Remote, RemoteRules, Spoken
from guardrails.config import GuardrailConfig
from guardrails.kind import BOTH, Found, Kind, Tools, always, words

CATEGORY = "moderation"


def _remote(name: str, check: GuardrailConfig, tools: Tools, side: str) -> Remote:
    if tools.post is None:
        raise ValueError(f"guardrails.{name}.url: only a running gateway can ask a service")
    form: Spoken = PlainForm(name, side) if check.form == "tidegate" else OpenAIForm(check.model)
    rules = RemoteRules(
        url=check.url or "",
        api_key=check.api_key,
        threshold=check.threshold,
        categories=frozenset(check.categories) if check.categories else None,
    )
    return Remote(rules, form, tools.post, at_once=AT_ONCE if check.at_once is None else check.at_once)


def _asking(name: str, check: GuardrailConfig, tools: Tools) -> Asking:
    return _remote(name, check, tools, "input")


def _transform(name: str, check: GuardrailConfig, tools: Tools) -> Transform:
    rules = answer_rules(name, check, CATEGORY, KIND.streams[0])
    return OutputAsking(rules, _remote(name, check, tools, "output"), clock=tools.clock)


def _problems(check: GuardrailConfig) -> Found:
    message = url_problem(check.url) if check.url else "missing: write the service's address"
    if message:
        yield ".url", message
    if check.form is None:
        yield ".form", "missing: `openai_moderation`, or `tidegate` for a web hook of your own"
    if check.form == "tidegate":
        for key in ("categories", "model"):
            if getattr(check, key) is not None:
                yield f".{key}", "means nothing for `form: tidegate`"
    if check.categories is not None and check.threshold is None:
        yield ".threshold", "missing: single categories count by their score"
    if check.api_key is not None and any(ord(ch) < 32 or ord(ch) > 126 for ch in check.api_key.reveal()):
        yield ".api_key", "holds a character that no header may hold"
    yield from at_once_problems(check)


KIND = Kind(
    use="remote",
    category=CATEGORY,
    sides=BOTH,
    actions=words("block flag"),
    keys=words("url api_key form model categories threshold at_once scope stream then attempts reply handoff"),
    streams=("full", "window"),
    misses=always(
        "what the service misses, and what was masked before it was asked; images and audio; more than 200,000 characters "
        "or 64 texts at one time are not scanned"
    ),
    asking=_asking,
    transform=_transform,
    outside=True,
    problems=_problems,
    tiers=lambda check: "a service outside",
)
