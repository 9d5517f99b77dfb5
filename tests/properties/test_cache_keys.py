from __future__ import annotations

import random
from typing import Any

from hypothesis import assume, given, reject, settings
from hypothesis import strategies as st

from cache.key import _IGNORED, Keyer
from gateway.core.errors import BadRequest
from tests.fixtures.cache_world import SECRET, chat, exchange

KEYER = Keyer(SECRET, "user")

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | NAMES
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=8
)
FIELD = NAMES.filter(lambda name: name not in _IGNORED and name not in ("messages", "model"))
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def shuffled(value: Any, order: random.Random) -> Any:
    """The same value with the fields of every object in another order."""
    if isinstance(value, dict):
        names = list(value)
        order.shuffle(names)
        return {name: shuffled(value[name], order) for name in names}
    return [shuffled(item, order) for item in value] if isinstance(value, list) else value


def spelled(value: Any) -> Any:
    """JSON tells 1 from true and from 1.0, which Python's equality does not."""
    if isinstance(value, dict):
        return ("object", {name: spelled(inner) for name, inner in value.items()})
    if isinstance(value, list):
        return ("list", [spelled(inner) for inner in value])
    return (type(value).__name__, repr(value))


@settings(deadline=None)
@given(st.dictionaries(FIELD, VALUES, max_size=4), TEXT, st.randoms(use_true_random=False))
def test_field_order_never_matters(fields: dict[str, Any], text: str, order: random.Random) -> None:
    """Two bodies that differ in the order of fields only, at any depth, have one key."""
    body = {**chat(text), **fields}
    try:
        exchange(body)
    except BadRequest:
        reject()
    assert KEYER.exact(exchange(body)) == KEYER.exact(exchange(shuffled(body, order)))


@settings(deadline=None)
@given(st.dictionaries(FIELD, VALUES, max_size=3), FIELD, VALUES, VALUES)
def test_every_field_matters(fields: dict[str, Any], name: str, one: Any, other: Any) -> None:
    """Change the value of any field that can change the answer, or leave it out, and it is a miss."""
    assume(spelled(one) != spelled(other))
    without = {known: value for known, value in fields.items() if known != name}
    try:
        made = [exchange({**chat("q"), **body}) for body in (without, {**without, name: one}, {**without, name: other})]
    except BadRequest:
        reject()  # a field whose type the dialect checks
    keys = {KEYER.exact(one) for one in made}
    assert len(keys) == 3
    assert None not in keys


@settings(deadline=None)
@given(st.sampled_from(sorted(_IGNORED)), VALUES)
def test_no_ignored_field_matters(name: str, value: Any) -> None:
    """Whatever stands in a field that cannot change the answer, the key is the same."""
    body = chat("q")
    body[name] = value if name != "stream" else True
    if name == "stream_options":
        body[name] = {}
    assert KEYER.exact(exchange(body)) == KEYER.exact(exchange("q"))


@settings(deadline=None)
@given(TEXT, TEXT)
def test_every_character_matters(one: str, other: str) -> None:
    """Two questions have one exact key only if they are the same text; their partition is one all the same."""
    a, b = exchange(one), exchange(other)
    assert (KEYER.exact(a) == KEYER.exact(b)) == (one == other)
    assert KEYER.partition(a, a.asked().slots[0], "e") == KEYER.partition(b, b.asked().slots[0], "e")
    assert (a.asked().slots[0].text, b.asked().slots[0].text) == (one, other)


@settings(deadline=None, max_examples=200)
@given(st.tuples(NAMES, NAMES, NAMES), st.tuples(NAMES, NAMES, NAMES))
def test_two_users_never_share(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    """At scope `user` two askers share a key only if tenant, key and user are all the same, however they are spelled."""
    keys = [KEYER.exact(exchange("q", tenant=tenant, key=key, user=user)) for tenant, key, user in (one, other)]
    if one == other:
        assert keys[0] == keys[1]
    elif keys[0] is not None:
        assert keys[0] != keys[1]
