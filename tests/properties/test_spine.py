"""Whatever fails, whenever anybody leaves: one receipt, nothing left open, and no answer that looks whole and is not."""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import Any

from hypothesis import event, given, settings
from hypothesis import strategies as st

from gateway.core.answer import Answer, Refusal
from gateway.core.clock import ManualClock
from gateway.core.errors import (
    NAMES,
    BadRequest,
    CheckFailed,
    ClientGone,
    ContextOverflow,
    GatewayFault,
    StreamCut,
    UpstreamFailed,
    UpstreamLimited,
    UpstreamRejected,
    UpstreamTimeout,
)
from gateway.core.events import Blocked, Failed, Remedy
from gateway.core.response import said
from tests.fixtures.spine_world import (
    DIALECTS,
    Making,
    MemoryClient,
    MemoryUpstream,
    Passing,
    Stage,
    Wire,
    World,
    turns,
)

# --- what may happen

CHUNK = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}


def sse(*texts: str, finish: bool = True, done: bool = True) -> bytes:
    """An OpenAI stream of these texts."""
    choices = [{"index": 0, "delta": {"content": text}, "finish_reason": None} for text in texts]
    if finish:
        choices.append({"index": 0, "delta": {}, "finish_reason": "stop"})
    events = [json.dumps({**CHUNK, "choices": [choice]}, ensure_ascii=False) for choice in choices]
    return "".join(f"data: {data}\n\n" for data in [*events, *(["[DONE]"] if done else [])]).encode()


def whole(text: str) -> bytes:
    """The same answer as one body."""
    message = {"role": "assistant", "content": text}
    body = {"id": "c", "object": "chat.completion", "created": 1, "model": "m"}
    return json.dumps({**body, "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}).encode()


def fault(kind: type[GatewayFault]) -> GatewayFault:
    return kind("It failed.", retry_after=0.001 if kind is UpstreamLimited else None)


FAULTS = st.sampled_from(
    [UpstreamFailed, UpstreamTimeout, UpstreamLimited, UpstreamRejected, ContextOverflow, StreamCut, BadRequest]
)
BUGS = st.sampled_from([RuntimeError, ValueError, KeyError, TimeoutError, OSError])


@st.composite
def wires(draw: st.DrawFn, stream: bool) -> Wire:
    """One call: refused, or some bytes of an answer, and then its end, a break, a fault, a bug, or silence."""
    delay = draw(st.integers(0, 3))
    if draw(st.integers(0, 3)) == 0:
        refusal = fault(draw(FAULTS)) if draw(st.booleans()) else draw(BUGS)("a bug")
        return Wire(refuse=refusal, delay=delay)
    data = sse("Hel", "lo ", "you") if stream else whole("Hello you")
    cut = draw(st.sampled_from([len(data), len(data), draw(st.integers(0, len(data)))]))
    sizes = draw(st.lists(st.integers(1, 120), max_size=6))
    steps: list[Any] = []
    at = 0
    for size in sizes:
        steps += [data[at : min(at + size, cut)], draw(st.integers(0, 2))]
        at = min(at + size, cut)
    steps.append(data[at:cut])
    steps = [step for step in steps if step != b""]
    if cut < len(data):
        ends = [[], [fault(draw(FAULTS))], [draw(BUGS)("a bug")], [Failed(fault(UpstreamFailed))], [1_000_000]]
        steps += draw(st.sampled_from(ends))
    return Wire(*steps, delay=delay)


REMEDIES = st.lists(
    st.sampled_from(
        [
            Remedy("retry", 2),
            Remedy("hedge", 1),
            Remedy("fallback"),
            Remedy("pass"),
            Remedy("reply", text="Sorry."),
            Remedy("handoff", team="people"),
        ]
    ),
    max_size=3,
    unique_by=lambda remedy: remedy.kind,
)


class Checking:
    """A check that holds back, blocks, waits, or breaks at the nth event. `passes`: when told to, it lets pass."""

    name = "check"
    consumes: tuple[Any, ...] = ()
    produces: tuple[Any, ...] = ()

    def __init__(self, kind: str, nth: int, remedies: list[Remedy], passes: bool) -> None:
        self._kind, self._nth, self._remedies, self._passes = kind, nth, tuple(remedies), passes

    def open(self, exchange: Any) -> Passing | None:
        if exchange.answer is not None:
            return None
        kind, nth = self._kind, self._nth
        blocks = kind == "block" and not (self._passes and self.name in exchange.passing)
        seen = 0
        held: list[Any] = []

        def push(item: Any) -> list[Any]:
            nonlocal seen
            seen += 1
            if blocks and seen == nth:
                return [Blocked("check", "category", "no", self._remedies)]
            if kind == "crash" and seen == nth:
                raise RuntimeError("a bug")
            if kind == "hold":
                held.append(item)
                return [held.pop(0)] if len(held) > nth else []
            return [item]

        def finish() -> list[Any]:
            if kind == "crash at end":
                raise RuntimeError("a bug")
            return held

        return Passing(push, finish, (lambda: ()) if kind == "wait" else None)


def checks(draw: st.DrawFn) -> list[Checking]:
    """None or one."""
    kind = draw(st.sampled_from(["none", "none", "block", "block", "hold", "wait", "crash", "crash at end"]))
    return [] if kind == "none" else [Checking(kind, draw(st.integers(1, 4)), draw(REMEDIES), draw(st.booleans()))]


def stage(draw: st.DrawFn, *more: str) -> Stage | None:
    """A stage before dispatch: none, fine, refusing, answering, failing, or broken; or, if in `more`, the same `beside` the
    call."""
    kind = draw(st.sampled_from(["none"] * 4 + ["fine", "refuse", "answer", "fault", "bug", "gone", *more]))
    if kind == "none":
        return None

    verdict = draw(st.sampled_from(["fine", "refuse", "fault"]))
    takes = draw(st.integers(0, 8))

    async def beside() -> Answer | None:
        await turns(takes)
        if verdict == "fault":
            raise fault(CheckFailed)
        return Answer("refused", refusal=Refusal("check", "category", "no")) if verdict == "refuse" else None

    def does(exchange: Any) -> Answer | None:
        if kind == "beside":
            task = exchange.beside = asyncio.create_task(beside())
            task.add_done_callback(lambda task: task.cancelled() or task.exception())
            exchange.cleanup.append(task.cancel)
        if kind == "refuse":
            return Answer("refused", refusal=Refusal("check", "category", "no"))
        if kind == "answer":
            return Answer("canned", said("Canned.", id="x", model="m", created=1))
        if kind == "fault":
            raise fault(CheckFailed)
        if kind == "bug":
            raise RuntimeError("a bug")
        if kind == "gone":
            raise ClientGone
        return None

    return Stage("screen", does, draw(st.integers(0, 2)))


@st.composite
def cases(draw: st.DrawFn) -> dict[str, Any]:
    stream = draw(st.booleans())
    return {
        "stream": stream,
        "dialect": draw(st.sampled_from(["openai", "anthropic"])),
        "body": draw(st.sampled_from([None] * 8 + [b"[]", b"", ClientGone(), fault(BadRequest)])),
        "upstreams": [draw(st.lists(wires(stream), min_size=1, max_size=3)) for _ in range(draw(st.integers(1, 3)))],
        "checks": checks(draw),
        "screen": stage(draw),
        "inspect": stage(draw, *["beside"] * 4),
        "attempts": draw(st.integers(1, 3)),
        "hedge_after": draw(st.sampled_from([None, None, 0.0])),
        "keepalive": draw(st.sampled_from([0.0, 1e-9])),
        "crowd": draw(st.none() | st.integers(0, 12)),
        "overflow": draw(st.booleans()),
        "cancel": draw(st.none() | st.integers(1, 60)),
        "again": draw(st.booleans()),
        "gone": draw(st.booleans()),
        "slow": draw(st.integers(0, 3)),
    }


# --- the law


async def live(case: dict[str, Any]) -> str:
    upstreams = [MemoryUpstream(f"up{at}", script) for at, script in enumerate(case["upstreams"])]
    world = World(
        upstreams,
        screen=case["screen"],
        inspect=case.get("inspect"),
        checks=case["checks"],
        attempts=case["attempts"],
        hedge_after=case["hedge_after"],
        overflow=upstreams[-1].name if case["overflow"] and len(upstreams) > 1 else None,
        keepalive=case.get("keepalive", 0.0),
        concurrency=1 if case.get("crowd") is not None else None,
    )
    exchange = world.exchange(stream=case["stream"], dialect=case["dialect"], body=case["body"])
    client = MemoryClient(exchange, case["slow"])
    before = asyncio.all_tasks()
    crowd = asyncio.create_task(crowded(world, upstreams[0].name, case.get("crowd") or 0))
    await turns(1)
    task = asyncio.create_task(world.spine.run(exchange, client))
    # A wire that goes silent would hold the exchange for ever, so somebody always leaves in the end.
    await turns(case["cancel"] if case["cancel"] is not None else 400)
    cancelled = False
    for _ in range(2 if case["again"] else 1):
        if not task.done() and not client.ended:
            cancelled = True
            client.gone = case["gone"]
            task.cancel()
            await turns(1)
    async with asyncio.timeout(10):
        receipt = await task
        await crowd
    await world.aftermath.drain()
    assert all((gate.running, gate.waiting) == (0, 0) for gate in world.dispatcher.gates.all().values())

    assert not client.said_too_much
    assert world.kept.all == [receipt]
    assert world.spine.inflight == 0
    assert world.undone == (1 if exchange.permitted else 0)
    assert [up.open_replies for up in upstreams] == [0] * len(upstreams)
    await turns(1)  # what the exchange's own end cancelled ends in the next turn
    assert asyncio.all_tasks() == before
    assert len(receipt.attempts) == sum(up.calls for up in upstreams)
    assert receipt.status == client.status
    assert receipt.error == "" or receipt.error in NAMES.values()
    assert all(attempt.outcome for attempt in receipt.attempts)
    tell(case, receipt, client, cancelled)
    return receipt.outcome


async def crowded(world: World, model: str, stays: int) -> None:
    """Somebody else has the model's one place for so many turns, if it has only one."""
    plan = world.models[model]
    if plan.concurrency is None:
        return
    other = world.exchange()
    other.request = DIALECTS["openai"].read("chat", json.loads(await other.read_body()))
    place = await world.dispatcher.gates.of(plan, world.clock).enter(other)
    await turns(stays)
    place.leave()


def tell(case: dict[str, Any], receipt: Any, client: MemoryClient, cancelled: bool) -> None:
    """What the client saw is what the receipt says."""
    mark = b"data: [DONE]" if case["dialect"] == "openai" else b"event: message_stop"
    if receipt.outcome == "ok":
        assert client.ended
        assert (client.status, client.faults) == (200, [])
        assert not case["stream"] or mark in client.body
        assert case["stream"] or json.loads(client.body)
    elif receipt.outcome == "client_gone":
        assert (
            (cancelled and client.gone) or isinstance(case["body"], ClientGone) or case["screen"] or case.get("inspect")
        )
        assert mark not in client.body
    elif receipt.outcome == "refused":
        assert client.ended
    else:
        assert receipt.error
        assert mark not in client.body
        told = client.ended and b"error" in client.body
        # By a stop, while it was being told; or by a second one, while a sign of life was under way, which goes first.
        assert told or client.interrupted or (case["again"] and case.get("keepalive"))


@settings(max_examples=400, deadline=None)
@given(cases())
def test_every_exchange_ends_in_one_receipt_and_leaves_nothing(case: dict[str, Any]) -> None:
    """Under any faults, bugs, refusals and hold-backs, and any moment of leaving or stopping."""
    event(asyncio.run(live(case)))


def test_every_moment_of_leaving_a_chain() -> None:
    """Not at random: a call with a retry, a fallback and a held-back stream is left after each single turn it takes."""

    async def main(cancel: int, gone: bool, hedge: float | None, keepalive: float, crowd: int | None) -> str:
        case: dict[str, Any] = {
            "crowd": crowd,
            "keepalive": keepalive,
            "stream": True,
            "dialect": "openai",
            "body": None,
            "upstreams": [
                [Wire(refuse=fault(UpstreamFailed)), Wire(sse("Hel", "lo")[:40], 1, fault(StreamCut))],
                [Wire(*(sse("Hel", "lo ", "you")[at : at + 60] for at in range(0, 720, 60)))],
            ],
            "checks": [Making(lambda: Passing(settle=lambda: ()))],
            "screen": Stage("screen"),
            "attempts": 2,
            "hedge_after": hedge,
            "overflow": False,
            "cancel": cancel,
            "again": False,
            "gone": gone,
            "slow": 1,
        }
        return await live(case)

    for hedge, keepalive, crowd in ((None, 0.0, None), (0.0, 0.0, None), (None, 1e-9, 10)):
        for gone in (True, False):
            ends = [asyncio.run(main(cancel, gone, hedge, keepalive, crowd)) for cancel in range(1, 140)]
            assert ends[0] == ("client_gone" if gone else "gateway_error")
            assert ends[-1] == "ok"  # so every turn was tried


def test_every_moment_of_leaving_what_a_check_asks_for() -> None:
    """A stopped answer, two calls at once, the next model, and words instead: left after each single turn."""

    async def main(cancel: int, gone: bool) -> str:
        case: dict[str, Any] = {
            "stream": True,
            "dialect": "openai",
            "body": None,
            "upstreams": [[Wire(sse("Hel", "lo"))], [Wire(sse("Hel", "lo"), delay=2)]],
            "checks": [
                Checking(
                    "block",
                    2,
                    [Remedy("retry"), Remedy("hedge"), Remedy("fallback"), Remedy("reply", text="No.")],
                    False,
                )
            ],
            "screen": None,
            "attempts": 1,
            "hedge_after": None,
            "overflow": False,
            "cancel": cancel,
            "again": False,
            "gone": gone,
            "slow": 1,
        }
        return await live(case)

    for gone in (True, False):
        ends = [asyncio.run(main(cancel, gone)) for cancel in range(1, 90)]
        assert ends[0] == ("client_gone" if gone else "gateway_error")
        assert ends[-1] == "ok"


def test_every_moment_of_leaving_checks_beside_a_call() -> None:
    """And of being stopped again while what was begun is still being ended."""

    async def main(cancel: int, hedge: float | None, takes: int, slow: int) -> str:
        async def verdict() -> None:
            await turns(takes)

        def look(exchange: Any) -> None:
            task = exchange.beside = asyncio.create_task(verdict())
            exchange.cleanup.append(task.cancel)

        case: dict[str, Any] = {
            "stream": False,
            "dialect": "openai",
            "body": None,
            "upstreams": [[Wire(whole("Hello"), delay=slow)]],
            "checks": [],
            "screen": None,
            "inspect": Stage("inspect", look),
            "attempts": 1,
            "hedge_after": hedge,
            "overflow": False,
            "cancel": cancel,
            "again": True,
            "gone": False,
            "slow": slow,
        }
        return await live(case)

    for hedge, takes, slow in itertools.product((None, 0.0), (0, 6), (0, 2)):
        ends = [asyncio.run(main(cancel, hedge, takes, slow)) for cancel in range(1, 40)]
        assert ends[0] == "gateway_error"
        assert ends[-1] == "ok"


# --- re-chunking

TEXTS = st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=12), max_size=6)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    marks = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[a:b] for a, b in zip(marks, marks[1:], strict=False)]


def holding(keep: int) -> Making:
    """Keeps the last `keep` events back, as a hold-back does."""

    def make() -> Passing:
        held: list[Any] = []

        def push(item: Any) -> list[Any]:
            held.append(item)
            out = held[: max(0, len(held) - keep)]
            del held[: len(out)]
            return out

        return Passing(push, lambda: held)

    return Making(make)


async def served(chunks: list[bytes], dialect: str, stream: bool, keep: int) -> tuple[bytes, Any]:
    world = World([MemoryUpstream("up", [Wire(*chunks)])], checks=[holding(keep)] if keep else [], clock=ManualClock())
    receipt, client = await world.run(world.exchange(stream=stream, dialect=dialect))
    return client.body, (
        receipt.outcome,
        receipt.error,
        receipt.status,
        receipt.usage,
        receipt.attempts[0].finish_reasons,
    )


def said_in(body: bytes, dialect: str, stream: bool) -> str:
    """The text that a client reads out of a whole answer."""
    if not stream:
        answer = json.loads(body)
        parts = [answer["choices"][0]["message"]] if dialect == "openai" else answer["content"]
        return "".join(part["content" if dialect == "openai" else "text"] for part in parts)
    lines = [line.removeprefix("data: ") for line in body.decode().split("\n") if line.startswith("data: {")]
    events = [json.loads(line) for line in lines]
    if dialect == "openai":
        return "".join(c["delta"].get("content") or "" for e in events for c in e["choices"])
    return "".join(e["delta"].get("text", "") for e in events if e["type"] == "content_block_delta")


@settings(max_examples=150, deadline=None)
@given(
    texts=TEXTS,
    places=st.lists(st.integers(0, 4000), max_size=40),
    dialect=st.sampled_from(["openai", "anthropic"]),
    stream=st.booleans(),
    keep=st.integers(0, 3),
)
def test_how_the_upstreams_bytes_are_cut_changes_nothing(
    texts: list[str], places: list[int], dialect: str, stream: bool, keep: int
) -> None:
    """The client gets the same bytes and the receipt says the same, whatever the network made of the answer."""
    data = sse(*texts) if stream else whole("".join(texts))

    async def main() -> None:
        straight = await served([data], dialect, stream, keep)
        assert straight[1][0] == "ok"
        assert said_in(straight[0], dialect, stream) == "".join(texts)
        assert await served(cut(data, places), dialect, stream, keep) == straight
        assert await served([data[at : at + 1] for at in range(len(data))], dialect, stream, keep) == straight

    asyncio.run(main())


def test_how_a_broken_answer_is_cut_changes_nothing() -> None:
    """A stream that stops in the middle is told as cut at every place and in every packaging, never as whole."""
    data = sse("Hel", "lo", finish=True, done=False)

    async def main() -> None:
        for end in range(1, len(data), 7):
            part = data[:end]
            straight = await served([part], "openai", True, 0)
            assert straight[1][0] in ("cut", "upstream_error"), (end, straight)
            assert await served([part[at : at + 1] for at in range(len(part))], "openai", True, 0) == straight

    asyncio.run(main())
