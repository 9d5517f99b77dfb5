"""The desk: a person who is asked for is told, or the operator is told that nobody was."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from gateway.core.answer import Handoff
from gateway.core.errors import Unavailable
from gateway.core.exchange import Exchange
from gateway.core.secret import Secret
from gateway.core.units import Duration
from gateway.handover.config import HandoffConfig, problems
from gateway.handover.desk import MAX_TEXT, Desk, signature
from gateway.providers.http_client import HttpClient
from gateway.providers.post import Poster
from tests.fixtures.guard_world import exchange_of
from tests.fixtures.upstream_server import Peer, RawServer, until, whole

SIGNING = "a shared secret that signs"


class World:
    def __init__(self, desk: Desk, server: RawServer, lost: list[tuple[str, str, str]], waits: list[float]) -> None:
        self.desk, self.server, self.lost, self.waits = desk, server, lost, waits


@asynccontextmanager
async def desk(
    behave: Callable[[Peer], Awaitable[None]], *, include: str = "nothing", attempts: int = 4, bound: int = 10
) -> AsyncIterator[World]:
    lost: list[tuple[str, str, str]] = []
    waits: list[float] = []

    async def no_wait(seconds: float) -> None:
        waits.append(seconds)

    http = HttpClient()
    async with RawServer(behave) as server:
        config = HandoffConfig(
            url=f"{server.url}/hook", secret=Secret(SIGNING), include=include, attempts=attempts, timeout=Duration(0.5)  # type: ignore[arg-type]
        )  # fmt: skip
        made = Desk({"team": config}, Poster(http), lost=lambda *what: lost.append(what), sleep=no_wait, bound=bound)
        await made.start()
        try:
            yield World(made, server, lost, waits)
        finally:
            await made.close(0.5)
            await http.aclose()


def asked(team: str = "team") -> Exchange:
    exchange = exchange_of(("system", "internal rules"), ("user", "my card is [[CREDIT_CARD_1]]"), ("assistant", "hm"))
    exchange.handoff = Handoff(team, "phrase")
    exchange.session, exchange.route = "s-1", "support"
    return exchange


async def fine(peer: Peer) -> None:
    await peer.send(whole(b"{}"))


async def test_the_team_is_told_why_and_can_tell_that_it_was_us() -> None:
    """One signed message: the exchange's id, the reason, no word of the conversation."""
    async with desk(fine) as world:
        world.desk.hand_over(asked())
        await until(lambda: world.desk.told)
        (peer,) = world.server.requests
        assert peer.line.startswith("POST /hook ")
        assert peer.headers["x-tidegate-signature"] == signature(SIGNING, peer.body)
        told = peer.json
        assert (told["exchange"], told["team"], told["reason"]) == ("x1", "team", "phrase")
        assert (told["session"], told["route"]) == ("s-1", "support")
        assert b"CREDIT_CARD" not in peer.body
        assert "conversation" not in told


async def test_the_conversation_goes_along_as_it_was_masked() -> None:
    """Where the operator asks for it: what the checks left, without the operator's own system text, bounded."""
    async with desk(fine, include="masked") as world:
        exchange = asked()
        world.desk.hand_over(exchange)
        await until(lambda: world.desk.told)
        told = world.server.requests[0].json["conversation"]
        assert told == [{"role": "user", "text": "my card is [[CREDIT_CARD_1]]"}, {"role": "assistant", "text": "hm"}]
        long = exchange_of(("user", "a" * MAX_TEXT), ("user", "b" * 10))
        long.handoff = Handoff("team", "turns")
        world.desk.hand_over(long)
        await until(lambda: world.desk.told == 2)
        texts = [turn["text"] for turn in world.server.requests[1].json["conversation"]]
        assert texts == ["a" * (MAX_TEXT - 10), "b" * 10]


async def test_a_desk_that_is_down_is_asked_again_and_then_reported() -> None:
    """5xx, 429 and broken connections are tried again, waiting longer each time; then the loss is told by id."""

    async def down(peer: Peer) -> None:
        if len(peer.server.requests) == 1:
            peer.abort()
        else:
            await peer.send(whole(b"", "503 Service Unavailable"))

    async with desk(down, attempts=3) as world:
        world.desk.hand_over(asked())
        await until(lambda: world.desk.lost)
        assert (len(world.server.requests), world.waits) == (3, [0.5, 1.0])
        assert world.lost == [("x1", "team", "status_503")]


async def test_a_refusal_that_is_final_is_not_repeated() -> None:
    """A 404 would be one again."""

    async def gone(peer: Peer) -> None:
        await peer.send(whole(b"", "404 Not Found"))

    async with desk(gone) as world:
        world.desk.hand_over(asked())
        await until(lambda: world.desk.lost)
        assert len(world.server.requests) == 1
        assert world.lost == [("x1", "team", "status_404")]


async def test_a_desk_that_hangs_takes_no_longer_than_its_time_out() -> None:
    """And nothing is lost without a word when the process stops meanwhile."""

    async def hang(peer: Peer) -> None:
        await peer.gone()

    async with desk(hang, attempts=10, bound=2) as world:
        for _ in range(4):
            world.desk.hand_over(asked())
            await asyncio.sleep(0)
        await world.desk.close(0.05)
        assert sorted(why for _, _, why in world.lost) == ["queue_full", "stopped", "stopped", "stopped"]
        assert len(world.desk) == 0


async def test_what_waits_is_sent_before_the_process_stops() -> None:
    """Closing waits for the queue."""
    async with desk(fine) as world:
        for _ in range(5):
            world.desk.hand_over(asked())
        await world.desk.close(5)
        assert (world.desk.told, world.lost) == (5, [])


async def test_a_team_without_a_desk_is_the_applications_to_tell() -> None:
    """It reads the header; nothing is sent and nothing is lost."""
    async with desk(fine) as world:
        world.desk.hand_over(asked("elsewhere"))
        assert len(world.desk) == 0


async def test_a_post_is_bounded() -> None:
    """In time and in what it reads, and its errors name no URL."""

    async def large(peer: Peer) -> None:
        await peer.send(whole(b"x" * 5000))

    http = HttpClient()
    async with RawServer(large) as server:
        with pytest.raises(Unavailable) as caught:
            await Poster(http)(f"{server.url}/t0ken", {}, b"{}", seconds=2, most=1000)
        assert "t0ken" not in str(caught.value)
    with pytest.raises(Unavailable):
        await Poster(http)(f"{server.url}/t0ken", {}, b"{}", seconds=2, most=1000)
    await http.aclose()


@pytest.mark.parametrize(
    ("changes", "path"),
    [({"url": "ftp://x/y"}, ".url"), ({"url": "https://a:b@x/y"}, ".url"), ({"attempts": 0}, ".attempts"), ({"timeout": 0.0}, ".timeout")],
)  # fmt: skip
def test_slips_are_named(changes: dict[str, object], path: str) -> None:
    """Each with its path."""
    config = HandoffConfig(**{"url": "https://desk.example/x", **changes})  # type: ignore[arg-type]
    assert [where for where, _ in problems({"t": config})] == [f"handoffs.t{path}"]


def test_a_message_never_shows_its_body() -> None:
    """In logs and tracebacks."""
    from gateway.handover.desk import Message

    assert "secret" not in repr(Message("x1", "team", json.dumps("secret").encode()))
