from __future__ import annotations

import pytest

from cache.key import Keyer, Scope, exact_id, owner_of
from gateway.core.plan import ModelPlan, Plan, Target
from gateway.core.request import Request
from gateway.core.reveal import REVEAL
from tests.fixtures.cache_world import PLAN, SECRET, chat, exchange

KEYER = Keyer(SECRET, "user")


def test_the_same_request_has_the_same_key() -> None:
    """A key depends on the request alone: not on time, exchange or process."""
    assert KEYER.exact(exchange("hi there")) == Keyer(SECRET, "user").exact(exchange("hi there"))


@pytest.mark.parametrize(
    "field",
    ["stream", "stream_options", "user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key"],
)
def test_delivery_is_not_part_of_the_question(field: str) -> None:
    """Fields that say how an answer is delivered, billed or kept do not change the key."""
    body = chat("hi there", **{field: True if field in ("stream", "store") else {"a": 1}})
    assert KEYER.exact(exchange(body)) == KEYER.exact(exchange("hi there"))


def test_an_unknown_parameter_is_part_of_the_key() -> None:
    """A parameter nobody here has heard of can cause a miss and never a wrong hit."""
    assert KEYER.exact(exchange(chat("hi", brand_new={"x": 1}))) != KEYER.exact(exchange(chat("hi")))


@pytest.mark.parametrize(
    "other",
    [
        {"route": "support"},
        {"revision": "r2"},
        {"tenant": "globex"},
        {"key": "key-2"},
        {"user": "bob"},
        {"headers": {"openai-beta": "v2"}},
        {"plan": Plan(models=(ModelPlan(alias="smart", targets=PLAN.models[0].targets),))},
        {"plan": Plan(models=(ModelPlan(alias="fast", targets=(Target(provider="gpu", model="small-2"),)),))},
    ],
    ids=str,
)
def test_who_where_and_what_serves_are_part_of_the_key(other: dict[str, object]) -> None:
    """Changing the asker, the route, its revision, the plan or a header that changes meaning is a miss."""
    assert KEYER.exact(exchange("hi")) != KEYER.exact(exchange("hi", **other))  # type: ignore[arg-type]


def test_a_fallbacks_targets_are_not_part_of_the_key() -> None:
    """Only the chosen alias counts; a change of what would be tried after it does not empty the cache."""
    more = Plan(models=(*PLAN.models, ModelPlan(alias="smart", targets=())))
    assert KEYER.exact(exchange("hi")) == KEYER.exact(exchange("hi", plan=more))


@pytest.mark.parametrize(
    ("scope", "same", "other"),
    [
        ("user", {}, {"user": "bob"}),
        ("user", {}, {"key": "key-2"}),
        ("key", {"user": "bob"}, {"key": "key-2"}),
        ("tenant", {"user": "bob", "key": "key-2"}, {"tenant": "globex"}),
        ("route", {"user": "bob", "key": "key-2", "tenant": "globex"}, {"route": "support"}),
    ],
)
def test_a_scope_shares_within_itself_only(scope: Scope, same: dict[str, str], other: dict[str, str]) -> None:
    """Each scope shares with all of its own and nobody else."""
    keyer = Keyer(SECRET, scope)
    mine = keyer.exact(exchange("hi"))
    assert mine == keyer.exact(exchange("hi", **same))  # type: ignore[arg-type]
    assert mine != keyer.exact(exchange("hi", **other))  # type: ignore[arg-type]


def test_scopes_never_meet() -> None:
    """The same names at another scope are another partition."""
    keys = {Keyer(SECRET, scope).exact(exchange("hi")) for scope in ("user", "key", "tenant", "route")}
    assert len(keys) == 4


def test_nobody_known_means_no_key() -> None:
    """Without a principal nothing is read or stored, at any scope; `anonymous` is one principal."""
    nobody = exchange("hi", key="", user="")
    for scope in ("user", "key", "tenant", "route"):
        assert owner_of(nobody, scope) is None  # type: ignore[arg-type]
        assert Keyer(SECRET, scope).exact(nobody) is None  # type: ignore[arg-type]
    assert KEYER.exact(exchange("hi", key="anonymous", user="")) is not None


def test_a_body_that_has_no_spelling_has_no_key() -> None:
    """What canonical JSON cannot say is not cached, and does not fail."""
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    assert KEYER.exact(exchange(chat("hi", note="\ud800"))) is None
    assert KEYER.exact(exchange(chat("hi", note=deep))) is None


def test_the_secret_keys_the_key() -> None:
    """Without the secret no key can be made from a prompt, and a short secret is refused."""
    assert KEYER.exact(exchange("hi")) != Keyer(b"x" * 32, "user").exact(exchange("hi"))
    with pytest.raises(ValueError, match="16 bytes"):
        Keyer(b"short", "user")


def test_a_partition_is_all_but_the_question() -> None:
    """Two questions share a partition, and a change of anything else does not; the text is put back."""
    first, second, third = exchange("one"), exchange("two"), exchange(chat("two", temperature=0.5))
    parts = [KEYER.partition(ex, ex.asked().slots[0], "enc") for ex in (first, second, third)]
    assert parts[0] == parts[1] != parts[2]
    assert second.asked().slots[0].text == "two"
    assert parts[1] != KEYER.partition(second, second.asked().slots[0], "other encoder")


class Shown:
    """What one exchange has masked, and may show to some targets."""

    def __init__(self, **originals: str) -> None:
        self._originals = originals

    def request(self, masked: Request) -> Request:
        return masked

    def originals(self) -> dict[str, str]:
        return self._originals


def test_originals_that_a_target_may_see_are_part_of_the_key() -> None:
    """The same masked request with other originals is another question to whoever sees them."""

    def keys(**originals: str) -> tuple[str | None, str | None]:
        made = exchange("I am [[NAME_1]]")
        if originals:
            made.facts.put(REVEAL, Shown(**originals))
        return KEYER.exact(made), KEYER.partition(made, made.asked().slots[0], "enc")

    told = [keys(), keys(name="Ann"), keys(name="Bob")]
    assert len({key for pair in told for key in pair}) == 6
    assert keys(name="Ann") == told[1]
    assert not any("Ann" in str(key) for pair in told for key in pair)


def test_an_entrys_id_is_short_and_of_its_kind() -> None:
    """The public id tells nothing but its kind."""
    key = KEYER.exact(exchange("hi"))
    assert key is not None
    assert len(exact_id(key)) == 34
    assert exact_id(key).startswith("e-")
    assert KEYER.entry_id("p", "text") != KEYER.entry_id("q", "text")
