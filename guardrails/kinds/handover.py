"""`use: handover`: a person takes over where the user wants one, or a model should not go on."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.core.exchange import Exchange
from guardrails.asked.handover import Triggers, asking_phrases, latest
from guardrails.asked.screen import CLEAN, Asking, Finding
from guardrails.asking.classifying import Classifying
from guardrails.asking.outside import classifier_of, classifier_problems
from guardrails.config import GuardrailConfig
from guardrails.finding.spans import Span
from guardrails.kind import Found, Kind, Tools, always, words

THRESHOLD = 0.5
SPAN = "HANDOVER"


class Watch:
    """Looks at the conversation, whatever the texts it is given; a classifier is asked last, because it is slow."""

    def __init__(self, triggers: Triggers, classifying: Classifying | None) -> None:
        self._triggers = triggers
        self._classifying = classifying

    async def ask(
        self, exchange: Exchange, texts: Sequence[str], findings: Sequence[Finding], seconds: float
    ) -> Sequence[Finding]:
        request = exchange.asked()
        reason = self._triggers.reason(request)
        said = latest(request)
        if not reason and self._classifying is not None and said.strip():
            (found,) = await self._classifying.ask(exchange, [said], [CLEAN], seconds)
            reason = "classifier" if found.hit else ""
        if not reason:
            return [CLEAN] * len(texts)
        return [*[CLEAN] * (len(texts) - 1), Finding([Span(SPAN, 0, len(texts[-1]))], None, reason)]


def _asking(name: str, check: GuardrailConfig, tools: Tools) -> Asking:
    alone = check.anger is None and check.turns is None and check.model is None
    phrases = asking_phrases(check.phrases) if alone or check.phrases is not None else None
    triggers = Triggers(phrases=phrases, anger=check.anger, turns=check.turns)
    if check.model is None:
        return Watch(triggers, None)
    return Watch(triggers, Classifying(classifier_of(check), check.threshold or THRESHOLD, SPAN))


def _problems(check: GuardrailConfig) -> Found:
    if check.anger is not None and not 0 < check.anger <= 1:
        yield ".anger", "must be above 0 and at most 1"
    if check.turns is not None and not 1 <= check.turns <= 1000:
        yield ".turns", "must be between 1 and 1000"
    for at, phrase in enumerate(check.phrases or ()):
        if len(phrase.strip()) < 3:
            yield f".phrases[{at}]", "needs at least three characters, or it would hit everywhere"
    if check.model is not None:
        yield from classifier_problems(check, needed=True)
    elif check.labels or check.providers or check.threshold is not None:
        yield ".model", "missing: labels, providers and threshold are a classifier's"


KIND = Kind(
    use="handover",
    category="handover",
    sides=frozenset({"input"}),
    actions=words("handoff flag"),
    keys=words("phrases anger turns model labels providers threshold handoff reply"),
    misses=always(
        "wishes for a person in other words than those it knows, irony, anger put politely; a history that the "
        "client does not send along"
    ),
    asking=_asking,
    tiers=lambda check: "an ONNX classifier" if check.model else "",
    problems=_problems,
)
