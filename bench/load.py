"""Load on one subject: a closed loop (C connections, each sends again when answered) or an open loop (steady rate).

Each prompt is new, so no exact cache can answer; each answer is compared with the text it must be. Latency is taken
from the moment a request is written to the moment its last byte is read. In the open loop a request never waits for
another one's answer (a new connection is opened when all are busy), and how late the generator itself was is kept in
`lag`, so that a slow generator cannot pass for a slow gateway unseen.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field

from bench.client import Connection, Reply
from bench.script import Prompts, contents

REQUEST_TIMEOUT = 30.0
_MAX_OPEN = 512
_MAX_FAILED = 1000


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where a subject takes chat requests, and with which headers."""

    port: int
    path: str = "/v1/chat/completions"
    headers: tuple[tuple[str, str], ...] = ()

    def request(self, body: bytes) -> bytes:
        lines = [f"POST {self.path} HTTP/1.1", f"host: 127.0.0.1:{self.port}", "content-type: application/json"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        return "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode() + body


@dataclass(slots=True)
class Load:
    """What one run of load saw. Times in seconds; `errors` maps a short reason to its count."""

    answered: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    firsts: list[float] = field(default_factory=list)
    lag: list[float] = field(default_factory=list)
    wall: float = 0.0

    @property
    def failed(self) -> int:
        return sum(self.errors.values())

    def add(self, reply: Reply, expected: bytes) -> None:
        problem = verdict(reply, expected)
        if problem:
            self.errors[problem] += 1
            return
        self.answered += 1
        self.latencies.append(reply.ended - reply.started)
        self.firsts.append(reply.first - reply.started)


def verdict(reply: Reply, expected: bytes) -> str:
    """Empty when the reply is a complete, right answer; else what is wrong with it, short enough to count by."""
    if reply.error:
        return reply.error
    if reply.status != 200:
        return f"status {reply.status}"
    got = contents(bytes(reply.body))
    if got == expected:
        return ""
    return "cut answer" if expected.startswith(got) else "wrong answer"


class _Run:
    """Shared by both loops: opens connections, sends, and ends requests that take too long."""

    def __init__(self, target: Target, prompts: Prompts) -> None:
        self.target = target
        self.prompts = prompts
        self.load = Load()
        self.connections: set[Connection] = set()
        self._watch: dict[Connection, float] = {}

    async def connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: Connection(self.on_reply), "127.0.0.1", self.target.port)
        self.connections.add(connection)
        return connection

    def send(self, connection: Connection) -> None:
        body, expected = self.prompts.next()
        self._watch[connection] = time.perf_counter() + REQUEST_TIMEOUT
        connection.send(self.target.request(body), expected)

    def on_reply(self, connection: Connection, reply: Reply) -> None:
        self._watch.pop(connection, None)
        self.load.add(reply, connection.expected)

    @property
    def in_flight(self) -> int:
        return len(self._watch)

    def reap(self) -> None:
        """Give up on requests past their time."""
        now = time.perf_counter()
        for connection in [c for c, due in self._watch.items() if due < now]:
            connection.give_up()

    async def drain(self) -> None:
        while self._watch:
            self.reap()
            await asyncio.sleep(0.02)

    def close(self) -> None:
        for connection in self.connections:
            connection.close()


class _Closed(_Run):
    """Each connection sends again once answered, until `requests` were sent or `until` has come."""

    def __init__(self, target: Target, prompts: Prompts, requests: int, until: float) -> None:
        super().__init__(target, prompts)
        self._left = requests
        self._until = until

    @property
    def over(self) -> bool:
        return self._left <= 0 or time.perf_counter() >= self._until

    def start(self, connection: Connection) -> None:
        if not self.over:
            self._left -= 1
            self.send(connection)

    def on_reply(self, connection: Connection, reply: Reply) -> None:
        super().on_reply(connection, reply)
        if connection.open:
            self.start(connection)

    async def keep(self, concurrency: int) -> None:
        """Replace connections the subject closed, until the run is over."""
        while not self.over and self.load.failed < _MAX_FAILED:
            self.reap()
            self.connections = {c for c in self.connections if c.open}
            for _ in range(concurrency - len(self.connections)):
                try:
                    self.start(await self.connect())
                except OSError as problem:
                    self.load.errors[f"connect: {type(problem).__name__}"] += 1
            await asyncio.sleep(0.02)


async def closed_loop(
    target: Target, prompts: Prompts, *, concurrency: int, seconds: float = 600.0, requests: int = 10**9
) -> Load:
    """Keep `concurrency` requests in flight for `seconds`, or for `requests` requests, whichever ends first."""
    begin = time.perf_counter()
    run = _Closed(target, prompts, requests, begin + seconds)
    await run.keep(concurrency)
    await run.drain()
    run.load.wall = time.perf_counter() - begin
    run.close()
    return run.load


class _Open(_Run):
    """Idle connections wait on a stack; the hottest is used first, as a client's pool does."""

    def __init__(self, target: Target, prompts: Prompts) -> None:
        super().__init__(target, prompts)
        self.idle: list[Connection] = []

    def on_reply(self, connection: Connection, reply: Reply) -> None:
        super().on_reply(connection, reply)
        if connection.open:
            self.idle.append(connection)

    async def fire(self) -> None:
        while self.idle:
            connection = self.idle.pop()
            if connection.open:
                self.send(connection)
                return
        if len(self.connections) >= _MAX_OPEN:
            self.load.errors["too many in flight"] += 1
            return
        try:
            self.send(await self.connect())
        except OSError as problem:
            self.load.errors[f"connect: {type(problem).__name__}"] += 1


async def open_loop(target: Target, prompts: Prompts, *, rate: float, seconds: float, warm: int = 8) -> Load:
    """Send `rate` requests a second for `seconds`, evenly spaced, whatever the answers do."""
    run = _Open(target, prompts)
    for _ in range(warm):
        run.idle.append(await run.connect())
    begin = time.perf_counter()
    for i in range(int(rate * seconds)):
        due = begin + i / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        run.load.lag.append(time.perf_counter() - due)
        run.reap()
        await run.fire()
    await run.drain()
    run.load.wall = time.perf_counter() - begin
    run.close()
    return run.load
