"""The rules of the response side: order, the end, what stops it, and when bytes may be relayed as they came."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.events import Blocked, ChoiceFinished, Event, Failed, Finished, Frame, Text, Usage
from gateway.pipeline.stream import Stream
from tests.fixtures.spine_world import Passing

END = Finished()
BLOCK = Blocked("check", "category", "no")
FAIL = Failed(RuntimeError("broken"))


class Logged(Passing):
    """Notes what it is told, in a list shared by all sessions of a test."""

    def __init__(self, name: str, log: list[str], **how: Callable[..., Sequence[Event]]) -> None:
        super().__init__(**how)  # type: ignore[arg-type]
        self.name, self.log = name, log

    def push(self, event: Event) -> Sequence[Event]:
        self.log.append(f"{self.name}:{getattr(event, 'text', type(event).__name__)}")
        return super().push(event)

    def finish(self) -> Sequence[Event]:
        self.log.append(f"{self.name}:finish")
        return super().finish()


def texts(frame: Frame) -> list[str]:
    return [event.text if isinstance(event, Text) else type(event).__name__ for event in frame.events]


async def test_a_frame_nobody_changed_is_the_same_object() -> None:
    """So that its bytes can be relayed."""
    stream = Stream([Passing(), Passing()])
    frame = Frame((Text("a"), Text("b")), b"raw", "openai")
    assert await stream.push(frame) is frame
    assert await Stream([]).push(frame) is frame


async def test_an_end_nobody_changed_is_the_same_object() -> None:
    """The last frame too, if the end is its last event."""
    frame = Frame((ChoiceFinished("stop"), END), b"raw", "openai")
    stream = Stream([Passing()])
    assert await stream.push(frame) is frame
    assert stream.finished


@pytest.mark.parametrize(
    "change",
    [
        lambda event: (Text("other"),),
        lambda event: (),
        lambda event: (event, event),
        lambda event: (Text(event.text),),  # equal is not the same: who made a new one may have looked inside
    ],
)
async def test_a_frame_somebody_changed_loses_its_bytes(change: Callable[[Event], Sequence[Event]]) -> None:
    """Whatever was changed, the old bytes must not go out."""
    out = await Stream([Passing(change)]).push(Frame((Text("a"),), b"raw", "openai"))
    assert (out.raw, out.dialect) == (None, "openai")


async def test_sessions_see_events_in_order_one_after_the_other() -> None:
    """What the first gives is what the second sees."""
    log: list[str] = []
    first = Logged("1", log, push=lambda e: (Text(e.text + "!"),) if isinstance(e, Text) else (e,))
    stream = Stream([first, Logged("2", log)])
    out = await stream.push(Frame((Text("a"), Text("b"))))
    assert texts(out) == ["a!", "b!"]
    assert log == ["1:a", "1:b", "2:a!", "2:b!"]


async def test_the_end_empties_the_sessions_one_by_one_and_goes_last() -> None:
    """What an earlier session still held passes through the later ones before they are told of the end."""
    log: list[str] = []
    stream = Stream([Logged("1", log, finish=lambda: (Text("held"),)), Logged("2", log, finish=lambda: (Text("too"),))])
    out = await stream.push(Frame((Text("a"), Usage(1, 2), END)))
    assert texts(out) == ["a", "Usage", "held", "too", "Finished"]
    assert log == [
        "1:a", "1:Usage", "2:a", "2:Usage",
        "1:Finished", "1:finish", "2:held", "2:Finished", "2:finish",
    ]  # fmt: skip
    assert stream.finished


async def test_events_behind_the_end_in_its_frame_go_before_it() -> None:
    """Some servers send usage after their end mark; the end is still last for the client."""
    out = await Stream([Passing()]).push(Frame((END, Usage(1, 2)), b"raw"))
    assert texts(out) == ["Usage", "Finished"]
    assert out.raw is None


@pytest.mark.parametrize("stop", [BLOCK, FAIL], ids=["blocked", "failed"])
async def test_nothing_goes_on_after_a_stop(stop: Event) -> None:
    """What came before it does; what comes after, and what sessions hold, does not; nobody is asked to finish."""
    log: list[str] = []
    keeps = Logged("1", log, finish=lambda: (Text("held"),))
    stream = Stream([keeps, Passing(lambda e: (Text("before"), stop, Text("after")) if texts_of(e) == "b" else (e,))])
    out = await stream.push(Frame((Text("a"), Text("b"), Text("c"), END)))
    assert texts(out) == ["a", "before", type(stop).__name__]
    assert stream.ended is stop
    assert not stream.finished
    assert "1:finish" not in log
    assert (await stream.push(Frame((Text("d"), END)))).events == ()


def texts_of(event: Event) -> str:
    return getattr(event, "text", "")


@pytest.mark.parametrize("where", ["push", "finish", "settle"])
async def test_a_session_may_stop_at_the_very_end(where: str) -> None:
    """A check that needs the whole answer can still block it; the end mark does not go out."""
    if where == "push":
        session = Passing(lambda e: (BLOCK,) if e == END else (e,))
    elif where == "finish":
        session = Passing(finish=lambda: (BLOCK,))
    else:
        session = Passing(settle=lambda: (BLOCK,))
    log: list[str] = []
    stream = Stream([session, Logged("2", log)])
    out = await stream.push(Frame((END,), b"raw"))
    assert out.events[-1] is BLOCK
    assert stream.ended is BLOCK
    assert not stream.finished
    assert "2:finish" not in log


async def test_a_waiting_session_is_awaited_before_the_next_event() -> None:
    """Its answer comes where it belongs, not behind what came later."""
    session = Passing(lambda e: (), settle=lambda: (Text("checked"),))
    out = await Stream([session]).push(Frame((Text("a"), Text("b"))))
    assert texts(out) == ["checked", "checked"]


@given(st.lists(st.lists(st.text(max_size=3), max_size=4), max_size=8), st.lists(st.integers(0, 5), max_size=4))
async def test_holding_back_loses_nothing_and_keeps_the_order(frames: list[list[str]], keeps: list[int]) -> None:
    """Any number of sessions, each holding back as many events as it likes: all come out, in order, and then the end."""

    def holding(keep: int) -> Passing:
        held: list[Event] = []

        def push(event: Event) -> list[Event]:
            held.append(event)
            out, held[:] = held[: max(0, len(held) - keep)], held[max(0, len(held) - keep) :]
            return out

        return Passing(push, lambda: [event for event in held if event != END])

    stream = Stream([holding(keep) for keep in keeps])
    out: list[str] = []
    for frame in frames:
        out += texts(await stream.push(Frame(tuple(Text(text) for text in frame))))
    out += texts(await stream.push(Frame((END,))))
    assert out == [text for frame in frames for text in frame] + ["Finished"]
