"""Groundedness: whether what an answer says is in the context that came with the request, by a judge's word.

The judge gets the context, the latest question and the answer's sentences under numbers, and names those that the context
does not support. The score is their share. Only the visible text is judged: reasoning is no claim, and a call is an
act."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gateway.core.exchange import Exchange
from gateway.core.request import Request
from guardrails.asked.screen import Finding
from guardrails.asking.not_scanned import NotScanned
from guardrails.asking.questioner import DATA, Questioner, only_object
from guardrails.finding.spans import Span
from guardrails.reading.sentences import sentences

KIND = "UNGROUNDED"
RULE = "judge"
THRESHOLD = 0.1
"""Share of unsupported sentences: with fewer than ten sentences, one is enough."""
DEFAULT = ("retrieved", "tool_results")
ROLES = {"retrieved": "retrieved", "tool_results": "tool", "system": "system"}
"""What `context:` lists -> the role of the text."""
MOST_SENTENCES = 200

SYSTEM = (
    "You check whether an answer is supported by its context. "
    + DATA
    + "You get the context, the question, and the answer as numbered sentences. A sentence is unsupported if it states as "
    "a fact something that the context neither says nor clearly implies, or contradicts it. Greetings, questions, "
    "refusals, offers of help, and saying that the context does not tell are supported. Your own knowledge does not count. "
    'Answer with exactly one JSON object, {"unsupported": [numbers of the unsupported sentences]}, the list empty if '
    "there are none, and nothing before or after it."
)


class Grounded:
    """Asking, for the output side: `texts` are the visible texts of choices."""

    def __init__(self, questioner: Questioner, context: Sequence[str], threshold: float) -> None:
        self._questioner = questioner
        self._roles = frozenset(ROLES[name] for name in context)
        self._threshold = threshold

    def ready(self, exchange: Exchange) -> bool:
        """Whether there is any context: without it nothing can be said, and so there is no verdict."""
        return bool(context_of(exchange.asked(), self._roles))

    async def ask(
        self, exchange: Exchange, texts: Sequence[str], findings: Sequence[Finding], seconds: float
    ) -> Sequence[Finding]:
        context = context_of(exchange.asked(), self._roles)
        question = "\n".join(slot.text for slot in exchange.asked().latest_user())
        return [await self._one(exchange, context, question, text, seconds) for text in texts]

    async def _one(self, exchange: Exchange, context: str, question: str, text: str, seconds: float) -> Finding:
        said = sentences(text)
        if not said:
            return Finding((), 0.0, RULE)
        if len(said) > MOST_SENTENCES:
            raise NotScanned("too_long")
        numbered = "\n".join(f"{number}. {sentence}" for number, sentence in enumerate(said, 1))
        shown = {"The context": context, "The question": question, "The answer": numbered}
        score = await self._questioner.score(exchange, SYSTEM, shown, share_of(len(said)), seconds)
        spans = [Span(KIND, 0, len(text), score)] if score >= self._threshold else []
        return Finding(spans, round(score, 4), RULE)


def context_of(request: Request, roles: frozenset[str]) -> str:
    """The texts of these roles, in reading order. What assistants called tools with is not context."""
    parts = [slot.text for slot in request.slots if slot.role in roles and slot.text.strip()]
    return "\n\n".join(parts)


def share_of(count: int) -> Callable[[str], float]:
    """Reads the judge's answer about `count` sentences as the share that is unsupported."""

    def read(words: str) -> float:
        value = only_object(words)
        numbers = value.get("unsupported")
        if value.keys() != {"unsupported"} or not isinstance(numbers, list):
            raise ValueError("not of the form that was asked for")
        if not all(type(number) is int and 1 <= number <= count for number in numbers):
            raise ValueError("names a sentence that is not there")
        return len(set(numbers)) / count

    return read
