"""`use: judge`: a question of the operator's about a text, put to one of the gateway's own models."""

from __future__ import annotations

from gateway.core.ports import Transform
from guardrails.answered.answers import answer_rules
from guardrails.asked.screen import Asking
from guardrails.asking.asking_output import OutputAsking
from guardrails.asking.judge import AskJudge, own_question
from guardrails.asking.outside import judge_problems, questioner_of
from guardrails.config import GuardrailConfig
from guardrails.kind import BOTH, Found, Kind, Tools, always, words

CATEGORY = "policy"
SPAN = "POLICY"
MOST_QUESTION = 2_000


def _asking(name: str, check: GuardrailConfig, tools: Tools) -> Asking:
    return AskJudge(questioner_of(name, check, tools), own_question(check.question or ""), SPAN)


def _transform(name: str, check: GuardrailConfig, tools: Tools) -> Transform:
    return OutputAsking(
        answer_rules(name, check, CATEGORY, KIND.streams[0]), _asking(name, check, tools), clock=tools.clock
    )


def _problems(check: GuardrailConfig) -> Found:
    if not (check.question or "").strip():
        yield ".question", "missing: write a question about the text that is answered with yes where it must not pass"
    elif len(check.question or "") > MOST_QUESTION:
        yield ".question", f"longer than {MOST_QUESTION} characters"
    if check.judge is not None and check.judge.band is not None:
        yield ".judge.band", "means nothing for `use: judge`, which asks about every text"
    yield from judge_problems(check, needed=True)


KIND = Kind(
    use="judge",
    category=CATEGORY,
    sides=BOTH,
    actions=words("block flag"),
    keys=words("judge question at_once scope stream then attempts reply handoff"),
    streams=("full",),
    misses=always(
        "what its model misjudges or is talked round about by the text itself; texts of more than 48,000 characters are "
        "not scanned"
    ),
    asking=_asking,
    transform=_transform,
    outside=True,
    problems=_problems,
    tiers=lambda check: f"the model {check.judge.model!r} on every text" if check.judge else "",
)
