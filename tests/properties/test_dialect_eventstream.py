"""AWS's event stream: re-chunking changes nothing, and no damaged byte is ever read as an answer."""

from __future__ import annotations

import struct
from contextlib import suppress
from zlib import crc32

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.dialects.eventstream import MAX_HEADERS, MAX_MESSAGE, EventStream, Malformed, Message
from tests.fixtures.dialects import LAW
from tests.fixtures.eventstream import message

HEADERS = st.dictionaries(st.text(min_size=1, max_size=20), st.text(max_size=40), max_size=4)
MESSAGES = st.lists(st.tuples(HEADERS, st.binary(max_size=200)), max_size=6)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    at = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in zip(at, at[1:], strict=False)]


@LAW
@given(MESSAGES, st.lists(st.integers(0, 10**6), max_size=20))
def test_any_chunking_gives_the_same_messages(sent: list[tuple[dict[str, str], bytes]], cuts: list[int]) -> None:
    """What is read does not depend on where the network cut it."""
    data = b"".join(message(headers, payload) for headers, payload in sent)
    stream = EventStream()
    found = [each for piece in pieces(data, cuts) for each in stream.feed(piece)]
    assert found == [Message(headers, payload) for headers, payload in sent]
    assert not stream.within


@LAW
@given(HEADERS, st.binary(max_size=80), st.data())
def test_a_damaged_byte_is_never_read(headers: dict[str, str], payload: bytes, data: st.DataObject) -> None:
    """Any one changed byte is found by a checksum or leaves the message unfinished."""
    whole = bytearray(message(headers, payload))
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    stream = EventStream()
    try:
        found = stream.feed(bytes(whole))
    except Malformed:
        return
    assert not found
    assert stream.within


@LAW
@given(HEADERS, st.binary(max_size=80), st.data())
def test_a_message_cut_short_is_known_to_be(headers: dict[str, str], payload: bytes, data: st.DataObject) -> None:
    """After any part of a message the stream knows that it is within one."""
    whole = message(headers, payload)
    stream = EventStream()
    assert not stream.feed(whole[: data.draw(st.integers(1, len(whole) - 1))])
    assert stream.within


@LAW
@given(st.binary(max_size=300))
@example(b"\0" * 16)
def test_anything_is_read_or_refused(noise: bytes) -> None:
    """Bytes that are no event stream raise `Malformed` and nothing else."""
    stream = EventStream()
    with suppress(Malformed):
        stream.feed(noise)
        stream.feed(noise)


def prelude(total: int, headers: int) -> bytes:
    head = struct.pack(">II", total, headers)
    return head + struct.pack(">I", crc32(head))


@pytest.mark.parametrize(
    ("total", "headers", "said"),
    [
        (MAX_MESSAGE + 1, 0, "larger"),
        (15, 0, "contradict"),
        (20, 5, "contradict"),
        (MAX_HEADERS + 100, MAX_HEADERS + 1, "contradict"),
    ],
)
def test_lengths_are_bounded_before_anything_is_kept(total: int, headers: int, said: str) -> None:
    """A message that says it is too large, or smaller than its parts, is refused by its first 12 bytes."""
    with pytest.raises(Malformed, match=said):
        EventStream().feed(prelude(total, headers))


OTHERS = b"\x01a\x00" b"\x01b\x01" b"\x01c\x02x" b"\x01d\x03xx" b"\x01e\x04xxxx" b"\x01f\x05xxxxxxxx" \
    b"\x01g\x06\x00\x03xyz" b"\x01h\x08xxxxxxxx" b"\x01i\x09xxxxxxxxxxxxxxxx"  # fmt: skip


def test_headers_of_every_type_are_stepped_over() -> None:
    """Truths, numbers, bytes, times and uuids are read past; texts are kept."""
    assert EventStream().feed(message({"z": "last"}, b"p", other=OTHERS)) == [Message({"z": "last"}, b"p")]


@pytest.mark.parametrize(
    "headers", [b"\x01a\x0a", b"\x05a", b"\x01a\x07\x00\x09x", b"\x01a\x04xx", b"\x01\xff\x00", b"\x01"]
)
def test_headers_that_make_no_sense_are_refused(headers: bytes) -> None:
    """An unknown type, a value cut short, a name that is no UTF-8."""
    with pytest.raises(Malformed, match="headers"):
        EventStream().feed(message({}, b"", other=headers))
