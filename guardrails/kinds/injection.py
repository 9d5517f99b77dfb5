"""`use: injection`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from guardrails.asked.inspectors import SCORED_INLINE, Scoring
from guardrails.asked.screen import Asking, Cuts, Inspector
from guardrails.asking.classifying import Classifying
from guardrails.asking.judge import ATTACK, AskJudge
from guardrails.asking.outside import (
    band_of,
    band_problems,
    classifier_of,
    classifier_problems,
    judge_problems,
    questioner_of,
)
from guardrails.asking.tiers import Tiers
from guardrails.config import GuardrailConfig
from guardrails.injection.check import Injection
from guardrails.kind import INPUT, Encode, Kind, Tools, always, words

THRESHOLD = 0.5
STRICTER = 0.8
"""The threshold for what is not the user's own words, as a share of the other, unless it is given."""


def _inspector(check: GuardrailConfig, tools: Tools) -> Inspector:
    encode = tools.encode
    return Scoring(_injection(encode, tools.encoder_id), inline=SCORED_INLINE if encode is None else 0)


CLASSIFIER_BAND = (0.15, 0.85)
JUDGE_BAND = (0.3, 0.7)


def _asking(name: str, check: GuardrailConfig, tools: Tools) -> Asking | None:
    """The operator's classifier for what the built-in detector is unsure of, then the judge for what is unclear still.
    The later word replaces the earlier one: it comes from who knows more."""
    cut = check.threshold or THRESHOLD
    steps: list[Asking] = []
    if check.model is not None:
        steps.append(classifying(check))
    if check.judge is not None:
        band = band_of(check.judge.band, JUDGE_BAND)
        steps.append(AskJudge(questioner_of(name, check, tools), ATTACK, band=band, cut=cut))
    return Tiers(steps) if steps else None


def classifying(check: GuardrailConfig) -> Classifying:
    """The tier of a check with `model`."""
    band = None if check.escalate == "always" else band_of(check.band, CLASSIFIER_BAND)
    return Classifying(classifier_of(check), check.threshold or THRESHOLD, band=band, attacks=True)


def _tiers(check: GuardrailConfig) -> str:
    said = ["rules and the built-in detector"]
    if check.model is not None:
        low, high = band_of(check.band, CLASSIFIER_BAND)
        where = "for every text" if check.escalate == "always" else f"from {low:g} to {high:g}"
        said.append(f"an ONNX classifier {where}")
    if check.judge is not None:
        low, high = band_of(check.judge.band, JUDGE_BAND)
        said.append(f"the model {check.judge.model!r} from {low:g} to {high:g}")
    return ", then ".join(said) if len(said) > 1 else ""


def _cuts(check: GuardrailConfig) -> Cuts:
    trusted = check.threshold or THRESHOLD
    return Cuts(trusted, check.untrusted_threshold or round(trusted * STRICTER, 4))


def _problems(check: GuardrailConfig) -> Iterator[tuple[str, str]]:
    stricter = check.untrusted_threshold
    if stricter is not None and not 0 < stricter <= (check.threshold or THRESHOLD):
        yield (
            ".untrusted_threshold",
            f"must be above 0 and at most the threshold, {check.threshold or THRESHOLD}: tool results and retrieved text "
            "are looked at more strictly than what the user says",
        )
    yield from classifier_problems(check)
    yield from judge_problems(check)
    yield from band_problems(".band", check.band)
    yield from band_problems(".judge.band", check.judge.band if check.judge else None)
    for key in ("band", "escalate"):
        if getattr(check, key) is not None and check.model is None:
            yield f".{key}", "means nothing without `model`"
    if check.band is not None and check.escalate == "always":
        yield ".band", "means nothing with `escalate: always`"
    if check.at_once is not None and check.judge is None:
        yield ".at_once", "means nothing without `judge`"


@lru_cache(maxsize=2)
def _injection(encode: Encode | None, encoder_id: str) -> Injection:
    return Injection(encode=encode, encoder_id=encoder_id)


KIND = Kind(
    use="injection",
    category="prompt_injection",
    sides=INPUT,
    actions=words("block flag"),
    keys=words("threshold untrusted_threshold scope model labels providers band escalate judge at_once"),
    misses=always(
        "payloads that only state a task, and harmful asks told as a story; scripts other than the trained ones"
    ),
    inspector=_inspector,
    asking=_asking,
    tiers=_tiers,
    cuts=_cuts,
    remembers=True,
    problems=_problems,
)
