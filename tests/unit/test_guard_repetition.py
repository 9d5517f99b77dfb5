"""Runaway repetition: noticed soon, at the same place however the text comes, and not where there is none."""

from __future__ import annotations

import base64
import hashlib

import pytest

from gateway.core.events import Blocked, ChoiceFinished, Event, Finished, Reasoning, Started, Text, ToolCall
from guardrails.answered.runaway import Runaway
from guardrails.build import build
from guardrails.config import GuardrailConfig, problems
from tests.fixtures.guard_world import answer, arguments_of, blocked, exchange_of, text_of, through

CONFIG = {
    "loop": GuardrailConfig(use="repetition", on=["output"], action="block", on_error="closed"),
    "full": GuardrailConfig(
        use="repetition", on=["output"], action="block", stream="full", then="retry", on_error="closed"
    ),
    "watch": GuardrailConfig(use="repetition", on=["output"], action="flag"),
}
LINE = "I will now check the file again to make sure that it is right.\n"
LOOPS = {
    "a line": LINE,
    "a letter": "a",
    "line breaks": "\n",
    "a word": "very ",
    "a phrase": "and so on, ",
    "a paragraph": "The answer depends on the weather. If it rains, take the bus; if not, walk. Either way, leave in good time. "
    "Otherwise you will be late, which nobody wants.\n\n",
    "an emoji": "👍",
    "zeros": "0, ",
    "half repeated": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab",
}


def table() -> str:
    rows = [f"| {n:3} | {n * n:6} | {'yes' if n % 3 else 'no '} |" for n in range(80)]
    return "| n   | square | odd |\n|-----|--------|-----|\n" + "\n".join(rows)


BENIGN = {
    "a table": table(),
    "an empty form": "\n".join(f"| {name:<12} |              |              |" for name in "abcdefghijklmnopqrst"),
    "code": "def f(x):\n" + "".join(f"{' ' * 24}if x == {n}:\n{' ' * 28}return {n * 7}\n" for n in range(60)),
    "a separator": ("-" * 120 + "\n" + "=" * 80 + "\nChapter\n") * 2,
    "a list": "\n".join(f"{n}. Item number {n} of the list, which is about {'abcdefghij'[n % 10] * 3}." for n in range(120)),
    "json": "[" + ", ".join(f'{{"id": {n}, "name": "user{n}", "active": true, "roles": []}}' for n in range(80)) + "]",
    "base64": base64.b64encode(b"".join(hashlib.sha256(bytes([n])).digest() for n in range(60))).decode(),
    "hex dump": "\n".join(f"{n:08x}: {hashlib.sha256(bytes([n])).hexdigest()}" for n in range(40)),
    "a song": ("Row, row, row your boat,\nGently down the stream,\nMerrily, merrily, merrily, merrily,\nLife is but a dream.\n\n") * 3,
    "a tree": "\n".join("│   " * (n % 9) + "├── file" + str(n) for n in range(90)),
    "seven times": LINE * 7 + "Done.",
    "matrix": "\n".join(" ".join(str((r * c) % 7) for c in range(20)) for r in range(30)),
}  # fmt: skip


@pytest.mark.parametrize("name", LOOPS)
@pytest.mark.parametrize("size", [1, 4, 100_000])
async def test_a_loop_is_stopped_at_the_same_place_however_it_comes(name: str, size: int) -> None:
    """The text up to there is sent, then the block; the place does not depend on the chunks."""
    text = "Here is what I found so far:\n" + LOOPS[name] * (6000 // len(LOOPS[name]))
    exchange = exchange_of(("user", "hi"))
    chunks = [text[at : at + size] for at in range(0, len(text), size)]
    out = await through(exchange, build(CONFIG, ["loop"]).checks, answer(chunks))
    sent = text_of(out)
    assert blocked(out) == Blocked("loop", "runaway_repetition", "The model repeated itself without end.")
    assert text.startswith(sent)
    assert len(sent) <= 29 + max(400, 8 * len(LOOPS[name])) + 64
    assert len(sent) % 64 == 0
    assert [(v.action, v.reason) for v in exchange.verdicts] == [("block", "text")]


@pytest.mark.parametrize("name", BENIGN)
async def test_ordinary_regular_text_is_let_by(name: str) -> None:
    """Tables, indentation, separators, lists, JSON, Base64 and songs say no thing eight times for 400 characters."""
    exchange = exchange_of(("user", "hi"))
    out = await through(exchange, build(CONFIG, ["loop"]).checks, answer([BENIGN[name]]))
    assert text_of(out) == BENIGN[name]
    assert [v.header for v in exchange.verdicts] == ["loop=allow"]


async def test_reasoning_and_arguments_are_watched_each_by_itself() -> None:
    """Two texts that take turns are not one text."""
    for make, reason in ((Reasoning, "reasoning"), (lambda piece: ToolCall(0, piece, "c", "f"), "tool_arguments")):
        events: list[Event] = [Started("r", "m", 1)]
        for _ in range(60):
            events += [make(LINE), Text("")]
        exchange = exchange_of(("user", "hi"))
        out = await through(exchange, build(CONFIG, ["loop"]).checks, events)
        assert blocked(out) is not None
        assert [v.reason for v in exchange.verdicts] == [reason]
        assert not arguments_of(out).endswith(LINE * 20)
    both: list[Event] = [event for n in range(200) for event in (Text(f"{n} "), Reasoning(f"{n * n} "))]
    out = await through(
        exchange_of(("user", "x")), build(CONFIG, ["loop"]).checks, [*both, ChoiceFinished("stop"), Finished()]
    )
    assert blocked(out) is None


async def test_full_sends_nothing_of_it_and_a_flag_all_of_it() -> None:
    """Only where nothing is out can something else be said instead."""
    out = await through(exchange_of(("user", "hi")), build(CONFIG, ["full"]).checks, answer([LINE] * 40))
    found = blocked(out)
    assert [type(event) for event in out] == [Started, Blocked]
    assert found is not None
    assert [remedy.kind for remedy in found.remedies] == ["retry"]
    fine = answer(["All ", "is well."])
    out = await through(exchange_of(("user", "hi")), build(CONFIG, ["full"]).checks, fine)
    assert out == fine
    exchange, events = exchange_of(("user", "hi")), answer([LINE] * 40)
    assert (await through(exchange, build(CONFIG, ["watch"]).checks, events))[:-1] == events[:-1]
    assert [v.header for v in exchange.verdicts] == ["watch=flag:1"]


def test_limits_can_be_set_and_slips_are_named() -> None:
    """Fewer repeats, shorter runs; remedies need a mode in which nothing is out."""
    assert Runaway(8, 400).push("na " * 60) is None
    assert Runaway(3, 100).push("na " * 60) == 128
    for changes, key in (({"repeats": 2}, ".repeats"), ({"min_chars": 5}, ".min_chars"), ({"then": "retry"}, ".then")):
        check = GuardrailConfig(use="repetition", on=["output"], action="block", on_error="closed", **changes)  # type: ignore[arg-type]
        assert f"guardrails.g{key}" in [path for path, _ in problems({"g": check})]
