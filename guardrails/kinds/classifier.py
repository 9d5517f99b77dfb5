"""`use: classifier`: any text classifier that the operator brings, over what comes in and what goes out."""

from __future__ import annotations

from gateway.core.ports import Transform
from guardrails.answered.answers import answer_rules
from guardrails.asked.screen import Asking
from guardrails.asking.asking_output import OutputAsking
from guardrails.asking.classifying import Classifying
from guardrails.asking.outside import classifier_of, classifier_problems
from guardrails.config import GuardrailConfig
from guardrails.kind import BOTH, Found, Kind, Tools, always, words

CATEGORY = "classifier"
THRESHOLD = 0.5
SPAN = "CLASSIFIED"


def _asking(name: str, check: GuardrailConfig, tools: Tools) -> Asking:
    return Classifying(classifier_of(check), check.threshold or THRESHOLD, SPAN)


def _transform(name: str, check: GuardrailConfig, tools: Tools) -> Transform:
    return OutputAsking(
        answer_rules(name, check, CATEGORY, KIND.streams[0]), _asking(name, check, tools), clock=tools.clock
    )


def _problems(check: GuardrailConfig) -> Found:
    yield from classifier_problems(check, needed=True)


KIND = Kind(
    use="classifier",
    category=CATEGORY,
    sides=BOTH,
    actions=words("block flag"),
    keys=words("model labels providers threshold scope stream then attempts reply handoff"),
    streams=("full", "window"),
    misses=always("whatever its model was not trained on; what only several turns or windows together say"),
    asking=_asking,
    remembers=True,
    transform=_transform,
    problems=_problems,
    tiers=lambda check: "an ONNX classifier",
)
