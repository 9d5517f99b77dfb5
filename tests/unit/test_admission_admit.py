"""What is charged, what is remembered of a caller, and what a key file may hold."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.admission.admit import Admit, ChargeTokens, Permit
from gateway.admission.config import KeyEntry, KeyFile
from gateway.admission.keyring import Keyring, OpenAccess, hash_of, new_key, read_key_file, write_key_file
from gateway.admission.limits import MemoryLimiter
from gateway.core.clock import ManualClock
from gateway.core.errors import GatewayFault, Unauthenticated, UnknownModel
from gateway.core.events import Usage
from gateway.core.exchange import Principal
from gateway.core.receipt import Attempt
from gateway.core.request import Request
from tests.fixtures.receipts import receipt
from tests.fixtures.spine_world import World


def attempt(usage: Usage | None, outcome: str = "ok") -> Attempt:
    return Attempt(provider="up", model="m", endpoint="", start=0, end=1, outcome=outcome, usage=usage)


async def charged(**changes: object) -> int:
    """What a receipt costs its one counter: the smallest limit under which there is room for nothing more."""
    limiter = MemoryLimiter(ManualClock())
    await ChargeTokens(limiter).record(receipt(charges=("k",), **changes))
    low, high = 0, 1 << 20
    while low < high:
        middle = (low + high) // 2
        fits = limiter.try_take("k", middle, 60.0, 0) is None
        low, high = (low, middle) if fits else (middle + 1, high)
    return low


async def test_all_that_was_used_upstream_is_charged() -> None:
    """Every attempt's tokens, also of one that failed, was blocked, or was left by its client: the models worked."""
    assert await charged(attempts=(attempt(Usage(10, 5)),), usage=Usage(10, 5)) == 15
    two = (attempt(Usage(10, 5), "blocked"), attempt(Usage(20, 7)))
    assert await charged(attempts=two, usage=Usage(20, 7)) == 42
    assert await charged(attempts=(attempt(Usage(10, 0), "cancelled"),), usage=None, outcome="client_gone") == 10
    assert await charged(attempts=(attempt(None, "upstream_failed"), attempt(Usage(1, 1))), usage=Usage(1, 1)) == 2


async def test_an_answer_from_a_cache_is_not_charged() -> None:
    """Its body tells the usage of when it was made."""
    assert await charged(attempts=(), usage=Usage(10, 5), answer="cached") == 0
    assert await charged(attempts=(), usage=None, answer="canned") == 0


async def test_receipts_that_come_together_are_charged_together() -> None:
    """However many wait for Redis, few calls are made, no token is lost, and all are charged when the last has been
    recorded."""
    charges: Counter[str] = Counter()
    calls = 0

    class Slow:
        degraded = False

        async def take(self, key: str, limit: int, window: float, amount: int = 1) -> float | None:
            nonlocal calls
            calls += 1
            await asyncio.sleep(0)
            charges[key] += amount
            return None

    charge = ChargeTokens(Slow())
    receipts = [receipt(charges=("all", f"key-{n % 3}"), attempts=(attempt(Usage(n, 1)),)) for n in range(300)]
    await asyncio.gather(*map(charge.record, receipts))
    assert charges["all"] == sum(n + 1 for n in range(300)) == sum(charges[f"key-{n}"] for n in range(3))
    assert calls < 40
    await charge.record(receipts[9])
    assert charges["key-0"] == sum(n + 1 for n in range(0, 300, 3)) + 10


class Known:
    """An authenticator that knows one principal."""

    def __init__(self, principal: Principal) -> None:
        self._principal = principal

    def authenticate(self, _credential: str | None) -> Principal:
        return self._principal


@given(st.text(max_size=300), st.text(max_size=300), st.text(max_size=2000))
async def test_what_a_caller_says_of_itself_is_bounded(user: str, session: str, tags: str) -> None:
    """In length and in number, and the credential is forgotten."""
    exchange = World([]).exchange(
        headers={"x-tidegate-user": user, "x-tidegate-session": session, "x-tidegate-tags": tags}
    )
    exchange.credential = "secret"
    await Admit(Known(Principal(key_id="k")), MemoryLimiter(ManualClock())).decide(exchange)
    assert exchange.credential is None
    assert exchange.user == (user[:128] or "k")
    assert len(exchange.session) <= 128
    assert len(exchange.tags) <= 16
    assert all(len(tag) <= 128 for tag in exchange.tags)


async def test_a_hint_names_only_what_the_key_may_see() -> None:
    """Names of models are not for everybody."""
    permit = Permit(frozenset({"secret-model", "open-model"}), {}, MemoryLimiter(ManualClock()))
    exchange = World([]).exchange()
    exchange.principal = Principal(key_id="k", models=frozenset({"open-model"}))
    for asked, hint in (("secret-mode", False), ("open-mode", True)):
        exchange.request = Request(
            dialect="openai", operation="chat", body={}, model=asked, stream=False, include_usage=False, slots=[]
        )
        with pytest.raises(UnknownModel) as caught:
            await permit.decide(exchange)
        assert "secret-model" not in caught.value.message
        assert ("open-model" in caught.value.message) == hint
        assert not exchange.permitted


# --- keys


def ring(path: Path, clock: ManualClock, *entries: KeyEntry) -> Keyring:
    write_key_file(path, KeyFile(keys=list(entries)))
    return Keyring(path, clock)


@given(st.text(max_size=80))
def test_only_the_key_itself_is_let_in(guess: str) -> None:
    """Any other text is refused, and never with another exception."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        key, id = new_key()
        keys = ring(Path(folder) / "keys.yaml", ManualClock(), KeyEntry(id=id, hash=hash_of(key)))
        assert keys.authenticate(key).key_id == id
        for other in (guess, key + guess, guess + key, f"tg_{id}_{guess}"):
            if other != key:
                with pytest.raises(Unauthenticated):
                    keys.authenticate(other)


def test_a_key_ends_at_its_expiry(tmp_path: Path) -> None:
    """To the second, in UTC unless it says otherwise, without reading the file again."""
    clock = ManualClock(wall=1_700_000_000 * 10**9)  # 2023-11-14T22:13:20Z
    key, id = new_key()
    for expires in ("2023-11-14T22:13:30", "2023-11-14T22:13:30+00:00", "2023-11-14T23:13:30+01:00"):
        keys = ring(tmp_path / "keys.yaml", clock, KeyEntry(id=id, hash=hash_of(key), expires=expires))
        clock.advance(9)
        keys.authenticate(key)
        clock.advance(1)
        with pytest.raises(Unauthenticated):
            keys.authenticate(key)
        clock._now = 0


def test_the_file_is_looked_at_every_two_seconds(tmp_path: Path) -> None:
    """Not with each request."""
    clock = ManualClock()
    key, id = new_key()
    keys = ring(tmp_path / "keys.yaml", clock, KeyEntry(id=id, hash=hash_of(key)))
    keys.authenticate(key)
    write_key_file(tmp_path / "keys.yaml", KeyFile())
    clock.advance(1.9)
    keys.authenticate(key)
    clock.advance(0.2)
    with pytest.raises(Unauthenticated):
        keys.authenticate(key)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("keys: {", "not valid YAML"),
        ("keys: [{hash: x}]", "id"),
        ("keys: [{id: a, hash: b, rmp: 5}]", "rmp"),
        ("keys: [{id: a, hash: b, rpm: many}]", "rpm"),
        ("keys: [{id: a, hash: b, expires: soon}]", "'soon' is not an ISO 8601 date"),
        ("[]", "Expected `object`"),
        ("{}", ""),
        ("", ""),
    ],
)
def test_a_key_file_says_what_is_wrong_with_it(tmp_path: Path, text: str, says: str) -> None:
    """At start, by the entry; an empty one is a file without keys."""
    path = tmp_path / "keys.yaml"
    path.write_text(text)
    if not says:
        assert read_key_file(path).keys == []
        return
    with pytest.raises(ValueError, match=r"keys\.yaml|key a") as caught:
        Keyring(path, ManualClock())
    assert says in str(caught.value)


def test_a_broken_file_is_reported_once_each_time_it_is_looked_at(tmp_path: Path) -> None:
    """By name and problem, while the old keys stay in force."""
    clock, said = ManualClock(), list[str]()
    key, id = new_key()
    path = tmp_path / "keys.yaml"
    write_key_file(path, KeyFile(keys=[KeyEntry(id=id, hash=hash_of(key))]))
    keys = Keyring(path, clock, failed=said.append)
    path.write_text("{ [")
    for _ in range(3):
        clock.advance(2)
        keys.authenticate(key)
        keys.authenticate(key)
    assert len(said) == 3
    assert all("keys.yaml" in line and "stay in force" in line for line in said)


def test_a_key_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that fails leaves the old file, and nothing beside it."""
    path = tmp_path / "keys.yaml"
    write_key_file(path, KeyFile(keys=[KeyEntry(id="a", hash="b")]))

    def full(_fd: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="no space"):
        write_key_file(path, KeyFile())
    assert [entry.id for entry in read_key_file(path).keys] == ["a"]
    assert [file.name for file in tmp_path.iterdir()] == ["keys.yaml"]


def test_keys_are_long_and_never_the_same() -> None:
    """256 random bits behind a random id."""
    keys = [new_key()[0] for _ in range(1000)]
    assert len(set(keys)) == 1000
    assert {len(key) for key in keys} == {59}


def test_everybody_on_loopback_is_the_one_anonymous_principal() -> None:
    """Whatever credential is sent."""
    assert OpenAccess().authenticate("x") is OpenAccess().authenticate(None)


def test_faults_never_hold_a_credential() -> None:
    """The message is fixed."""
    for credential in (None, "sk-secret"):
        with pytest.raises(GatewayFault) as caught:
            Keyring.authenticate(_empty(), credential)
        assert "sk-secret" not in repr(caught.value) + caught.value.message


def _empty() -> Keyring:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        return ring(Path(folder) / "keys.yaml", ManualClock())
