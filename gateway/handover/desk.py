"""Tells people that they are to take over: a bounded queue, one worker, a few tries for each message.

A message that cannot be delivered is never dropped in silence: it is counted and reported by the exchange's id, so
that the operator can find the conversation."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from gateway.core.errors import GatewayFault
from gateway.core.exchange import Exchange
from gateway.core.ports import Post
from gateway.handover.config import HandoffConfig

BOUND = 1_000
"""Messages that may wait."""
MAX_TEXT = 65_536
"""Characters of conversation that go along; the latest are kept."""
_FIRST_WAIT = 0.5
"""Seconds before the second try; doubles."""
_MOST_REPLY = 65_536


class Message(msgspec.Struct, frozen=True):
    """One hand-over, ready to be sent."""

    id: str
    """The exchange's."""
    team: str
    body: bytes

    def __repr__(self) -> str:
        """No body: it may hold the conversation."""
        return f"Message({self.id} to {self.team})"


class Desk:
    """`told` and `lost` count messages by what became of them."""

    def __init__(
        self,
        desks: Mapping[str, HandoffConfig],
        post: Post,
        *,
        lost: Callable[[str, str, str], None] = lambda id, team, why: None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        bound: int = BOUND,
    ) -> None:
        """`lost` is told (exchange id, team, why) of each message that was given up."""
        self._desks = desks
        self._post = post
        self._report = lost
        self._sleep = sleep
        self._bound = bound
        self._queue: deque[Message] = deque()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._task: asyncio.Task[None] | None = None
        self._current: Message | None = None
        self.told = 0
        self.lost = 0

    def __len__(self) -> int:
        """Messages that wait or are under way."""
        return len(self._queue) + (self._current is not None)

    def hand_over(self, exchange: Exchange) -> None:
        """Called once, when an exchange that asked for a person has ended. Never waits, never fails."""
        handoff = exchange.handoff
        desk = self._desks.get(handoff.team) if handoff is not None else None
        if handoff is None or desk is None:
            return
        message = Message(exchange.id, handoff.team, body_of(exchange, desk.include == "masked"))
        if len(self._queue) >= self._bound:
            self._lose(message, "queue_full")
            return
        self._queue.append(message)
        self._idle.clear()
        self._wake.set()

    async def start(self) -> None:
        self._task = asyncio.create_task(self._work(), name="handover")

    async def close(self, limit: float = 10.0) -> None:
        """Sends what waits, for at most `limit` seconds; the rest is reported as lost."""
        try:
            async with asyncio.timeout(limit):
                if self._task is not None:
                    await self._idle.wait()
        except TimeoutError:
            pass
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        left = [*([self._current] if self._current else []), *self._queue]
        self._queue.clear()
        self._current = None
        for message in left:
            self._lose(message, "stopped")

    async def _work(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._queue:
                self._current = self._queue.popleft()
                why = await self._send(self._current)
                if why:
                    self._lose(self._current, why)
                else:
                    self.told += 1
                self._current = None
            self._idle.set()

    async def _send(self, message: Message) -> str:
        """Why it could not be delivered, or "". A 4xx but 408 and 429 is final: the same again would get the same."""
        desk = self._desks[message.team]
        headers = {"content-type": "application/json", "x-tidegate-exchange": message.id}
        if desk.secret is not None:
            headers["x-tidegate-signature"] = signature(desk.secret.reveal(), message.body)
        why = ""
        for turn in range(desk.attempts):
            if turn:
                await self._sleep(_FIRST_WAIT * 2 ** (turn - 1))
            try:
                status, _ = await self._post(desk.url, headers, message.body, seconds=desk.timeout, most=_MOST_REPLY)
            except (TimeoutError, GatewayFault, OSError):
                why = "unreachable"
                continue
            except Exception:  # a bug in the way there must not end the worker, which others wait for
                return "crashed"
            if 200 <= status < 300:
                return ""
            why = f"status_{status}"
            if 400 <= status < 500 and status not in (408, 429):
                break
        return why

    def _lose(self, message: Message, why: str) -> None:
        self.lost += 1
        self._report(message.id, message.team, why)


def signature(secret: str, body: bytes) -> str:
    """What the receiver compares, in constant time, with what came in `x-tidegate-signature`."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def body_of(exchange: Exchange, conversation: bool) -> bytes:
    """The message. The conversation is the request as the checks left it: masked where a check masks."""
    assert exchange.handoff is not None
    request = exchange.request
    told: dict[str, Any] = {
        "version": 1,
        "exchange": exchange.id,
        "team": exchange.handoff.team,
        "reason": exchange.handoff.reason,
        "opened": exchange.opened // 1_000_000,
        "route": exchange.route,
        "intent": exchange.intent,
        "action": exchange.action,
        "model": request.model if request and exchange.permitted else "",
        "tenant": exchange.principal.tenant,
        "user": exchange.user,
        "session": exchange.session,
        "tags": list(exchange.tags),
        "trace": exchange.trace.trace_id,
    }
    if conversation and request is not None:
        told["conversation"] = _conversation(exchange)
    return msgspec.json.encode(told)


def _conversation(exchange: Exchange) -> list[dict[str, str]]:
    """Latest first while there is room, then put in order. System text is the operator's own and stays out."""
    kept: list[dict[str, str]] = []
    room = MAX_TEXT
    for slot in reversed(exchange.asked().slots):
        if slot.role == "system":
            continue
        if room <= 0:
            break
        text = slot.text[-room:]
        room -= len(text)
        kept.append({"role": slot.role, "text": text})
    return kept[::-1]
