"""The commit point: nothing is sent before the first released content, and nothing is taken back after it."""

from __future__ import annotations

import json

import pytest

from gateway.core.errors import BadRequest, Internal, StreamCut, UpstreamFailed
from gateway.core.events import Blocked, ChoiceFinished, Event, Failed, Finished, Frame, Started, Text, Usage
from gateway.core.exchange import Exchange
from gateway.pipeline.delivery import Delivery
from tests.fixtures.spine_world import DIALECTS, Making, MemoryClient, Passing, World

START = Started("c", "m", 1)
STOP = ChoiceFinished("stop")
USED = Usage(3, 2)


async def delivering(*checks: Making, stream: bool = True, dialect: str = "openai") -> tuple[Delivery, MemoryClient]:
    exchange: Exchange = World([]).exchange(stream=stream, dialect=dialect)
    exchange.request = DIALECTS[dialect].read("chat", json.loads(await exchange.read_body()))
    client = MemoryClient(exchange)
    return Delivery(exchange, client, checks, DIALECTS[dialect].outlet, lambda _u, _t: 0.5), client


def frames(*events: Event) -> list[Frame]:
    return [Frame((event,)) for event in events]


@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
async def test_what_is_no_content_commits_to_nothing(dialect: str) -> None:
    """A start and a count are kept until there is something to say; then they go first."""
    delivery, client = await delivering(dialect=dialect)
    await delivery.push(frames(START, USED))
    assert (client.body, client.committed, delivery.committed) == (b"", False, False)
    await delivery.push(frames(Text("Hello")))
    assert client.committed
    body = client.body
    assert b"Hello" in body
    if dialect == "anthropic":
        assert body.index(b"message_start") < body.index(b"Hello")


async def test_a_batch_leaves_in_one_piece() -> None:
    """What arrived in one read is sent in one write."""
    delivery, client = await delivering()
    writes: list[bytes] = []
    take = client._take

    async def counted(status: int, data: bytes, last: bool) -> None:
        writes.append(data)
        await take(status, data, last)

    client._take = counted  # type: ignore[method-assign]
    await delivery.push(frames(START, Text("a"), Text("b")))
    await delivery.push(frames(Text("c"), STOP, Finished()))
    assert len(writes) == 2


async def test_content_that_is_held_back_commits_to_nothing() -> None:
    """The model has spoken, but no check has let it through yet: another target may still be tried."""
    delivery, client = await delivering(Making(lambda: Passing(lambda _: ())))
    await delivery.push(frames(START, Text("Hello")))
    assert not client.committed
    assert delivery.seen.first_content is not None


@pytest.mark.parametrize("stream", [True, False])
async def test_beginning_again_forgets_what_was_not_sent(stream: bool) -> None:
    """The next attempt's answer is not mixed with an earlier one's."""
    delivery, client = await delivering(Making(lambda: Passing()), stream=stream)
    await delivery.push(frames(START, USED) if stream else frames(START, Text("first")))
    delivery.begin()
    await delivery.push(frames(Started("d", "m", 2), Text("second"), STOP, Finished()))
    assert (client.ended, delivery.done) == (True, True)
    assert b"first" not in client.body
    assert client.body.count(b"second") == 1


async def test_a_whole_answer_is_sent_at_its_end_only() -> None:
    """One body, with its usage; the exchange learns what it cost."""
    delivery, client = await delivering(stream=False)
    await delivery.push(frames(START, Text("Hel")))
    await delivery.push(frames(Text("lo"), STOP, USED))
    assert client.body == b""
    await delivery.push(frames(Finished()))
    assert json.loads(client.body)["choices"][0]["message"]["content"] == "Hello"
    assert (delivery._exchange.usage, delivery._exchange.cost_usd) == (USED, 0.5)


async def test_an_answer_that_just_ends_is_cut() -> None:
    """Whether or not content was sent."""
    for sent in ((), (Text("Hello"), STOP)):
        delivery, _ = await delivering()
        await delivery.push(frames(START, *sent))
        with pytest.raises(StreamCut):
            delivery.end()


async def test_what_was_released_goes_out_before_the_fault_is_raised() -> None:
    """A failure in the same batch takes nothing back."""
    delivery, client = await delivering()
    with pytest.raises(UpstreamFailed):
        await delivery.push(frames(START, Text("Hello"), Failed(UpstreamFailed("It broke.")), Text("never")))
    assert b"Hello" in client.body
    assert b"never" not in client.body


async def test_a_failure_that_is_no_fault_says_nothing_of_itself() -> None:
    """What a library's exception says is not for clients."""
    delivery, _ = await delivering()
    with pytest.raises(Internal) as caught:
        await delivery.push(frames(Failed(ValueError("secret detail"))))
    assert "secret" not in caught.value.message
    assert isinstance(caught.value.__cause__, ValueError)


async def test_a_block_is_no_fault() -> None:
    """It ends the delivery; what was released before it is out, what comes after is not, and `end` has no complaint."""
    blocked = Blocked("check", "category", "no")
    delivery, client = await delivering(Making(lambda: Passing(lambda e: (blocked,) if e == Text("bad") else (e,))))
    await delivery.push(frames(START, Text("good"), Text("bad"), Text("more")))
    assert (delivery.blocked, delivery.over, delivery.done) == (blocked, True, False)
    assert b"good" in client.body
    assert b"more" not in client.body
    delivery.end()


@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
async def test_after_the_commit_point_the_truth_is_told_in_the_stream(dialect: str) -> None:
    """An error without an end mark, or a content-filter ending with one."""
    mark = b"[DONE]" if dialect == "openai" else b"message_stop"
    for fails in (True, False):
        delivery, client = await delivering(dialect=dialect)
        await delivery.push(frames(START, Text("Hello")))
        if fails:
            await delivery.fail(BadRequest("It was wrong."))
            assert b"It was wrong." in client.body
        else:
            await delivery.block(Blocked("check", "category", "no"))
            assert (b"content_filter" if dialect == "openai" else b"refusal") in client.body
        assert client.ended
        assert (mark in client.body) == (not fails)


async def test_a_transform_that_is_not_interested_costs_nothing() -> None:
    """None from `open` leaves frames as they came."""
    delivery, _ = await delivering(Making(lambda: None), Making(lambda: None))
    await delivery.push(frames(START))
    assert delivery._stream is not None
    assert delivery._stream._sessions == ()
