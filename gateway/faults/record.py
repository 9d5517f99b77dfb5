"""What the fault server received, and how each exchange ended: what tests assert about the upstream's side."""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Literal

from gateway.faults import wire_gemini

#: open: being answered. finished: answered to its end. left: the client went away first. cut: we broke it off, as told.
#: stopped: the server was stopped first.
Outcome = Literal["open", "finished", "left", "cut", "stopped"]
KEPT = 10_000


@dataclass(slots=True, eq=False)
class Received:
    """One request. ``connection`` counts connections from 1, ``nth`` the requests on this one from 1."""

    number: int
    connection: int
    nth: int
    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    at: float = field(default_factory=time.monotonic)
    outcome: Outcome = "open"
    sent: int = 0
    _over: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    def header(self, name: str) -> str | None:
        """The first header of that name, in any case."""
        wanted = name.lower()
        return next((value for key, value in self.headers if key.lower() == wanted), None)

    @property
    def json(self) -> Any:
        """The body decoded, or None when it is no JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    @property
    def fields(self) -> dict[str, Any]:
        """The body when it is a JSON object, else an empty one."""
        body = self.json
        return body if isinstance(body, dict) else {}

    @property
    def gemini(self) -> str:
        """What is asked for in Gemini's API; empty in any other."""
        called = wire_gemini.called(self.path)
        return called[1] if called else ""

    @property
    def model(self) -> str:
        called = wire_gemini.called(self.path)
        return called[0] if called else str(self.fields.get("model", ""))

    @property
    def stream(self) -> bool:
        return self.gemini == "streamGenerateContent" or self.fields.get("stream") is True

    @property
    def wants_usage(self) -> bool:
        options = self.fields.get("stream_options")
        return isinstance(options, dict) and options.get("include_usage") is True

    @property
    def messages(self) -> list[dict[str, Any]]:
        messages = self.fields.get("messages")
        return messages if isinstance(messages, list) else []

    async def ended(self, within: float = 5.0) -> Outcome:
        """Wait for the exchange to end and give its outcome; TimeoutError when it does not."""
        async with asyncio.timeout(within):
            await self._over.wait()
        return self.outcome

    def close(self, outcome: Outcome, sent: int) -> None:
        """Called once, by the server."""
        self.outcome, self.sent = outcome, sent
        self._over.set()

    def view(self) -> dict[str, Any]:
        """As ``GET /_requests`` shows it. Credentials included: asserting on what arrived is what this server is for."""
        shown = {name: getattr(self, name) for name in ("number", "connection", "nth", "method", "target", "outcome")}
        body = self.body.decode("utf-8", "replace")
        return {
            **shown,
            "sent": self.sent,
            "model": self.model,
            "headers": [list(h) for h in self.headers],
            "body": body,
        }


class Recorder:
    """The last requests, how many are being answered, and a way to wait for either to change."""

    def __init__(self) -> None:
        self.requests: deque[Received] = deque(maxlen=KEPT)
        self.inflight = 0
        self._count = 0
        self._changed = asyncio.Condition()

    def __len__(self) -> int:
        return len(self.requests)

    async def open(self, received: Received) -> None:
        async with self._changed:
            self.requests.append(received)
            self.inflight += 1
            self._changed.notify_all()

    async def close(self, received: Received, outcome: Outcome, sent: int) -> None:
        received.close(outcome, sent)
        async with self._changed:
            self.inflight -= 1
            self._changed.notify_all()

    def next_number(self) -> int:
        self._count += 1
        return self._count

    async def wait(self, *, count: int | None = None, inflight: int | None = None, within: float = 5.0) -> None:
        """Until at least ``count`` requests are recorded and exactly ``inflight`` are being answered."""

        def reached() -> bool:
            enough = count is None or len(self.requests) >= count
            return enough and (inflight is None or self.inflight == inflight)

        try:
            async with asyncio.timeout(within), self._changed:
                await self._changed.wait_for(reached)
        except TimeoutError:
            raise TimeoutError(
                f"waited {within:g} s for count={count} inflight={inflight}; "
                f"there are {len(self.requests)} requests, {self.inflight} in flight"
            ) from None
