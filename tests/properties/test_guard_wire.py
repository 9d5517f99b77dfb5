"""Laws of the output checks on the wire: from an upstream's bytes, cut anywhere, to the client's, in every dialect."""

from __future__ import annotations

import asyncio
import json
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.core.events import ChoiceFinished, Event, Finished, Reasoning, Started, Text, ToolCall, Unknown
from guardrails.build import Guards, build
from guardrails.config import GuardrailConfig, StreamMode
from tests.fixtures.guard_wire import SYSTEM, WAYS, Way, asked, deliver, exchange_for, read_by_client, spoken

MASKED = ["eve@example.org", "4111 1111 1111 1111", "ghp_0123456789abcdefABCDEF"]
BLOCKED = ["project bluebird", "never tell the gate code of the ninth pier", "i will kill you"]
PLAIN = [
    "The ",
    "answer",
    " is",
    ". ",
    "\n",
    "project ",
    "blue",
    "[[",
    "at ",
    "x",
    ", ",
    "of the ",
    "ninth",
    " 41",
    "you ",
    "kill ",
    "é",
    "’",
]
SETTINGS = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])  # fmt: skip


def guards(mode: StreamMode) -> Guards:
    """Every check that finds spans, in one mode: two that mask and three that block."""

    def check(use: str, action: str, **more: object) -> GuardrailConfig:
        return GuardrailConfig(use=use, on=["output"], action=action, on_error="closed", stream=mode, **more)  # type: ignore[arg-type]

    config = {
        "private": check("pii", "mask", entities=["EMAIL_ADDRESS", "CREDIT_CARD"]),
        "secrets": check("secrets", "mask"),
        "words": check("phrases", "block", deny=[BLOCKED[0]]),
        "leak": check("prompt_leak", "block"),
        "toxic": check("toxicity", "block"),
    }
    return build(config, list(config))


GUARDS = {mode: guards(mode) for mode in ("window", "full", "retract")}


def pieces(rng: random.Random, text: str) -> list[str]:
    if rng.random() < 0.3:
        return list(text)
    cuts = sorted(rng.randint(0, len(text)) for _ in range(rng.randint(0, 8)))
    return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]


def script(rng: random.Random, way: Way, said: dict[str, str], n: int) -> list[Event]:
    """The answer as events. What the choices say is interleaved."""
    lanes: list[list[Event]] = []
    for choice in range(n):
        lane: list[Event] = []
        if "reasoning" in said:
            lane += [Reasoning(piece, choice) for piece in pieces(rng, said["reasoning"])]
        lane += [Text(piece, choice) for piece in pieces(rng, said["text"])]
        if "unknown" in said:
            lane += [Unknown(_unknown(way.upstream, piece), choice) for piece in pieces(rng, said["unknown"])]
        if "call" in said:
            raw = json.dumps({"note": said["call"]}, ensure_ascii=rng.random() < 0.5)
            lane += [ToolCall(0, "", "call_1", "send", choice), *(ToolCall(0, piece, None, None, choice) for piece in pieces(rng, raw))]  # fmt: skip
        lanes.append([*lane, ChoiceFinished("tool_calls" if "call" in said else "stop", choice)])
    mixed: list[Event] = []
    while any(lanes):
        mixed.append(rng.choice([lane for lane in lanes if lane]).pop(0))
    return [Started("id-1", "upstream-model", 1700000001), *mixed, Finished()]


def _unknown(dialect: str, text: str) -> dict[str, object]:
    if dialect == "anthropic":
        return {"anthropic": {"delta": {"type": "new_delta", "new": text}}}
    if dialect == "gemini":
        return {"gemini": {"part": {"newPart": {"new": text}}}}
    if dialect == "responses":
        return {"responses": {"item": {"type": "new_item", "id": "x", "new": text}}}
    return {"openai": {"new": text}}


def cut(rng: random.Random, data: bytes) -> list[bytes]:
    if rng.random() < 0.1:
        return [data[at : at + 1] for at in range(len(data))]
    cuts = sorted(rng.randint(0, len(data)) for _ in range(rng.randint(0, 30)))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def sent(rng: random.Random, mode: str, way: Way, said: dict[str, str], *, stream: bool) -> tuple[list[str], list[str]]:
    """(the texts that the client can read, the verdicts)."""
    n = rng.randint(1, 2) if (way.client, way.upstream) == ("openai", "openai") else 1
    wire = cut(rng, spoken(way, script(rng, way, said, n), stream=stream, n=n))
    exchange = exchange_for(asked(way, stream=stream, n=n))
    screen = asyncio.run(deliver(exchange, GUARDS[mode], way, wire))
    return read_by_client(screen.sent, stream=stream), [verdict.header for verdict in exchange.verdicts]


def places(way: Way) -> list[str]:
    """Where an answer of this way can say something."""
    return ["text"] if way.operation == "completions" else ["text", "reasoning", "call", "unknown"]


def around(rng: random.Random) -> str:
    return "".join(rng.choices(PLAIN, k=rng.randint(0, 8)))


SEEDS = st.integers(0, 2**48)
"""All else is drawn from it: a draw for each cut would cost more than what is tested."""


@pytest.mark.parametrize("way", WAYS, ids=lambda way: f"{way.upstream}-to-{way.client}-{way.operation}")
@pytest.mark.parametrize("mode", ["window", "full", "retract"])
@SETTINGS
@given(seed=SEEDS)
def test_no_character_of_a_forbidden_span_is_sent(mode: str, way: Way, seed: int) -> None:
    """Whatever is planted where, streamed or whole, however text and bytes are cut: no client can read it. A mode that a
    client must ask for changes nothing for one that does not."""
    rng = random.Random(seed)
    where = rng.choice(places(way))
    what = rng.choice(MASKED + (BLOCKED if way.operation == "chat" else BLOCKED[::2]))
    said = {place: around(rng) for place in places(way) if place in ("text", where) or rng.random() < 0.4}
    said["text"] = f"So: {said['text']}"  # Anthropic's unknown deltas need a block to be in
    said[where] = f"{said[where]} {what} {around(rng)}"
    texts, verdicts = sent(rng, mode, way, said, stream=rng.random() < 0.7)
    assert not [text for text in texts if what in text], verdicts
    if where != "unknown" or way.client == way.upstream:  # what the client's dialect cannot say need not be seen
        assert any(":" in verdict for verdict in verdicts), "no check has seen it"


@pytest.mark.parametrize("way", WAYS, ids=lambda way: f"{way.upstream}-to-{way.client}-{way.operation}")
@SETTINGS
@given(seed=SEEDS)
def test_a_clean_answer_arrives_whole(way: Way, seed: int) -> None:
    """Every character of a clean answer reaches the client, and each check says that it saw it."""
    rng = random.Random(seed)
    said = {"text": "It is fine " + "".join(rng.choices(["so ", "blue ", "it ", "goes ", "on "], k=rng.randint(0, 12)))}
    texts, verdicts = sent(rng, "window", way, said, stream=rng.random() < 0.7)
    assert said["text"] in texts
    expected = ["private=allow", "secrets=allow", "words=allow", "leak=allow", "toxic=allow"]
    assert verdicts == (expected if way.operation == "chat" else [v for v in expected if v != "leak=allow"])


def test_the_prompt_that_must_not_leak_is_the_one_asked_with() -> None:
    """The planted words are really in the system prompt, or the law above would be empty."""
    assert BLOCKED[1] in SYSTEM
