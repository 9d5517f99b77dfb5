"""Forms that are passed on while they are read, and the ids that are handed out for what a provider keeps."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.errors import BadRequest, NotFound
from gateway.core.exchange import Principal
from gateway.relay.body import KEEP, Form, form_of
from gateway.relay.multipart import MOST_HEAD, Scan, boundary_of
from gateway.relay.seal import Seals

BOUNDARY = "frontier"
KIND = f"multipart/form-data; boundary={BOUNDARY}"
BYTES = st.binary(max_size=300) | st.sampled_from([b"--frontie", b"\r\n--frontie", b"\r\n", b"\r\n--", b"--frontier"])
FILES = st.tuples(st.just("file"), st.sampled_from(["a.mp3", "", "é.wav"]), BYTES)
FIELDS = st.tuples(st.sampled_from(["prompt", "language"]), st.none(), BYTES)


def form(parts: list[tuple[str, str | None, bytes]]) -> bytes:
    out = []
    for name, filename, value in parts:
        more = f'; filename="{filename}"' if filename is not None else ""
        out.append(f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + value)
    return b"\r\n".join([*out, f"--{BOUNDARY}--\r\n".encode()])


class Pieces:
    """A client's body in pieces of these sizes, over and over."""

    def __init__(self, body: bytes, sizes: list[int], *, announced: bool) -> None:
        self.length = len(body) if announced else None
        self._left, self._sizes, self._at = body, sizes, 0
        self.given = 0

    async def piece(self) -> bytes:
        size = self._sizes[self._at % len(self._sizes)]
        self._at += 1
        out, self._left = self._left[:size], self._left[size:]
        self.given += len(out)
        return out


def ambiguous(parts: list[tuple[str, str | None, bytes]]) -> bool:
    """A value that holds a boundary, which no client would choose for it."""
    return any(b"\r\n--frontier" in b"\r\n" + value for _, _, value in parts)


async def through(body: bytes, sizes: list[int], model: str, *, announced: bool) -> tuple[Form, bytes, int | None]:
    made = form_of(Pieces(body, sizes, announced=announced), KIND, frozenset({"model"}))
    await made.hold(lambda scan: scan.field("model") is not None, 1 << 20)
    sending = made.sending(model)
    return made, b"".join([piece async for piece in sending.pieces]), sending.length


@settings(deadline=None)
@given(
    st.lists(FILES | FIELDS, max_size=3), st.lists(FILES | FIELDS, max_size=3), st.booleans(),
    st.lists(st.integers(1, 90), min_size=1, max_size=5),
)  # fmt: skip
def test_only_the_models_name_changes(before: Any, after: Any, announced: bool, sizes: list[int]) -> None:
    """Whatever stands around it and however the body arrives: all other bytes go on as they came, and the length said is
    the length sent."""
    if ambiguous([*before, *after]):
        return
    sent = form([*before, ("model", None, b"ours"), *after])
    wanted = form([*before, ("model", None, b"theirs-and-longer"), *after])
    made, got, length = asyncio.run(through(sent, sizes, "theirs-and-longer", announced=announced))
    assert made.field("model") == "ours"
    assert got == wanted
    assert length in (None, len(wanted))
    assert length is not None or not announced


@settings(deadline=None)
@given(st.lists(FILES | FIELDS, max_size=4), st.lists(st.integers(1, 40), min_size=1, max_size=4))
def test_parts_are_the_same_in_any_pieces(parts: Any, sizes: list[int]) -> None:
    """Where a body is cut makes no difference to what is found in it, or to whether it is refused."""

    def found(pieces: list[int]) -> Any:
        scan, left, at = Scan(boundary_of(KIND), frozenset({"prompt"})), form(parts), 0
        try:
            while left:
                size = pieces[at % len(pieces)]
                scan.feed(left[:size])
                left, at = left[size:], at + 1
            scan.close()
        except BadRequest as refused:
            return str(refused)
        return scan.parts

    assert found(sizes) == found([1 << 20])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--other--\r\n",
        b"x" * (MOST_HEAD + 100),
        b"--frontier\r\nContent-Disposition: form-data\r\n\r\nx\r\n--frontier--",
        b'--frontier\r\nContent-Disposition: attachment; name="model"\r\n\r\nx\r\n--frontier--',
        b'--frontier\r\nContent-Disposition: form-data; name="model"; name="x"\r\n\r\nx\r\n--frontier--',
        b"--frontier\r\nContent-Disposition: form-data; name*=utf-8''model\r\n\r\nx\r\n--frontier--",
        b'--frontier\r\nContent-Disposition: form-data; name="model"\r\n\r\n--frontier--',
        b'--frontier\r\nContent-Disposition: form-data; name="model"\r\n\r\n\xff\r\n--frontier--',
        b'--frontierx\r\nContent-Disposition: form-data; name="model"\r\n\r\nx\r\n--frontier--',
        b"--frontier\r\n" + b"x" * (MOST_HEAD + 100),
    ],
)
def test_what_readers_could_take_differently_is_refused(body: bytes) -> None:
    """A provider must not find another model in a form than we do."""
    with pytest.raises(BadRequest):
        asyncio.run(through(body, [7], "theirs", announced=True))


@pytest.mark.parametrize(
    ("told", "marked"),
    [
        ('filename="a.txt"', 'filename="X-a.txt"'),
        ("filename=a.txt", "filename=X-a.txt"),
        ('filename=""', 'filename="X-"'),
        ("filename*=UTF-8''a%20b.txt", "filename*=UTF-8''X-a%20b.txt"),
        ("filename=\"a\"; filename*=utf-8'en'b", "filename=\"X-a\"; filename*=utf-8'en'X-b"),
    ],
)
async def test_a_files_name_is_marked_however_it_is_told(told: str, marked: str) -> None:
    """Each of the ways that clients have gets the mark, and nothing else changes."""
    body = f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="file"; {told}\r\n\r\nx\r\n--{BOUNDARY}--'.encode()
    made = form_of(Pieces(body, [3], announced=True), KIND, frozenset())
    await made.hold(lambda scan: any(part.filenames for part in scan.parts), 1 << 20)
    for at in made.first_file():
        made.put(at, at, b"X-")
    sending = made.sending("")
    got = b"".join([piece async for piece in sending.pieces])
    assert got == body.replace(told.encode(), marked.encode())
    assert sending.length == len(got)


async def test_a_large_form_is_held_no_further_than_it_must_be_read() -> None:
    """With the model first, no more than its own pieces; a small one is held whole, so that it can be sent twice."""
    large = form([("model", None, b"ours"), ("file", "f", b"x" * (4 * KEEP))])
    pieces = Pieces(large, [4096], announced=True)
    made = form_of(pieces, KIND, frozenset({"model"}))
    await made.hold(lambda scan: scan.field("model") is not None, 10 * KEEP)
    assert pieces.given == 4096
    assert not made.repeatable
    small = form_of(Pieces(form([("model", None, b"ours")]), [64], announced=True), KIND, frozenset({"model"}))
    await small.hold(lambda scan: scan.field("model") is not None, 10 * KEEP)
    assert small.repeatable
    twice = [b"".join([piece async for piece in small.sending("m").pieces]) for _ in range(2)]
    assert twice[0] == twice[1]


# --- ids

IDS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=80)
ONE, TWO = Principal(key_id="one", tenant="t"), Principal(key_id="two", tenant="t")
OTHER = Principal(key_id="three", tenant="u")


@settings(deadline=None)
@given(IDS, st.sampled_from(["a", "b"]))
def test_an_id_comes_back_to_its_owner_alone(raw: str, provider: str) -> None:
    """It opens to what it was made of, for whom it was made, in every process with the secret; and hides it."""
    seals, replica = (Seals(b"s" * 32, ["a", "b"]) for _ in range(2))
    sealed = seals.seal(raw, provider, ONE)
    assert replica.open(sealed, ONE) == (provider, raw)
    assert sealed.isascii()
    assert not set(sealed) - set("abcdefghijklmnopqrstuvwxyz0123456789-_")
    assert len(raw) < 8 or raw not in sealed
    for seal, asker in ((seals, TWO), (Seals(b"x" * 32, ["a", "b"]), ONE), (Seals(b"s" * 32, ["c"]), ONE)):
        with pytest.raises(NotFound):
            seal.open(sealed, asker)
    with pytest.raises(NotFound):
        seals.open(seals.seal(raw, provider, ONE, "cursor"), ONE)


@settings(deadline=None)
@given(IDS)
def test_a_tenant_shares_and_others_do_not(raw: str) -> None:
    """By tenant, every key of it opens the id."""
    seals = Seals(b"s" * 32, ["a"], "tenant")
    sealed = seals.seal(raw, "a", ONE)
    assert seals.open(sealed, TWO) == ("a", raw)
    assert seals.mark(ONE) == seals.mark(TWO) != seals.mark(OTHER)
    with pytest.raises(NotFound):
        seals.open(sealed, OTHER)


@settings(deadline=None)
@given(st.text(max_size=200), st.integers(0, 100), st.sampled_from("abc27"))
def test_what_was_not_handed_out_is_not_found(made_up: str, at: int, letter: str) -> None:
    """No text and no change of a good id opens anything, and none makes it crash."""
    seals = Seals(b"s" * 32, ["a"])
    good = seals.seal("file-abc", "a", ONE)
    changed = good[: at % len(good)] + letter + good[at % len(good) + 1 :]
    for given_id in (made_up, changed, good + "a", good[:-1]):
        if given_id == good:
            continue
        with contextlib.suppress(NotFound):
            opened = seals.open(given_id, ONE)
            assert opened == ("a", "file-abc"), given_id  # only the unsigned beginning was changed
