from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from cache.backends.redis_link import _Wire
from cache.backends.resp import encode

VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.integers(-(2**63), 2**63) | st.binary(max_size=30),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=10,
)


def written(value: Any) -> bytes:
    """A value as Redis would send it."""
    if value is None:
        return b"$-1\r\n"
    if isinstance(value, int):
        return b":%d\r\n" % value
    if isinstance(value, bytes):
        return b"$%d\r\n%b\r\n" % (len(value), value)
    return b"*%d\r\n" % len(value) + b"".join(written(item) for item in value)


class _Sink(asyncio.Transport):
    """Takes what is written and keeps nothing."""

    def get_write_buffer_size(self) -> int:
        return 0

    def write(self, data: Any) -> None: ...

    def abort(self) -> None: ...


@settings(deadline=None)
@given(st.lists(VALUES, min_size=1, max_size=6), st.lists(st.integers(1, 9), max_size=200), st.data())
def test_chunking_changes_no_reply(values: list[Any], sizes: list[int], data: st.DataObject) -> None:
    """However the bytes arrive, each caller gets its own reply, and one who left costs nobody theirs."""
    left = data.draw(st.sets(st.integers(0, len(values) - 1)))

    async def converse() -> list[Any]:
        wire = _Wire()
        wire.connection_made(_Sink())
        futures = [wire.send(encode("GET", number)) for number in range(len(values))]
        for number in left:
            futures[number].cancel()
        stream, at = b"".join(map(written, values)), 0
        for size in (*sizes, len(stream)):
            if at < len(stream):
                wire.data_received(stream[at : at + size])
            at += size
        assert not wire.pending
        return [None if number in left else future.result() for number, future in enumerate(futures)]

    got = asyncio.run(converse())
    assert got == [None if number in left else value for number, value in enumerate(values)]
