"""Logs: one JSON line an exchange, nothing a user wrote, and nothing that a closed stream could break."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.core.clock import SystemClock
from gateway.core.exchange import Exchange, Trace
from gateway.telemetry import logs
from gateway.telemetry.redact import Pseudonyms
from tests.fixtures.receipts import receipt

SECRET = "DE89370400440532013000"


@pytest.fixture(autouse=True)
def _root_logger_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)


def lines(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def recorded(*receipts: Any, form: str = "json") -> io.StringIO:
    out = io.StringIO()
    line = logs.LogLine(logs.setup(form, out), Pseudonyms(b"k" * 32))

    async def record() -> None:
        for one in receipts:
            await line.record(one)

    asyncio.run(record())
    return out


def test_an_exchange_is_one_line_of_json() -> None:
    """Everything that is asked first at night, in one object."""
    made = receipt()
    (line,) = lines(recorded(made))
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "exchange",
        "level": "info",
        "id": made.id,
        "outcome": "ok",
        "status": 200,
        "ms": 120.0,
        "operation": "chat",
        "route": "default",
        "model": "fast",
        "cache": "miss",
        "trace": made.trace_id,
        "key": "team-a",
        "provider": "up",
        "attempts": 2,
        "overhead_ms": 4.1,
        "tokens_in": 1200,
        "tokens_out": 80,
        "guardrails": ["private=mask:2", "attacks=allow"],
        "user": Pseudonyms(b"k" * 32).of("alice@example.com"),
        "stream": True,
        "intent": "billing",
        "cost_usd": 0.000153,
    }


def test_what_is_not_known_is_not_said() -> None:
    """A request that was refused at the door has no empty fields for what never happened."""
    (line,) = lines(
        recorded(receipt(outcome="client_error", status=401, error="unauthenticated", route="", model="", served_model="", answer="", intent="", verdicts=(), attempts=(), usage=None, cost_usd=None, overhead=None, stream=False, user="", key_id="anonymous"))
    )  # fmt: skip
    assert set(line) == {"event", "level", "timestamp", "id", "outcome", "status", "ms", "operation", "route", "model", "cache", "trace", "key", "error"}  # fmt: skip


def test_a_name_with_a_line_break_stays_one_line() -> None:
    """JSON escapes what would break a line; a user's name is hashed anyway."""
    assert len(recorded(receipt(key_id="a\nb"), receipt(user="x\r\ny")).getvalue().splitlines()) == 2


@pytest.mark.parametrize("form", ["text", "off"])
def test_other_forms(form: str) -> None:
    """`text` is for eyes, `off` says nothing of exchanges."""
    said = recorded(receipt(), form=form).getvalue()
    assert ("exchange" in said) == (form == "text")


@pytest.mark.parametrize("error", [OSError, ValueError, BrokenPipeError])
def test_a_stream_that_is_gone_breaks_nothing(error: type[Exception]) -> None:
    """A closed or full standard error costs the line; the recorder, and what it runs in, go on."""

    class Gone(io.StringIO):
        def write(self, _text: str) -> int:
            raise error

    line = logs.LogLine(logs.setup("json", Gone()), Pseudonyms(b"k" * 32))
    asyncio.run(line.record(receipt()))


def test_bytes_go_to_the_streams_buffer(tmp_path: Any) -> None:
    """On a real file lines are whole when the call returns."""
    with (tmp_path / "log").open("w") as out:
        logs.setup("json", out).info("listening", address="x")
        assert json.loads((tmp_path / "log").read_text())["address"] == "x"


# --- bugs


def fail() -> None:
    raise ValueError(f"cannot read {SECRET}")


def crashed(error: BaseException) -> dict[str, Any]:
    async def none() -> bytes:
        return b""

    exchange = Exchange(
        id="tg-1", dialect="openai", operation="chat", headers={}, credential=None, read_body=none, clock=SystemClock(), trace=Trace("0" * 32, "0" * 16), timeout=1.0
    )  # fmt: skip
    out = io.StringIO()
    logs.crash(logs.setup("json", out), exchange, error)
    (line,) = lines(out)
    return line


def test_a_crash_says_where_and_not_what() -> None:
    """Kind and place; no message, no source line, no value."""
    try:
        fail()
    except ValueError as error:
        line = crashed(error)
    assert (line["event"], line["level"], line["id"], line["kind"]) == ("crash", "error", "tg-1", "ValueError")
    assert line["at"][-1].startswith("tests/unit/test_telemetry_logs.py:")
    assert line["at"][-1].endswith(" fail")
    assert SECRET not in json.dumps(line)


def test_a_deep_crash_names_its_innermost_frames() -> None:
    """A bounded number of frames, the innermost last."""

    def down(left: int) -> None:
        if not left:
            raise RuntimeError
        down(left - 1)

    try:
        down(50)
    except RuntimeError as error:
        line = crashed(error)
    assert len(line["at"]) == 8
    assert all(frame.endswith("down") for frame in line["at"])


# --- libraries


def library(template: Any, *args: Any, **changes: Any) -> dict[str, Any]:
    out = io.StringIO()
    logs.setup("json", out)
    logging.getLogger("some.library").error(template, *args, **changes)
    (line,) = lines(out)
    assert (line["event"], line["source"]) == ("library", "some.library")
    return line


def test_a_librarys_texts_are_not_logged() -> None:
    """Presidio logs the account number that it could not check, in these words; we log that it could not."""
    line = library("Failed to validate text %s", SECRET)
    assert line["said"] == "Failed to validate text <str>"


def test_a_librarys_numbers_are_logged() -> None:
    """Statuses and seconds are what one looks for."""
    assert library("code %s after %.1f s, retry %d", 503, 1.25, 3)["said"] == "code 503 after 1.2 s, retry 3"


@pytest.mark.parametrize(
    ("template", "args", "said"),
    [("%(a)s of %(b)d", ({"a": SECRET, "b": 2},), "<str> of 2"), ("%d left", (SECRET,), "%d left"), ("50% of %s", (SECRET,), "50% of %s"), (ValueError(SECRET), (), "<ValueError>")],
)  # fmt: skip
def test_odd_messages_are_kept_safe(template: Any, args: tuple[Any, ...], said: str) -> None:
    """Named fields are filled in; what does not fit its template stays out."""
    assert library(template, *args)["said"] == said


def test_a_librarys_exception_is_its_kind_and_place() -> None:
    """The message of an exception may quote anything."""
    try:
        fail()
    except ValueError:
        line = library("it broke", exc_info=True)
    assert (line["said"], line["kind"]) == ("it broke", "ValueError")
    assert SECRET not in json.dumps(line)


def test_a_lost_exception_of_asyncio_is_its_first_line() -> None:
    """asyncio logs the repr of the task with its exception on the second line."""
    out = io.StringIO()
    logs.setup("json", out)

    async def lose() -> None:
        async def fail() -> None:
            raise ValueError(SECRET)

        task = asyncio.create_task(fail())
        await asyncio.wait([task])
        asyncio.get_running_loop().call_exception_handler(
            {"message": "Task exception was never retrieved", "exception": task.exception(), "task": task}
        )

    asyncio.run(lose())
    (line,) = lines(out)
    assert (line["said"], line["kind"]) == ("Task exception was never retrieved", "ValueError")
    assert SECRET not in out.getvalue()


def test_a_failed_start_is_told_in_full() -> None:
    """uvicorn's message is the traceback: nobody's text is in it before the first request, and the reason is needed."""
    out = io.StringIO()
    logs.setup("json", out)
    record = logging.LogRecord(
        "uvicorn.error", logging.ERROR, "uvicorn/lifespan/on.py", 121, "Traceback\nOSError: no disk", (), None
    )
    logging.getLogger("uvicorn.error").handle(record)
    assert lines(out)[0]["said"] == "Traceback\nOSError: no disk"


def test_warnings_are_the_least_that_libraries_say() -> None:
    """Their debug and info lines, which hold URLs and bodies, come out nowhere."""
    out = io.StringIO()
    logs.setup("json", out)
    logging.getLogger("httpx").info("HTTP Request: %s", SECRET)
    logging.getLogger("urllib3").debug(SECRET)
    assert out.getvalue() == ""


class Pipe(io.RawIOBase):
    """What reached the other end, a write at a time; or an end that is closed."""

    def __init__(self, *, broken: bool = False) -> None:
        self.writes: list[bytes] = []
        self.broken = broken

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        if self.broken:
            raise BrokenPipeError
        self.writes.append(bytes(data))
        return len(data)

    def logger(self) -> Any:
        return logs.setup("json", io.TextIOWrapper(io.BufferedWriter(self)))


def test_lines_of_one_turn_leave_together_and_with_it() -> None:
    """A batch of exchanges costs one write, and no line waits for the next batch."""
    pipe = Pipe()
    logger = pipe.logger()

    async def turn() -> None:
        for number in range(3):
            logger.info("one", number=number)
        assert pipe.writes == []
        await asyncio.sleep(0)
        assert len(pipe.writes) == 1
        logger.info("last words")

    asyncio.run(turn())
    assert [len(write.splitlines()) for write in pipe.writes] == [3, 1], "a loop that ends takes nothing with it"
    logger.info("no loop")
    assert len(pipe.writes) == 3, "told outside of a loop, a line leaves at once"
    asyncio.run(turn_of(logger))
    assert len(pipe.writes) == 4, "the next loop flushes as the first did"


async def turn_of(logger: Any) -> None:
    logger.info("again")


def test_an_end_that_closed_costs_the_lines_and_nothing_else() -> None:
    pipe = Pipe(broken=True)
    logger = pipe.logger()
    asyncio.run(turn_of(logger))
    logger.info("still here")
    pipe.broken = False
    logger.info("and heard again")
    assert b"and heard again" in b"".join(pipe.writes)
