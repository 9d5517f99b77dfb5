"""One check at its work: what is remembered, what counts against it, and what is left alone for a while."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from gateway.core.clock import ManualClock, SystemClock
from gateway.core.errors import CheckFailed
from gateway.core.exchange import Exchange, Principal
from guardrails.actions import Actions
from guardrails.asked.inspecting import Inspect
from guardrails.asked.looking import FAILURES, GRACE, REST, Look
from guardrails.asked.masking import Mask
from guardrails.asked.remembering import Memory, digest
from guardrails.asked.screen import CLEAN, INLINE, Cuts, Finding, InputCheck
from guardrails.asking.not_scanned import NotScanned
from guardrails.finding.spans import Span
from tests.fixtures.guard_world import exchange_of, inspect_of, said

WAIT = 10.0


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as threads:
        yield threads


def a_check(name: str = "guard", **fields: Any) -> InputCheck:
    given: dict[str, Any] = {
        "name": name, "category": "c", "actions": Actions("block"), "sides": frozenset({"input", "retrieved"}),
        "scope": frozenset({"latest_turn", "tool_results"}), "restore": True, "closed": False, "deadline": 5.0, **fields,
    }  # fmt: skip
    return InputCheck(**given)


class Counting:
    """Finds what starts with "bad", and keeps what it was shown."""

    def __init__(self, inline: int = INLINE) -> None:
        self.inline = inline
        self.seen: list[str] = []

    def inspect(self, texts: Sequence[str], until: float) -> Sequence[Finding]:
        self.seen += texts
        return [Finding([Span("X", 0, 1)]) if text.startswith("bad") else CLEAN for text in texts]


class Stuck:
    """Does not come back before it is let go, whatever its deadline is."""

    inline = 0

    def __init__(self) -> None:
        self.go = threading.Event()
        self.began = threading.Semaphore(0)

    def inspect(self, texts: Sequence[str], until: float) -> Sequence[Finding]:
        self.began.release()
        assert self.go.wait(WAIT)
        return [CLEAN] * len(texts)


class Slow:
    """Gives up by itself when its time is over, as it should."""

    inline = 0

    def inspect(self, texts: Sequence[str], until: float) -> Sequence[Finding]:
        time.sleep(max(0.0, until - time.monotonic()))
        raise TimeoutError


class Raising:
    def __init__(self, error: Exception, inline: int = 0) -> None:
        self.inline = inline
        self.error = error

    def inspect(self, texts: Sequence[str], until: float) -> Sequence[Finding]:
        raise self.error


class Asked:
    """Something outside: `does` says what becomes of each question."""

    def __init__(self, does: Any) -> None:
        self.does = does
        self.asked = 0

    async def ask(
        self, exchange: Exchange, texts: Sequence[str], findings: Sequence[Finding], seconds: float
    ) -> Sequence[Finding]:
        self.asked += 1
        return await self.does(texts)  # type: ignore[no-any-return]


async def reasons(stage: Inspect | Mask, *slots: tuple[Any, ...]) -> list[tuple[str, str]]:
    exchange = exchange_of(*(slots or (("user", "hello"),)))
    with contextlib.suppress(CheckFailed):
        await stage.decide(exchange)
    return [(verdict.action, verdict.reason) for verdict in exchange.verdicts]


# --- memory


async def test_a_text_is_looked_at_once(pool: ThreadPoolExecutor) -> None:
    """An agent's tool results and a long history come again with every step; only what is new is looked at."""
    inspector = Counting()
    stage = inspect_of([a_check(inspector=inspector, remembers=True)], pool, SystemClock())
    history: list[tuple[str, ...]] = [("user", "do it")]
    for step in ("one", "two", "three"):
        history += [("assistant", "{}", "tool_arguments"), ("tool", step, "tool_result")]
        assert await stage.decide(exchange_of(*history)) is None
    assert inspector.seen == ["do it", "one", "two", "three"]
    assert await stage.decide(exchange_of(("user", "bad"))) is not None
    assert await stage.decide(exchange_of(("user", "bad"))) is not None, "what was found is remembered as well"
    assert inspector.seen[4:] == ["bad"]


async def test_what_one_user_said_is_not_remembered_for_another(pool: ThreadPoolExecutor) -> None:
    """How quickly the answer comes tells nobody whether another key, or another user of it, has asked the same."""
    inspector = Counting()
    stage = inspect_of([a_check(inspector=inspector, remembers=True)], pool, SystemClock())
    for key, user in (("k1", "ann"), ("k1", "bob"), ("k2", "ann"), ("k1", "ann")):
        exchange = exchange_of(("user", "hello"))
        exchange.principal, exchange.user = Principal(key_id=key), user
        await stage.decide(exchange)
    assert inspector.seen == ["hello"] * 3


async def test_what_was_let_through_is_not_stopped_later(pool: ThreadPoolExecutor) -> None:
    """Whoever is asked may change its mind: the first word stands, so that an old turn does not end a conversation."""
    answers = iter([[CLEAN], [Finding([Span("X", 0, 1)])], [Finding([Span("X", 0, 1)])]])

    async def does(texts: Sequence[str]) -> Sequence[Finding]:
        return next(answers)

    asked = Asked(does)
    check = a_check(asking=asked, remembers=True, scope=frozenset({"user"}))
    stage = inspect_of([check], pool, SystemClock())
    assert await stage.decide(exchange_of(("user", "first"))) is None
    assert await stage.decide(exchange_of(("user", "first"), ("assistant", "yes"), ("user", "second"))) is not None
    assert asked.asked == 2, "the second time only the new turn was asked about"
    assert await stage.decide(exchange_of(("user", "first"))) is None


async def test_a_failure_is_not_remembered(pool: ThreadPoolExecutor) -> None:
    """What could not be looked at is looked at the next time."""
    crashing = Raising(RuntimeError("no"), inline=INLINE)
    stage = inspect_of([a_check(inspector=crashing, remembers=True)], pool, SystemClock())
    assert await reasons(stage) == [("not_scanned", "crashed")]
    assert len(stage.looks[0].memory or ()) == 0
    assert await reasons(stage) == [("not_scanned", "crashed")]


def test_memory_is_bounded_and_holds_no_text() -> None:
    """The oldest goes first; a key is a digest that another process would not make."""
    memory = Memory(most=3)
    for text in ("a", "b", "c", "a", "d"):
        keys, found = memory.recall("o", [text])
        if found == [None]:
            memory.keep(keys, [Finding(score=0.5, rule=text)])
    assert len(memory) == 3
    assert [memory.recall("o", [text])[1][0] is not None for text in ("a", "b", "c", "d")] == [True, False, True, True]
    assert memory.hits == 4
    assert len(digest("o", "secret")) == 16
    assert digest("o", "\ud800") != digest("o", "\ud801"), "half a surrogate pair is a text as well"


# --- failing


@pytest.mark.parametrize("side", ["user", "retrieved"])
@pytest.mark.parametrize("closed", [True, False])
async def test_a_check_that_keeps_crashing_is_left_alone(pool: ThreadPoolExecutor, side: str, closed: bool) -> None:
    """After some failures in a row nobody asks it for a while; each request is still judged by `on_error`. Then one
    tries again."""
    clock = ManualClock()
    inspector = Raising(RuntimeError("private text"))
    stage = inspect_of([a_check(inspector=inspector, closed=closed)], pool, clock)
    for _ in range(FAILURES):
        assert await reasons(stage, (side, "hello")) == [("not_scanned", "crashed")]
    assert await reasons(stage, (side, "hello")) == [("not_scanned", "breaker_open")]

    exchange = exchange_of((side, "hello"))
    if closed:
        with pytest.raises(CheckFailed) as fault:
            await stage.decide(exchange)
        assert "private" not in fault.value.message
    else:
        assert await stage.decide(exchange) is None
        assert exchange.degraded == ["guardrail:guard"]

    clock.advance(REST + 0.01)
    assert await reasons(stage, (side, "hello")) == [("not_scanned", "crashed")], "one tries"
    assert await reasons(stage, (side, "hello")) == [("not_scanned", "breaker_open")]
    clock.advance(REST + 0.01)
    assert await reasons(stage, (side, "hello")) == [("not_scanned", "breaker_open")], "and then it rests longer"
    clock.advance(REST)
    stage.looks[0].check = a_check(inspector=Counting(inline=0))
    assert await reasons(stage, (side, "hello")) == [("allow", "")], "it works again"
    assert await reasons(stage, (side, "bad")) == [("block", "")]


async def test_what_is_asked_and_does_not_answer_is_left_alone(pool: ThreadPoolExecutor) -> None:
    """A service that hangs costs some requests their deadline, and the next ones nothing."""

    async def hangs(texts: Sequence[str]) -> Sequence[Finding]:
        await asyncio.Event().wait()
        return []

    asked = Asked(hangs)
    stage = inspect_of([a_check(asking=asked, deadline=0.01)], pool, ManualClock())
    said = [await reasons(stage) for _ in range(FAILURES + 3)]
    assert said == [[("not_scanned", "timeout")]] * FAILURES + [[("not_scanned", "breaker_open")]] * 3
    assert asked.asked == FAILURES


@pytest.mark.parametrize("error", [NotScanned("too_long"), TimeoutError()])
async def test_a_text_that_takes_too_long_says_nothing_against_the_check(
    pool: ThreadPoolExecutor, error: Exception
) -> None:
    """Whoever sends such texts would else switch it off for everybody."""
    slow = Slow() if isinstance(error, TimeoutError) else Raising(error)
    stage = inspect_of([a_check(inspector=slow, deadline=0.01)], pool, ManualClock())
    for _ in range(2 * FAILURES):
        assert [action for action, _ in await reasons(stage)] == ["not_scanned"]
    assert not stage.looks[0].breaker.open


async def test_a_client_in_a_hurry_says_nothing_against_the_check(pool: ThreadPoolExecutor) -> None:
    """A time-out that comes before the check's own deadline is the client's."""

    async def hangs(texts: Sequence[str]) -> Sequence[Finding]:
        await asyncio.Event().wait()
        return []

    stage = inspect_of([a_check(asking=Asked(hangs))], pool, SystemClock())
    for _ in range(2 * FAILURES):
        exchange = exchange_of(("user", "hello"))
        exchange.deadline = exchange.clock.now() + 1_000_000
        assert await stage.decide(exchange) is None
        assert [verdict.reason for verdict in exchange.verdicts] == ["timeout"]
    assert not stage.looks[0].breaker.open


async def test_a_stuck_check_does_not_take_the_pool_from_the_others(pool: ThreadPoolExecutor) -> None:
    """Nobody can stop a thread, so a check may have one stuck and is then left alone until it comes back."""
    stuck, fine = Stuck(), Counting(inline=0)
    stage = inspect_of(
        [a_check("stuck", inspector=stuck, deadline=0.01), a_check("fine", inspector=fine)], pool, SystemClock()
    )
    try:
        assert await reasons(stage) == [("not_scanned", "timeout"), ("allow", "")]
        look = stage.looks[0]
        async with asyncio.timeout(WAIT):
            while not look._stuck:  # noqa: ASYNC110 - it is a timer's doing, and nobody is told
                await asyncio.sleep(GRACE / 10)
        for _ in range(5):
            assert await reasons(stage) == [("not_scanned", "breaker_open"), ("allow", "")]
        assert stuck.began.acquire(timeout=WAIT)
        assert not stuck.began.acquire(blocking=False), "only one thread of it ever began"
    finally:
        stuck.go.set()
    async with asyncio.timeout(WAIT):
        await asyncio.wrap_future(look._stuck[0])
    assert await reasons(stage) == [("allow", ""), ("allow", "")]


@pytest.mark.parametrize("closed", [True, False])
async def test_with_every_thread_taken_a_check_is_not_scanned_and_then_left_alone(
    pool: ThreadPoolExecutor, closed: bool
) -> None:
    """Its deadline covers the wait for a thread; after some such waits it waits no longer."""
    go = threading.Event()
    taken = [pool.submit(go.wait, WAIT) for _ in range(2)]
    try:
        check = a_check(inspector=Counting(inline=0), deadline=0.01, closed=closed)
        stage = inspect_of([check], pool, ManualClock())
        said = [await reasons(stage) for _ in range(FAILURES + 1)]
        assert said == [[("not_scanned", "timeout")]] * FAILURES + [[("not_scanned", "breaker_open")]]
    finally:
        go.set()
        assert all(job.result() for job in taken)


@pytest.mark.parametrize("closed", [True, False])
async def test_a_mask_that_hangs_masks_nothing_and_says_so(pool: ThreadPoolExecutor, closed: bool) -> None:
    """Closed: the request may not pass. Open: it does, unmasked and marked."""
    stuck = Stuck()
    stage = Mask(
        [Look(a_check(inspector=stuck, actions=Actions("mask"), deadline=0.01, closed=closed), pool, SystemClock())]
    )
    exchange = exchange_of(("user", "hello"))
    try:
        if closed:
            with pytest.raises(CheckFailed):
                await stage.decide(exchange)
        else:
            assert await stage.decide(exchange) is None
            assert exchange.degraded == ["guardrail:guard"]
        assert [(verdict.action, verdict.reason) for verdict in exchange.verdicts] == [("not_scanned", "timeout")]
        assert said(exchange) == ["hello"]
    finally:
        stuck.go.set()


# --- side by side


async def test_slow_checks_run_side_by_side(pool: ThreadPoolExecutor) -> None:
    """Two that wait for each other both come to an end, which they could not one after the other; the verdicts stand in
    the order written."""
    meet = threading.Barrier(2)

    class Meeting:
        inline = 0

        def inspect(self, texts: Sequence[str], until: float) -> Sequence[Finding]:
            meet.wait(WAIT)
            return [CLEAN] * len(texts)

    checks = [
        a_check("one", inspector=Meeting()), a_check("quick", inspector=Counting()), a_check("two", inspector=Meeting()),
    ]  # fmt: skip
    exchange = exchange_of(("user", "hello"))
    assert await inspect_of(checks, pool, SystemClock()).decide(exchange) is None
    assert [verdict.header for verdict in exchange.verdicts] == ["one=allow", "quick=allow", "two=allow"]


async def test_the_first_refusal_ends_the_others(pool: ThreadPoolExecutor) -> None:
    """What is still asked is given up, and has no verdict; what failed at the same moment does not win."""
    given_up = asyncio.Event()

    async def waits(texts: Sequence[str]) -> Sequence[Finding]:
        try:
            await asyncio.Event().wait()
        finally:
            given_up.set()
        return []

    async def fails(texts: Sequence[str]) -> Sequence[Finding]:
        raise RuntimeError("no")

    async def refuses(texts: Sequence[str]) -> Sequence[Finding]:
        return [Finding([Span("X", 0, 1)])]

    checks = [
        a_check("waits", asking=Asked(waits)),
        a_check("fails", asking=Asked(fails), closed=True),
        a_check("refuses", asking=Asked(refuses)),
    ]
    exchange = exchange_of(("user", "hello"))
    answer = await inspect_of(checks, pool, SystemClock()).decide(exchange)
    assert answer is not None
    assert answer.refusal is not None
    assert answer.refusal.check == "refuses"
    assert [verdict.header for verdict in exchange.verdicts] == ["fails=not_scanned", "refuses=block:1"]
    async with asyncio.timeout(WAIT):
        await given_up.wait()


async def test_a_quick_block_asks_nobody(pool: ThreadPoolExecutor) -> None:
    """What is known at once is said before anything slow begins."""

    async def never(texts: Sequence[str]) -> Sequence[Finding]:
        raise AssertionError("asked")

    asked = Asked(never)
    stage = inspect_of([a_check("slow", asking=asked), a_check("quick", inspector=Counting())], pool, SystemClock())
    exchange = exchange_of(("user", "bad"))
    assert await stage.decide(exchange) is not None
    assert asked.asked == 0
    assert [verdict.header for verdict in exchange.verdicts] == ["quick=block:1"]


# --- whose text


class Scoring:
    inline = INLINE

    def inspect(self, texts: Sequence[str], until: float) -> Sequence[Finding]:
        return [Finding((), float(text), "rule") for text in texts]


@pytest.mark.parametrize(
    ("slots", "verdict"),
    [
        ([("user", "0.45")], ("allow", 0, 0.45, "rule")),
        ([("user", "0.5")], ("block", 1, 0.5, "rule")),
        ([("user", "0.1"), ("tool", "0.45", "tool_result")], ("block", 1, 0.45, "untrusted:rule")),
        ([("user", "0.49"), ("tool", "0.39", "tool_result")], ("allow", 0, 0.49, "rule")),
        ([("user", "0.49"), ("tool", "0.41", "tool_result")], ("block", 1, 0.41, "untrusted:rule")),
        ([("user", "0.7"), ("tool", "0.41", "tool_result")], ("block", 2, 0.7, "rule")),
    ],
)
async def test_the_cut_depends_on_whose_words_they_are(
    pool: ThreadPoolExecutor, slots: list[tuple[Any, ...]], verdict: tuple[Any, ...]
) -> None:
    """A tool's result is looked at more strictly than the user's own words, and the verdict says which it was."""
    stage = inspect_of([a_check(inspector=Scoring(), cuts=Cuts(0.5, 0.4))], pool, SystemClock())
    exchange = exchange_of(*slots)
    await stage.decide(exchange)
    (told,) = exchange.verdicts
    assert (told.action, told.count, told.score, told.reason) == verdict


class Unfinished:
    """Scores, but had no time for all of it."""

    inline = INLINE

    def inspect(self, texts: Sequence[str], until: float) -> Sequence[Finding]:
        return [Finding((), float(text), "", "timeout") for text in texts]


@pytest.mark.parametrize("closed", [True, False])
async def test_a_look_left_unfinished_has_not_passed(pool: ThreadPoolExecutor, closed: bool) -> None:
    """A hit is a hit all the same; what is none was not scanned, and is looked at again the next time."""
    stage = inspect_of([a_check(inspector=Unfinished())], pool, SystemClock())
    assert await reasons(stage, ("user", "0.9")) == [("not_scanned", "timeout")], "scores alone are no hits here"
    check = a_check(inspector=Unfinished(), cuts=Cuts(0.5, 0.4), closed=closed, remembers=True)
    stage = inspect_of([check], pool, SystemClock())
    assert await reasons(stage, ("user", "0.1")) == [("not_scanned", "timeout")]
    assert await reasons(stage, ("user", "0.6")) == [("block", "")]
    assert len(stage.looks[0].memory or ()) == 0
    exchange = exchange_of(("user", "0.1"))
    if closed:
        with pytest.raises(CheckFailed):
            await stage.decide(exchange)
    else:
        assert await stage.decide(exchange) is None
        assert exchange.degraded == ["guardrail:guard"]


@pytest.mark.parametrize("inline", [0, INLINE])
@pytest.mark.parametrize("remembers", [True, False])
async def test_a_check_that_leaves_a_text_out_has_not_looked(
    pool: ThreadPoolExecutor, inline: int, remembers: bool
) -> None:
    """Fewer findings than texts is a crash, not a pass of the rest."""

    class Short(Counting):
        def inspect(self, texts: Sequence[str], until: float) -> Sequence[Finding]:
            return super().inspect(texts, until)[1:]

    stage = inspect_of([a_check(inspector=Short(inline), remembers=remembers)], pool, SystemClock())
    slots = [("user", "hello"), ("tool", "result", "tool_result")]
    assert await reasons(stage, *slots) == [("not_scanned", "crashed")]
    assert len(stage.looks[0].memory or ()) == 0
