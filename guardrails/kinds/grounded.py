"""`use: grounded`: answers that say what the context does not."""

from __future__ import annotations

from gateway.core.events import Text
from gateway.core.ports import Transform
from guardrails.answered.answers import answer_rules
from guardrails.asking.asking_output import OutputAsking
from guardrails.asking.grounded import DEFAULT, THRESHOLD, Grounded
from guardrails.asking.outside import judge_problems, questioner_of
from guardrails.config import GuardrailConfig
from guardrails.kind import OUTPUT, Found, Kind, Tools, always, words

CATEGORY = "ungrounded"


def _transform(name: str, check: GuardrailConfig, tools: Tools) -> Transform:
    threshold = THRESHOLD if check.threshold is None else check.threshold
    grounded = Grounded(questioner_of(name, check, tools), check.context or DEFAULT, threshold)
    rules = answer_rules(name, check, CATEGORY, KIND.streams[0])
    return OutputAsking(rules, grounded, clock=tools.clock, kinds=frozenset({Text}), ready=grounded.ready)


def _problems(check: GuardrailConfig) -> Found:
    if check.context is not None and not check.context:
        yield ".context", "empty: there would be nothing to compare with"
    if check.judge is not None and check.judge.band is not None:
        yield ".judge.band", "means nothing for `use: grounded`, which asks about every answer"
    yield from judge_problems(check, needed=True)


KIND = Kind(
    use="grounded",
    category=CATEGORY,
    sides=OUTPUT,
    actions=words("block flag"),
    keys=words("judge context threshold at_once stream then attempts reply handoff"),
    streams=("full",),
    misses=always(
        "answers to requests without context (no verdict is given there); reasoning and tool calls; context that is itself "
        "wrong; what its model misjudges; context and answer of more than 48,000 characters together are not scanned"
    ),
    transform=_transform,
    outside=True,
    problems=_problems,
    tiers=lambda check: f"the model {check.judge.model!r}, where context was supplied" if check.judge else "",
)
