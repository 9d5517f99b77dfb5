"""`use: topic`: what may be talked about, and what may not, by examples."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.core.events import Text
from gateway.core.ports import Transform
from guardrails.answered.answers import answer_rules
from guardrails.asked.in_pool import InPool
from guardrails.asking.asking_output import OutputAsking
from guardrails.config import CHECK_NAME, GuardrailConfig
from guardrails.kind import BOTH, Delivery, Kind, Tools, words
from guardrails.subjects.topics import MOST, SMALL_TALK, THRESHOLD, Topics

CATEGORY = "topic"
FEWEST, MOST_EXAMPLES = 2, 500


def _inspector(check: GuardrailConfig, tools: Tools) -> Topics:
    if tools.encode is None:
        raise ValueError("guardrails: `use: topic` needs the embedding model, which was not handed in")
    return Topics(
        check.topics or {},
        deny=check.deny or (),
        allow=check.allow or (),
        threshold=check.threshold or THRESHOLD,
        encode=tools.encode,
    )


def _transform(name: str, check: GuardrailConfig, tools: Tools) -> Transform:
    asking = InPool(_inspector(check, tools), tools.pool)
    rules = answer_rules(name, check, CATEGORY, KIND.streams[0])
    return OutputAsking(rules, asking, clock=tools.clock, kinds=frozenset({Text}))


def _problems(check: GuardrailConfig) -> Iterator[tuple[str, str]]:
    topics = check.topics or {}
    if not topics:
        yield ".topics", "missing: write topics, each with a few example sentences"
    for name, examples in topics.items():
        if not CHECK_NAME.fullmatch(name):
            yield (
                f".topics.{name}",
                "a topic's name is up to 40 lower-case letters, digits, - and _: it goes into records",
            )
        if len(examples) < FEWEST:
            yield f".topics.{name}", f"needs at least {FEWEST} example sentences; ten are better"
        if any(not example.strip() for example in examples):
            yield f".topics.{name}", "an example is empty"
    if sum(map(len, topics.values())) > MOST_EXAMPLES:
        yield ".topics", f"more than {MOST_EXAMPLES} examples"
    if bool(check.deny) == bool(check.allow):
        yield ".deny", "write either `deny` (topics to stop) or `allow` (the only topics to let by)"
    for key, names in (("deny", check.deny or ()), ("allow", check.allow or ())):
        for at, name in enumerate(names):
            if topics and name not in topics:
                yield f".{key}[{at}]", f"no topic is called {name!r}; there are {', '.join(topics)}"
    if check.allow and "output" in check.on and check.action == "block" and check.stream != "full":
        yield ".stream", "whether an answer is about nothing else shows at its end: `allow` needs `stream: full` there"


def _misses(check: GuardrailConfig, side: str, delivery: Delivery) -> str:
    known = (
        "what is far from every example in its wording; languages other than English, mostly; a denied subject that a "
        f"passage only touches; the middle of texts of more than {MOST} passages"
    )
    if check.allow:
        known += f"; texts of up to {SMALL_TALK} words pass, and so does all of a text that has one passage on topic"
    if side == "output":
        known += "; reasoning, and the arguments of calls"
    return known


KIND = Kind(
    use="topic",
    category=CATEGORY,
    sides=BOTH,
    actions=words("block flag"),
    keys=words("topics deny allow threshold scope stream then attempts reply handoff"),
    streams=("window", "full"),
    misses=_misses,
    remembers=True,
    inspector=_inspector,
    transform=_transform,
    tiers=lambda check: "the embedding model on every passage",
    problems=_problems,
)
