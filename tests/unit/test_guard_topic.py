"""Topics by examples, with the real encoder: what is denied, what alone is allowed, and what is not looked at."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import numpy as np
import pytest

from gateway.core.errors import CheckFailed
from gateway.core.events import Blocked, Started
from gateway.embedding.minilm import MiniLM
from guardrails.build import build
from guardrails.config import GuardrailConfig, problems
from guardrails.kind import Tools
from guardrails.subjects.topics import MOST, PASSAGE, Topics, passages
from tests.fixtures.guard_world import answer, blocked, exchange_of, text_of, through

EXAMPLES = {
    "politics": ["Who should I vote for in the election?", "Which party has the better programme?", "Is the president doing a good job?"],
    "medical": ["What dose of ibuprofen may I take?", "I have a rash on my arm, what is it?", "Is this medicine safe in pregnancy?"],
    "orders": ["Where is my parcel?", "I want to return the shoes I bought", "Can I change the delivery address of my order?"],
}  # fmt: skip
DENY = GuardrailConfig(
    use="topic",
    on=["input", "output"],
    action="block",
    topics=EXAMPLES,
    deny=["politics", "medical"],
    on_error="closed",
    deadline=20.0,
)
CONFIG = {
    "subject": DENY,
    "window": msgspec.structs.replace(DENY, on=["output"]),
    "full": msgspec.structs.replace(DENY, on=["output"], stream="full"),
    "only": msgspec.structs.replace(DENY, on=["input"], deny=None, allow=["orders"]),
    "late": msgspec.structs.replace(DENY, on=["output"], deadline=0.001),
}
VOTE = "I think you should vote for the green party in the next election, because its programme is better. "
ORDER = "Your parcel left our warehouse on Monday and will be delivered to your address tomorrow before noon by our driver. "


@pytest.fixture(scope="module")
def tools(minilm: MiniLM) -> Iterator[Tools]:
    with ThreadPoolExecutor(2) as pool:
        yield Tools(pool=pool, encode=minilm.encode, encoder_id=minilm.id)


async def asked(tools: Tools, name: str, text: str) -> tuple[str | None, list[tuple[str, str]]]:
    exchange = exchange_of(("user", text))
    screen = build(CONFIG, [name], tools).inspect
    assert screen is not None
    result = await screen.decide(exchange)
    return (result.kind if result else None), [(v.action, v.reason) for v in exchange.verdicts]


@pytest.mark.parametrize(
    ("text", "topic"),
    [
        ("Tell me which party I should vote for", "politics"),
        ("How much paracetamol can I take for a headache?", "medical"),
        ("My order has not come yet, where is it?", ""),
        ("Can you write a poem about autumn?", ""),
    ],
)
async def test_a_denied_topic_is_stopped_on_the_way_in(tools: Tools, text: str, topic: str) -> None:
    """By the nearest example; the verdict names the topic, which is the operator's word."""
    kind, verdicts = await asked(tools, "subject", text)
    assert kind == ("refused" if topic else None)
    assert verdicts == [("block", topic) if topic else ("allow", "")]


async def test_only_the_allowed_topic_is_let_by(tools: Tools) -> None:
    """What is near to none of its examples is off topic; thanks and greetings are not."""
    assert (await asked(tools, "only", "I would like to return my order"))[0] is None
    assert (await asked(tools, "only", "Thank you!"))[0] is None
    kind, verdicts = await asked(tools, "only", "Can you write a poem about autumn for my class?")
    assert kind == "refused"
    assert verdicts == [("block", "off_topic")]


async def test_an_answer_is_stopped_at_the_passage_that_drifts(tools: Tools) -> None:
    """In mode `window` what came before is out; in `full` nothing is; whole answers are refused whole."""
    text = ORDER * 2 + VOTE * 2
    chunks = [text[at : at + 9] for at in range(0, len(text), 9)]
    exchange = exchange_of(("user", "hi"))
    out = await through(exchange, build(CONFIG, ["window"], tools).checks, answer(chunks))
    assert blocked(out) is not None
    assert text.startswith(text_of(out))
    assert "vote" not in text_of(out)
    assert text_of(out).startswith(ORDER[:60])
    assert [(v.action, v.reason) for v in exchange.verdicts] == [("block", "politics")]
    out = await through(exchange_of(("user", "hi")), build(CONFIG, ["full"], tools).checks, answer(chunks))
    assert [type(event) for event in out] == [Started, Blocked]
    fine = answer([ORDER])
    assert text_of(await through(exchange_of(("user", "x")), build(CONFIG, ["window"], tools).checks, fine)) == ORDER


async def test_a_check_that_is_late_or_breaks_is_not_scanned(tools: Tools) -> None:
    """Neither passes for clean."""

    def broken(texts: Any) -> Any:
        if len(texts) > 1:
            return np.eye(len(texts), 384, dtype=np.float32)
        raise RuntimeError("no")

    exchange = exchange_of(("user", "hi"))
    with pytest.raises(CheckFailed):
        await through(
            exchange, build(CONFIG, ["full"], msgspec.structs.replace(tools, encode=broken)).checks, answer([VOTE])
        )
    assert [(v.action, v.reason) for v in exchange.verdicts] == [("not_scanned", "crashed")]
    with pytest.raises(TimeoutError):
        Topics(EXAMPLES, deny=["politics"], encode=tools.encode or broken).inspect([VOTE], until=0.0)


def test_passages_are_whole_sentences_and_bounded() -> None:
    """Long texts are looked at from both ends; text without sentences is cut."""
    assert passages("One. Two! Three?") == ["One. Two! Three?"]
    long = passages((ORDER * 3 + "\n") * 60)
    assert len(long) == MOST
    assert all(len(passage) <= 2 * PASSAGE for passage in long)
    assert max(map(len, passages("x" * 5000))) <= 2 * PASSAGE
    assert passages("...\n\n") == []


def test_without_the_encoder_it_cannot_be_built() -> None:
    """A check that could not look is an error at start, and not a check that finds nothing."""
    with pytest.raises(ValueError, match="needs the embedding model"):
        build(CONFIG, ["subject"])


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"topics": None}, ".topics"),
        ({"topics": {"politics": ["one"], "medical": ["a b", "c d"]}}, ".topics.politics"),
        ({"deny": ["sport"]}, ".deny[0]"),
        ({"allow": ["orders"]}, ".deny"),
        ({"deny": None}, ".deny"),
        ({"deny": None, "allow": ["orders"]}, ".stream"),
        ({"topics": {"Big Politics": ["a b", "c d"]}, "deny": ["Big Politics"]}, ".topics.Big Politics"),
    ],
)
def test_slips_are_named(changes: dict[str, Any], key: str) -> None:
    """Each with its place."""
    check = msgspec.structs.replace(DENY, **changes)
    assert f"guardrails.g{key}" in [path for path, _ in problems({"g": check})]
