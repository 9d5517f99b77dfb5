"""The queue in front of the collector: bounded in bytes, and in time when it closes."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import pytest

from gateway.telemetry.outbox import Outbox, Sent

LONG = 10.0


class Far:
    """The other side. Answers as told; `calls` are the batches it was given."""

    def __init__(self, *answers: Sent) -> None:
        self.answers = list(answers)
        self.calls: list[list[bytes]] = []
        self.called = threading.Semaphore(0)
        self.hold: threading.Event | None = None

    def __call__(self, batch: Sequence[bytes]) -> Sent:
        self.calls.append(list(batch))
        self.called.release()
        if self.hold is not None:
            self.hold.wait(LONG)
        return self.answers.pop(0) if self.answers else "ok"

    def wait(self, count: int = 1) -> None:
        for _ in range(count):
            assert self.called.acquire(timeout=LONG)

    @property
    def got(self) -> list[bytes]:
        return [item for batch in self.calls for item in batch]


def outbox(far: Far, **changes: float) -> Outbox:
    return Outbox(far, **{"every": 0.005, "first_rest": 0.005, **changes})  # type: ignore[arg-type]


def test_items_go_in_order_and_once() -> None:
    """What was put first is sent first, in batches no larger than the bound, and nothing twice."""
    far = Far()
    box = outbox(far, batch=10)
    items = [b"%d" % at for at in range(95)]
    for item in items:
        box.put(item)
    box.close(LONG)
    assert far.got == items
    assert max(map(len, far.calls)) <= 10
    assert (box.dropped, len(box)) == (0, 0)


def test_a_full_batch_does_not_wait_for_its_time() -> None:
    """With a batch there, it is sent at once, whatever the period."""
    far = Far()
    box = outbox(far, every=LONG, batch=3)
    for _ in range(3):
        box.put(b"x")
    far.wait()
    box.close(LONG)
    assert far.calls[0] == [b"x"] * 3


def test_nothing_runs_before_there_is_something_to_send() -> None:
    """A gateway that is only checked, or traces nothing, has no thread; closing it takes no time."""
    before = threading.active_count()
    box = outbox(Far())
    assert threading.active_count() == before
    box.close(LONG)


def test_the_queue_is_bounded_in_bytes() -> None:
    """While the other side hangs, no more is kept than the bound; the rest is counted as dropped."""
    far = Far()
    far.hold = threading.Event()
    box = outbox(far, most_bytes=1000, batch=1)
    box.put(b"first")
    far.wait()
    for _ in range(50):
        box.put(b"x" * 100)
    assert (len(box), box.dropped) == (10, 40)
    far.hold.set()
    box.close(LONG)
    assert len(far.got) == 11


def test_an_outage_loses_nothing_that_has_room() -> None:
    """What could not be sent is kept, oldest first, and sent when the other side is back."""
    far = Far("later", "later", "later", "ok")
    box = outbox(far, batch=2)
    for item in (b"1", b"2", b"3"):
        box.put(item)
    far.wait(5)
    box.close(LONG)
    assert far.calls[3:] == [[b"1", b"2"], [b"3"]]
    assert box.dropped == 0


def test_what_is_refused_for_good_is_dropped_and_counted() -> None:
    """A batch that the other side will never take does not stand in the way of the next."""
    far = Far("never", "ok")
    box = outbox(far, every=LONG, batch=2)
    for item in (b"1", b"2", b"3", b"4"):
        box.put(item)
    box.close(LONG)
    assert (far.got, box.dropped) == ([b"1", b"2", b"3", b"4"], 2)


def test_a_bug_in_the_sender_does_not_end_the_sending() -> None:
    """An exception costs its batch, which is counted; the next one goes."""
    sent = []

    def send(batch: Sequence[bytes]) -> Sent:
        sent.append(list(batch))
        if len(sent) == 1:
            raise RuntimeError("bug")
        return "ok"

    box = Outbox(send, every=LONG, batch=1)
    box.put(b"1")
    box.put(b"2")
    box.close(LONG)
    assert (sent, box.dropped) == ([[b"1"], [b"2"]], 1)


def test_state_is_told_once_each_way() -> None:
    """However many calls fail, one word when it goes and one when it is back."""
    told: list[bool] = []
    far = Far("later", "later", "later", "ok", "ok")
    box = Outbox(far, every=0.005, first_rest=0.005, state=told.append)
    box.put(b"1")
    far.wait(4)
    box.put(b"2")
    box.close(LONG)
    assert told == [False, True]
    assert not box.resting


def test_closing_takes_no_longer_than_told_while_a_call_hangs() -> None:
    """A hanging call is left behind; what waited behind it, and what it gives back, is counted as dropped."""
    far = Far("later")
    far.hold = threading.Event()
    box = outbox(far, batch=1)
    box.put(b"1")
    far.wait()
    box.put(b"2")
    started = time.monotonic()
    box.close(0.05)
    assert time.monotonic() - started < 2
    assert (box.dropped, len(box)) == (1, 0)
    far.hold.set()
    assert box._thread is not None
    box._thread.join(LONG)
    assert (box.dropped, len(box), len(far.calls)) == (2, 0, 1)


def test_closing_does_not_ask_who_was_out_of_reach() -> None:
    """A dead collector is known to be dead: the shutdown does not wait for it once more."""
    far = Far("later")
    gone = threading.Event()
    box = Outbox(far, every=0.005, first_rest=LONG, state=lambda _well: gone.set())
    box.put(b"1")
    assert gone.wait(LONG)
    box.close(LONG)
    assert (len(far.calls), box.dropped) == (1, 1)


@pytest.mark.parametrize("put_before", [0, 1])
def test_what_comes_after_closing_is_dropped_and_counted(put_before: int) -> None:
    """Nothing is queued for a thread that is gone."""
    far = Far()
    box = outbox(far)
    for _ in range(put_before):
        box.put(b"x")
    box.close(LONG)
    box.put(b"late")
    assert (len(box), box.dropped, len(far.got)) == (0, 1, put_before)
