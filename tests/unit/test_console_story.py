"""A receipt as a story: every call and why it was made, every stage and what it took, for any receipt there may be."""

from __future__ import annotations

import json
from typing import get_args

import msgspec
from hypothesis import assume, given

from gateway.console.records import record_of
from gateway.console.story import OUTCOMES, WHY, story
from gateway.core.events import Usage
from gateway.core.receipt import Attempt, Outcome, Receipt, Stage
from gateway.core.verdict import Verdict
from tests.fixtures.dialects import LAW
from tests.fixtures.receipts import MS, OPENED, receipts

RESCUED = Receipt(
    id="tg-1", opened=OPENED, duration=42 * MS, outcome="ok", status=200, dialect="openai", operation="chat", stream=True,
    route="default", model="m", served_model="spare", answer="generated", intent="billing", intent_score=0.83,
    cache="miss", cache_reason="new", tenant="acme", key_id="k1", user="ann", trace_id="a" * 32, ttft=30 * MS, overhead=MS,
    verdicts=(Verdict("private", "mask", "input", 2, micros=1500), Verdict("attacks", "not_scanned", "input", reason="timeout")),
    timeline=(Stage("admit", 0, MS), Stage("screen", MS, 3 * MS, "ok")),
    attempts=(
        Attempt("up", "big", "10.0.0.1:8000", 3 * MS, 9 * MS, "upstream_failed", 503),
        Attempt(
            "two", "small", "10.0.0.2:8000", 9 * MS, 40 * MS, "ok", 200, 20 * MS, "fallback",
            usage=Usage(11, 7, raw={"secret": "of the upstream"}), finish_reasons=("stop",), cost_usd=0.0001,
        ),
    ),
    usage=Usage(11, 7, raw={"secret": "of the upstream"}), cost_usd=0.0001,
)  # fmt: skip


def test_it_tells_what_was_tried_and_why() -> None:
    """A failed call, why the next was made, what each cost, who asked, each guard and stage, and the end."""
    assert [line.rstrip() for line in story(RESCUED)] == [
        "tg-1   2023-11-14 22:13:20.000 UTC",
        "  asked     chat, streamed, of model 'm', as openai says it",
        "  by        key k1, tenant acme, user 'ann'",
        "  route     default; intent billing (0.830); served as 'spare'",
        "  stages    admit         0.00 -       1.00 ms  ok",
        "            screen        1.00 -       3.00 ms  ok",
        "  guards    private on input: mask 2, 1.50 ms",
        "            attacks on input: not_scanned (timeout), 0.00 ms",
        "  cache     miss (new)",
        "  calls     1. up / big at 10.0.0.1:8000: the plan's first choice",
        "                     3.00 -       9.00 ms  upstream_failed, HTTP 503, no usage told, cost unknown",
        "            2. two / small at 10.0.0.2:8000: the model before could not answer",
        "                     9.00 -      40.00 ms  ok, HTTP 200, first content after 20.00 ms, finish stop, 11 in, 7 out,"
        " 0.00010000 USD",
        "  ended     answered (ok), HTTP 200, generated answer",
        "  took      42.00 ms in all, first byte of content after 30.00 ms, 1.00 ms of that here and not at an upstream",
        "  cost      0.00010000 USD for 11 in, 7 out",
        f"  trace     {'a' * 32}",
    ]


def test_it_tells_who_saw_originals_and_who_takes_over() -> None:
    """A call that was sent what is masked elsewhere says so, and no other; the end names the people and the reason."""
    first, second = RESCUED.attempts
    told = story(
        msgspec.structs.replace(
            RESCUED,
            attempts=(first, msgspec.structs.replace(second, revealed=True)),
            answer="handoff",
            handoff="people",
            handoff_reason="check:grounded",
        )
    )
    assert [("originals sent to internal target" in line) for line in told if "HTTP" in line and " ms  " in line] == [
        False,
        True,
    ]
    assert any(line.endswith("handoff answer, handed over to people (check:grounded)") for line in told)


@LAW
@given(receipts())
def test_any_receipt_is_told(receipt: Receipt) -> None:
    """Whatever ended it and wherever: each stage, check and call has its line."""
    lines = story(receipt)
    assert lines[0].startswith(receipt.id)
    assert len(lines) >= 9 + len(receipt.timeline) + len(receipt.verdicts) + 2 * len(receipt.attempts)


@LAW
@given(receipts())
def test_what_is_sent_is_the_receipt(receipt: Receipt) -> None:
    """A receipt read back from the admin API tells the same story."""
    assume("inf" not in repr(receipt))  # a number that JSON does not have
    assert story(msgspec.json.decode(record_of(receipt), type=Receipt)) == story(receipt)


def test_the_upstreams_own_usage_object_stays_here() -> None:
    """It may hold anything; the counts are what a reader needs."""
    sent = record_of(RESCUED)
    assert b"secret" not in sent
    assert json.loads(sent)["attempts"][1]["usage"]["input_tokens"] == 11


def test_every_outcome_has_words() -> None:
    """None is shown as a bare code."""
    assert set(OUTCOMES) == set(get_args(Outcome))
    reasons = {"first", "retry", "hedge", "fallback", "overflow", "content_policy", "guardrail", "shadow"}
    assert set(WHY) == {*reasons, "stale_connection"}


def test_it_tells_queues_signs_copies_and_guesses() -> None:
    """Each call's cause, what was guessed of it, the wait for a place, the signs of life, and the shadow's id."""
    lost = Attempt(
        "up", "big", "10.0.0.1:8000", 5 * MS, 9 * MS, "cancelled", 200, estimated=Usage(40, 3, estimated=True),
        estimated_usd=0.0002, cause="queue full", why="fallback",
    )  # fmt: skip
    won = Attempt("two", "small", "", 7 * MS, 40 * MS, "ok", 200, 20 * MS, "hedge", cause="no content after 2 s")
    told = "\n".join(
        story(
            msgspec.structs.replace(
                RESCUED,
                attempts=(lost, won),
                queued=4 * MS,
                priority="high",
                beats=2,
                shadow="tg-2",
                estimated_usd=0.0002,
            )
        )
    )
    for words in (
        "1. up / big at 10.0.0.1:8000: the model before could not answer (queue full)",
        "given up before it told: 40 in, 3 out, estimated, 0.00020000 USD",
        "2. two / small: the call before was slow to begin (no content after 2 s)",
        "4.00 ms of it in a queue, with priority high",
        "kept alive 2 times meanwhile",
        "  shadow    tg-2, after the answer",
        "and 0.00020000 USD by estimate",
    ):
        assert words in told, told


def test_it_tells_how_one_of_several_endpoints_was_picked() -> None:
    """The rule and its numbers, where there was a choice; nothing where there was none."""
    call = msgspec.structs.replace(RESCUED.attempts[0], picked="prefix 812/1024 tok, queue 0 tok, 0.11 s")
    lines = story(msgspec.structs.replace(RESCUED, attempts=(call,)))
    at = next(number for number, line in enumerate(lines) if "1. up / big" in line)
    assert lines[at + 1].strip() == "picked by prefix 812/1024 tok, queue 0 tok, 0.11 s"
    alone = story(msgspec.structs.replace(RESCUED, attempts=(msgspec.structs.replace(call, picked="only"),)))
    assert not any("picked" in line for line in alone)
