"""Endpoints found by DNS: a real name server on loopback, asked through a real resolver."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from gateway.core.clock import ManualClock
from gateway.pools.endpoints import Endpoints
from gateway.providers import discover
from gateway.providers.discover import Discovery, LookupFailed
from gateway.providers.watch_config import DiscoverConfig
from gateway.providers.watch_endpoint import Ways
from gateway.providers.watch_pool import LONGEST_STAY, PoolWatch
from tests.fixtures.engine_server import NameServer
from tests.fixtures.raw_client import until

NAME = "vllm-headless.models.svc"


@pytest_asyncio.fixture
async def names() -> AsyncIterator[NameServer]:
    async with NameServer() as server:
        yield server


def said(names: NameServer, **fields: Any) -> DiscoverConfig:
    return DiscoverConfig(**{"dns": NAME, "port": 8000, "resolver": names.address, **fields})


async def test_every_address_is_an_endpoint(names: NameServer) -> None:
    """A and AAAA records, in an order of their own, with the port, path and scheme that were said."""
    names.names[NAME] = ["10.0.0.2", "10.0.0.1", "fd00::7"]
    found = await Discovery(said(names)).find()
    assert found.urls == ("http://10.0.0.1:8000/v1", "http://10.0.0.2:8000/v1", "http://[fd00::7]:8000/v1")
    assert found.whole
    other = await Discovery(said(names, scheme="https", path="")).find()
    assert other.urls[0] == "https://10.0.0.1:8000"


async def test_service_records_bring_names_and_ports(names: NameServer) -> None:
    """A name that begins with an underscore is asked for SRV records."""
    names.services["_http._tcp.vllm"] = ["0 10 8001 pod-1.vllm.", "0 10 8002 pod-2.vllm."]
    found = await Discovery(said(names, dns="_http._tcp.vllm", port=None)).find()
    assert found.urls == ("http://pod-1.vllm:8001/v1", "http://pod-2.vllm:8002/v1")
    names.services["_http._tcp.vllm"] = ["0 0 0 ."]
    assert (await Discovery(said(names, dns="_http._tcp.vllm", port=None)).find()).urls == ()


async def test_a_name_that_does_not_exist_is_an_answer(names: NameServer) -> None:
    """It has no endpoints; that is not the same as a name server that cannot say."""
    assert await Discovery(said(names)).find() == ((), True, 0)


async def test_a_name_server_that_fails_is_no_answer(names: NameServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """SERVFAIL and silence raise, within a bound."""
    names.names[NAME] = ["10.0.0.1"]
    names.broken = {"*"}
    with pytest.raises(LookupFailed, match="refused or failed"):
        await Discovery(said(names)).find()
    monkeypatch.setattr(discover, "LOOKUP_SECONDS", 0.05)
    names.silent = True
    with pytest.raises(LookupFailed, match="Timeout"):
        await Discovery(said(names)).find()


async def test_half_an_answer_takes_nothing_away(names: NameServer) -> None:
    """With the IPv6 half missing, what is there is used and nothing is believed gone."""
    names.names[NAME] = ["10.0.0.1", "fd00::7"]
    names.broken = {"AAAA"}
    assert await Discovery(said(names)).find() == (("http://10.0.0.1:8000/v1",), False, 0)


async def test_a_pool_takes_a_bounded_number(names: NameServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a name server says beyond that is left out, and counted."""
    names.names[NAME] = [f"10.0.0.{n}" for n in range(1, 9)]
    monkeypatch.setattr(discover, "MOST_ENDPOINTS", 5)
    found = await Discovery(said(names)).find()
    assert (len(found.urls), found.left_out) == (5, 3)


async def test_a_long_answer_is_taken_whole(names: NameServer) -> None:
    """More addresses than a datagram holds are asked for over TCP."""
    names.names[NAME] = [f"10.0.1.{n}" for n in range(1, 121)]
    found = await Discovery(said(names)).find()
    assert len(found.urls) == 120
    assert names.asked_by_tcp


async def test_looking_up_does_not_block_the_loop(names: NameServer) -> None:
    """While a name server is silent everything else goes on."""
    names.silent = True
    task = asyncio.create_task(Discovery(said(names)).find())
    await until(lambda: names.asked)
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


# --- what a pool makes of it


class World:
    """A pool found at a name, without any watching of its endpoints."""

    def __init__(self, names: NameServer, **fields: Any) -> None:
        self.names = names
        self.clock = ManualClock()
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.endpoints = Endpoints([], "least_inflight", self.clock)
        self.pool = PoolWatch(
            "gpu",
            self.endpoints,
            Ways(None, None, None, ()),
            self._nobody,
            self.clock,
            lambda event, **facts: self.told.append((event, facts)),
            discovery=Discovery(said(names, **fields)),
        )

    async def _nobody(self, url: str, *, seconds: float) -> tuple[int, bytes]:
        raise AssertionError("nothing is watched here")

    async def look(self, *addresses: str) -> None:
        self.names.names[NAME] = list(addresses)
        await self.pool.look_up()

    @property
    def hosts(self) -> dict[str, bool]:
        """Each endpoint's address, and whether it drains."""
        return {endpoint.label.split(":")[0]: endpoint.draining for endpoint in self.endpoints.all}

    @property
    def events(self) -> list[str]:
        return [event for event, _ in self.told]


async def test_a_new_address_takes_calls_at_once(names: NameServer) -> None:
    """A replica that appears is an endpoint; those that were there keep their state."""
    world = World(names)
    await world.look("10.0.0.1")
    first = world.endpoints.all[0]
    lease = world.endpoints.lease()
    await world.look("10.0.0.1", "10.0.0.2")
    assert world.hosts == {"10.0.0.1": False, "10.0.0.2": False}
    assert world.endpoints.all[0] is first
    assert first.in_flight == 1
    assert lease is not None
    lease.end(True)
    assert first.in_flight == 0


async def test_an_address_that_vanishes_drains_and_then_goes(names: NameServer) -> None:
    """It gets no new call at once, is kept while its calls run, and is forgotten after its time."""
    world = World(names, keep=30.0)
    await world.look("10.0.0.1", "10.0.0.2")
    leases = [world.endpoints.lease(), world.endpoints.lease()]
    await world.look("10.0.0.2")
    assert world.hosts == {"10.0.0.1": True, "10.0.0.2": False}
    world.clock.advance(31)
    await world.look("10.0.0.2")
    assert "10.0.0.1" in world.hosts, "a call is still under way there"
    for lease in leases:
        assert lease is not None
        lease.end(True)
    await world.look("10.0.0.2")
    assert world.hosts == {"10.0.0.2": False}
    assert world.told[-1] == ("endpoints changed", {"provider": "gpu", "come": [], "gone": ["10.0.0.1:8000"], "now": 1})


async def test_an_address_that_comes_back_goes_on_as_it_was(names: NameServer) -> None:
    """One answer without it costs an endpoint nothing of what is known of it."""
    world = World(names)
    await world.look("10.0.0.1", "10.0.0.2")
    first = world.endpoints.all[0]
    await world.look("10.0.0.2")
    assert first.draining
    await world.look("10.0.0.1", "10.0.0.2")
    assert world.endpoints.all[0] is first
    assert not first.draining


async def test_a_call_that_never_ends_does_not_keep_an_endpoint_for_ever(names: NameServer) -> None:
    """After a long while it is let go of, whatever is under way."""
    world = World(names)
    await world.look("10.0.0.1", "10.0.0.2")
    leases = [world.endpoints.lease() for _ in range(2)]
    await world.look("10.0.0.2")
    world.clock.advance(LONGEST_STAY)
    await world.look("10.0.0.2")
    assert world.hosts == {"10.0.0.2": False}
    for lease in leases:
        assert lease is not None
        lease.end(None)


async def test_an_empty_answer_keeps_what_was_known_for_a_while(names: NameServer) -> None:
    """The last endpoints are still asked until their time is over; then there are none, for an address without a name may be
    somebody else's by then."""
    world = World(names, keep=30.0)
    await world.look("10.0.0.1")
    await world.look()
    lease = world.endpoints.lease()
    assert lease is not None
    lease.end(True)
    assert "no endpoint is found" in world.events
    world.clock.advance(31)
    await world.look()
    assert world.endpoints.all == ()
    assert world.endpoints.lease() is None
    await world.look("10.0.0.9")
    assert world.hosts == {"10.0.0.9": False}


async def test_a_name_server_that_fails_changes_nothing(names: NameServer) -> None:
    """However long it is away; it is told once, counted each time, and told when it answers again."""
    world = World(names)
    await world.look("10.0.0.1")
    names.broken = {"*"}
    for _ in range(3):
        world.clock.advance(3600)
        await world.look()
    assert world.hosts == {"10.0.0.1": False}
    assert world.pool.failed_lookups == 3
    assert world.events.count("endpoints cannot be looked up") == 1
    names.broken = set()
    await world.look("10.0.0.1")
    assert world.events[-1] == "endpoints are looked up again"


async def test_nothing_found_at_the_start_is_told(names: NameServer) -> None:
    """Once, and not again at every look."""
    world = World(names)
    await world.look()
    await world.look()
    assert world.events == ["no endpoint is found"]
    assert world.pool.looked


async def test_an_operators_drain_and_the_names_do_not_get_in_each_others_way(names: NameServer) -> None:
    """One that is drained stays so when its address vanishes and comes back."""
    world = World(names)
    await world.look("10.0.0.1", "10.0.0.2")
    url = world.endpoints.all[0].url
    world.pool.drain({url})
    await world.look("10.0.0.2")
    await world.look("10.0.0.1", "10.0.0.2")
    assert world.hosts == {"10.0.0.1": True, "10.0.0.2": False}
    world.pool.drain(set())
    assert world.hosts == {"10.0.0.1": False, "10.0.0.2": False}


async def test_a_drained_endpoint_that_is_gone_is_drained_no_more(names: NameServer) -> None:
    """Its address may be another's by the time it comes back."""
    world = World(names, keep=30.0)
    await world.look("10.0.0.1", "10.0.0.2")
    url = world.endpoints.all[0].url
    world.pool.drain({url})
    await world.look("10.0.0.2")
    assert not world.pool.forgotten
    world.clock.advance(31)
    await world.look("10.0.0.2")
    assert world.pool.forgotten == {url}
