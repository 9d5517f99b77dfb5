"""`use: toxicity`."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.core.ports import Transform
from guardrails.answered.answers import answer_rules
from guardrails.asked.inspectors import Scanning
from guardrails.asked.screen import Asking, Inspector
from guardrails.asking.asking_output import OutputAsking
from guardrails.asking.classifying import Classifying
from guardrails.asking.outside import classifier_of, classifier_problems
from guardrails.config import GuardrailConfig
from guardrails.finding.scanner import Scanner
from guardrails.kind import BOTH, SCANNED, Delivery, Kind, Tools, words
from guardrails.subjects import toxicity

CATEGORY = "toxicity"
SPAN = "TOXICITY"


def _scanner(check: GuardrailConfig) -> Scanner:
    return toxicity.scanner(check.threshold or toxicity.THRESHOLD)


def _inspector(check: GuardrailConfig, tools: Tools) -> Inspector | None:
    return Scanning([_scanner(check)]) if check.model is None else None


def _asking(name: str, check: GuardrailConfig, tools: Tools) -> Asking | None:
    return classifying(check) if check.model is not None else None


def classifying(check: GuardrailConfig) -> Classifying:
    """The operator's model instead of the list: who brings one does not want the list's false alarms."""
    return Classifying(classifier_of(check), check.threshold or toxicity.THRESHOLD, SPAN)


def _transform(name: str, check: GuardrailConfig, tools: Tools) -> Transform | None:
    asking = _asking(name, check, tools)
    if asking is None:
        return None
    return OutputAsking(answer_rules(name, check, CATEGORY, KIND.streams[0]), asking, clock=tools.clock)


def _misses(check: GuardrailConfig, side: str, delivery: Delivery) -> str:
    if check.model is not None:
        return "whatever its model was not trained on; what only several turns or windows together say"
    return (
        "whatever its English list does not spell out: paraphrase, allusion, sarcasm, context, letters spaced out, "
        "other languages; quotations and reports of hateful speech are hits; harmful requests in polite words are not"
    )


def _problems(check: GuardrailConfig) -> Iterator[tuple[str, str]]:
    yield from classifier_problems(check)
    if check.model is not None and check.stream == "retract":
        yield (
            ".stream",
            "a model is asked about whole sentences, so there is nothing to retract; use window, full or audit",
        )


KIND = Kind(
    use="toxicity",
    category=CATEGORY,
    sides=BOTH,
    actions=words("block flag"),
    keys=words("threshold model labels providers scope stream then attempts reply handoff"),
    streams=SCANNED,
    misses=_misses,
    scanner=_scanner,
    inspector=_inspector,
    asking=_asking,
    transform=_transform,
    problems=_problems,
    tiers=lambda check: "an ONNX classifier instead of the list" if check.model is not None else "",
)
