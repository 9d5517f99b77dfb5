"""The event-stream parser against the plainest reading of the standard."""

from __future__ import annotations

import itertools

from hypothesis import example, given
from hypothesis import strategies as st

from gateway.dialects.sse_parser import SseEvent, SseParser
from tests.fixtures.dialects import LAW

LINES = st.sampled_from(
    ["data: a", "data:b", "data", "data:  c", ": comment", "event: x", "event:", "id: 7", "", "", "", "nonsense", "datax: 1",
     "data: é€", "data: [DONE]", "retry: 5", "\ufeffdata: bom", "data: a\u2028b"]
)  # fmt: skip
ENDINGS = st.sampled_from(["\n", "\n", "\r\n", "\r"])
STREAMS = st.builds(
    lambda lines, tail: ("".join(line + end for line, end in lines) + tail).encode(),
    st.lists(st.tuples(LINES, ENDINGS), max_size=25),
    st.sampled_from(["", "data: cut", "da", "\n"]),
)


def plainly(data: bytes) -> list[SseEvent]:
    """All at once, a line at a time, with no thought of speed."""
    lines = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").removeprefix(b"\xef\xbb\xbf").split(b"\n")
    found: list[SseEvent] = []
    values: list[bytes] = []
    name = b""
    for line in [*lines, b""]:
        if not line:
            if values:
                found.append((name, b"\n".join(values)))
            values, name = [], b""
            continue
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            values.append(value)
        elif field == b"event":
            name = value
    return found


def chunked(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    return [data[a:b] for a, b in itertools.pairwise(edges)]


def parse(pieces: list[bytes], limit: int = 10_000) -> tuple[list[SseEvent], bool]:
    parser = SseParser(limit)
    found = [event for piece in pieces for event in parser.feed(piece)]
    return found + parser.close(), parser.oversize


CUTS = st.lists(st.integers(0, 200), max_size=30)


@LAW
@given(STREAMS, CUTS)
@example(b"data: a\r\n\r\ndata: b\r\n\r\n", list(range(30)))
@example(b"\xef\xbb\xbfdata: a\n\n", [1, 2])
def test_chunking_and_line_endings_change_no_event(data: bytes, cuts: list[int]) -> None:
    """However the bytes are cut, and whichever line ending they use, the parser reads what the standard reads."""
    assert parse(chunked(data, cuts))[0] == plainly(data)


@LAW
@given(STREAMS)
def test_one_byte_at_a_time_is_no_special_case(data: bytes) -> None:
    """Fed single bytes, the parser reads the same events as fed everything at once."""
    assert parse([data[at : at + 1] for at in range(len(data))]) == parse([data])


@LAW
@given(st.integers(1, 40), CUTS)
def test_the_bound_holds_however_the_bytes_arrive(size: int, cuts: list[int]) -> None:
    """An event is refused exactly when a line or its data is longer than the bound, at every chunking alike."""
    data = b"data: ok\n\ndata: " + b"x" * size + b"\n\n"
    events, oversize = parse(chunked(data, cuts), limit=26)
    assert oversize == (size + 6 > 26)
    assert events == ([(b"", b"ok")] if oversize else [(b"", b"ok"), (b"", b"x" * size)])


def test_many_short_lines_of_one_event_are_bounded_together() -> None:
    """A server cannot fill memory with an event that never ends."""
    parser = SseParser(limit=1000)
    for _ in range(600):
        parser.feed(b"data: xx\n")
    assert parser.oversize
    assert parser.feed(b"\n\ndata: y\n\n") == []
    assert parser.close() == []
