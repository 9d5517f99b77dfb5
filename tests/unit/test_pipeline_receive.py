"""Decoding a body: one object or one clear refusal, whatever the bytes are."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import BadRequest
from gateway.pipeline.receive import MOST_DEPTH, decode

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=5),
    max_leaves=30,
)  # fmt: skip


@given(st.dictionaries(st.text(max_size=5), JSON, max_size=5))
def test_any_object_is_decoded_as_it_is(body: dict[str, Any]) -> None:
    """Every value and every key, in order."""
    got = decode(json.dumps(body, ensure_ascii=False).encode())
    assert got == body
    assert list(got) == list(body)


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_an_object_or_a_bad_request(data: bytes) -> None:
    """Never another exception, and never the client's own bytes in the message."""
    refused: BadRequest | None = None
    try:
        assert type(decode(data)) is dict
    except BadRequest as error:
        refused = error
    assert refused is None or (refused.code in ("invalid_json", None) and refused.message.endswith("."))


@given(st.integers(1, 400), st.sampled_from(["[]", "{}", "mixed"]), st.integers(0, 300))
def test_depth_is_exactly_bounded(depth: int, kind: str, beside: int) -> None:
    """The body is the first level. Brackets beside each other, or in strings, are no depth."""
    opens = {"[]": ["["], "{}": ['{"a":'], "mixed": ["[", '{"a":']}[kind]
    closes = {"[": "]", '{"a":': "}"}
    way = [opens[at % len(opens)] for at in range(depth - 1)]
    inner = "".join(way) + "1" + "".join(closes[step] for step in reversed(way))
    data = '{"x": "' + "[{" * beside + '", "y": [' + ",".join(["[]"] * beside) + '], "z": ' + inner + "}"
    deep = max(depth, 3 if beside else 2)
    if deep <= MOST_DEPTH:
        assert type(decode(data.encode())) is dict
    else:
        with pytest.raises(BadRequest, match=f"more than {MOST_DEPTH} levels"):
            decode(data.encode())


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"[1]", "must be a JSON object"),
        (b'{"a": 1e999}', "out of range"),
        (b'{"a": ' + b"9" * 5000 + b"}", "out of range"),
        (b'{"a": "\xff"}', "not valid UTF-8"),
        (b'{"a": ', "not valid JSON"),
        (b'{"secret-text": nope}', "not valid JSON"),
    ],
)
def test_the_refusal_says_what_is_wrong(data: bytes, says: str) -> None:
    """In words that hold nothing of the body."""
    with pytest.raises(BadRequest) as caught:
        decode(data)
    assert says in caught.value.message
    assert "secret-text" not in caught.value.message
