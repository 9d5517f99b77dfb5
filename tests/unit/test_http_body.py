"""Reading a body: bounded in bytes, in seconds, and in what a compressed one may grow to."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import BadRequest, ClientGone, SlowBody, TooLarge
from gateway.http.body import BodyReader

GONE = "gone"
HANG = "hang"


class Source:
    """An ASGI `receive` that gives these pieces; the last one is the end unless it is GONE or HANG."""

    def __init__(self, *pieces: bytes | str) -> None:
        self._pieces = list(pieces)
        self.given = 0

    async def __call__(self) -> dict[str, Any]:
        if not self._pieces or self._pieces[0] == GONE:
            return {"type": "http.disconnect"}
        if self._pieces[0] == HANG:
            await asyncio.Event().wait()
        body = self._pieces.pop(0)
        self.given += len(body)
        return {"type": "http.request", "body": body, "more_body": bool(self._pieces)}


def reader(source: Source, limit: int = 100, seconds: float = 5.0, **headers: str) -> BodyReader:
    return BodyReader(source, {name.replace("_", "-"): value for name, value in headers.items()}, limit, seconds)


@given(st.lists(st.binary(max_size=30), min_size=1, max_size=8), st.integers(0, 120))
async def test_a_body_is_its_pieces_up_to_the_limit(pieces: list[bytes], limit: int) -> None:
    """Exactly: a byte more is refused, and no more than a piece beyond it is kept."""
    source = Source(*pieces)
    read = reader(source, limit)
    total = b"".join(pieces)
    if len(total) <= limit:
        assert await read() == total
        assert read.done
    else:
        with pytest.raises(TooLarge):
            await read()
        assert source.given <= limit + 30


async def test_a_declared_length_is_believed_only_against_the_client() -> None:
    """Too large: refused before a byte is read. Small: what really comes is counted."""
    source = Source(b"x" * 10)
    with pytest.raises(TooLarge):
        await reader(source, content_length="101")()
    assert source.given == 0
    with pytest.raises(TooLarge):
        await reader(Source(b"x" * 101), content_length="5")()


async def test_a_slow_body_is_given_up_and_not_waited_for_again() -> None:
    """`discard` reads nothing more of a client that was too slow already."""
    source = Source(b"x", HANG)
    read = reader(source, seconds=0.02)
    with pytest.raises(SlowBody, match=r"0\.02 s"):
        await read()
    async with asyncio.timeout(1):
        await read.discard()
    assert not read.done


async def test_a_client_that_hangs_up_is_gone() -> None:
    """Before the first byte and after it."""
    for pieces in ((GONE,), (b"x", GONE)):
        with pytest.raises(ClientGone):
            await reader(Source(*pieces))()


async def test_what_is_left_is_thrown_away_in_bounds() -> None:
    """So that a client that writes before it reads can see the answer."""
    read = reader(source := Source(*[b"x" * 60] * 5))
    with pytest.raises(TooLarge):
        await read()
    await read.discard()
    assert (read.done, source.given) == (True, 300)
    await read.discard()
    huge = Source(*[b"x" * (1 << 20)] * 200)
    read = reader(huge)
    await read.discard()
    assert (read.done, huge.given) == (False, 64 << 20)


async def test_a_client_that_asks_first_is_not_invited_for_nothing() -> None:
    """Reading is the invitation (`100 Continue`), so a refusal reads nothing."""
    source = Source(b"x" * 300)
    read = reader(source, content_length="300", expect="100-continue")
    with pytest.raises(TooLarge):
        await read()
    await read.discard()
    assert (source.given, read.done) == (0, False)


@given(st.binary(max_size=3000), st.integers(0, 3000), st.sampled_from(["gzip", "deflate"]))
async def test_a_compressed_body_is_bounded_by_what_it_becomes(data: bytes, limit: int, coding: str) -> None:
    """And comes out as it went in."""
    packed = gzip.compress(data, mtime=0) if coding == "gzip" else zlib.compress(data)
    read = reader(Source(packed), max(limit, len(packed)), content_encoding=coding.upper())
    if len(data) <= max(limit, len(packed)):
        assert await read() == data
    else:
        with pytest.raises(TooLarge):
            await read()


PACKED = gzip.compress(b"hello" * 10, mtime=0)


@given(st.integers(0, len(PACKED) - 1), st.binary(min_size=1, max_size=3))
async def test_damage_is_found(at: int, tail: bytes) -> None:
    """Cut anywhere, or with something behind it: 400, never half a body."""
    for bad in (PACKED[:at], PACKED + tail):
        with pytest.raises(BadRequest):
            await reader(Source(bad), content_encoding="gzip")()


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip", "x" * 200])
async def test_an_unknown_coding_is_named_shortly(coding: str) -> None:
    """With what could be sent instead."""
    with pytest.raises(BadRequest, match="gzip, deflate") as caught:
        await reader(Source(b"x"), content_encoding=coding)()
    assert len(caught.value.message) < 120
