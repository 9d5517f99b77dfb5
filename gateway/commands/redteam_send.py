"""The sending half of `tidegate redteam`: one gateway, so many requests at a time, each with an end."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from gateway.commands.redteam_wire import FORMS, checks_of, code_of, degraded_of, heard
from gateway.providers.http_client import HttpClient, HttpReply
from gateway.providers.http_errors import HttpError, ReadTimeout
from gateway.providers.http_request import wrong_url
from guardrails.redteam.corpus import Probe
from guardrails.redteam.judging import Seen

Row = TypeVar("Row")

MOST_BYTES = 8 * 1024 * 1024
"""Of one answer."""


class Unasked(Exception):
    """Why the gateway cannot be asked at all."""


class Gateway:
    """A running gateway, from outside. `base`: its URL up to `/v1`. The key goes nowhere else: no redirects, no proxy."""

    def __init__(self, base: str, key: str, dialect: str, *, stream: bool, timeout: float) -> None:
        """Raises `Unasked` for what is no address."""
        if problem := wrong_url(base):
            raise Unasked(f"--url {base!r}: {problem}")
        if not all("!" <= ch <= "~" for ch in key):
            raise Unasked("the key holds characters that no key has")
        self._base = base.rstrip("/")
        self._form = FORMS[dialect]
        self._stream = stream
        self._timeout = timeout
        self._http = HttpClient()
        self._headers = [("content-type", "application/json"), *self._form.headers]
        self._headers += [("authorization", f"Bearer {key}")] if key else []
        self._asking = [*self._headers, ("x-tidegate-cache-control", "no-store")]
        """An answer from a cache says nothing of the checks, and attacks must not be kept in one."""

    async def close(self) -> None:
        await self._http.aclose()

    async def models(self) -> list[str]:
        """What the key may ask for. Raises `Unasked`."""
        got = await self._call("GET", "/models", self._headers, b"")
        if got.error:
            raise Unasked(f"{self._base} cannot be asked: {got.error}")
        if got.status in (401, 403):
            raise Unasked(f"{self._base} refuses this key (HTTP {got.status})")
        try:
            return [str(model["id"]) for model in json.loads(got.data)["data"]]
        except (ValueError, KeyError, TypeError):
            raise Unasked(f"{self._base}/models gives no list of models: is this a gateway's address?") from None

    async def ask(self, model: str, probe: Probe) -> Seen:
        """Never raises for what a gateway may do."""
        body = json.dumps(self._form.body(model, probe, self._stream), ensure_ascii=False).encode()
        began = time.monotonic()
        got = await self._call("POST", self._form.at(model, self._stream), self._asking, body)
        return self._seen(got, time.monotonic() - began)

    async def _call(self, method: str, path: str, headers: Sequence[tuple[str, str]], body: bytes) -> _Got:
        url, connect = self._base + path, min(10.0, self._timeout)
        until = asyncio.get_running_loop().time() + self._timeout
        try:
            reply = await self._http.send(
                method, url, headers, body, connect_timeout=connect, read_timeout=self._timeout, deadline=until
            )
        except HttpError as error:
            return _Got(0, {}, b"", _words(error))
        try:
            return _Got(reply.status, reply.headers, *await _whole(reply))
        finally:
            await reply.aclose()

    def _seen(self, got: _Got, seconds: float) -> Seen:
        """A stop is one if the gateway says so: by the code of its error, by how the answer ended, or in the header that
        lists its checks (Anthropic's errors have no codes, and a stopped answer may have been replaced by a stock reply)."""
        checks = checks_of(got.headers)
        text, ending, error = "", "", got.error
        if got.status == 200:
            streamed = got.headers.get("content-type", "").startswith("text/event-stream")
            text, ending = heard(self._form, got.data, streamed)
            error = error or _UNENDED.get(ending, "")
        elif got.status:
            code = code_of(got.data)
            ending = "blocked" if code == "content_filter" else ""
            error = error or f"HTTP {got.status} {code}".strip()
        blocked = ending == "blocked" or (got.status in (200, 400) and "block" in checks.values())
        return Seen(
            status=got.status,
            text=text,
            blocked=blocked,
            error="" if blocked else error,
            checks=checks,
            degraded=tuple(degraded_of(got.headers)),
            seconds=seconds,
        )


class _Got(NamedTuple):
    """What came over the wire, as far as it came."""

    status: int
    headers: dict[str, str]
    data: bytes
    error: str


_UNENDED = {"": "cut stream", "failed": "failed stream", "unreadable": "unreadable answer"}


async def _whole(reply: HttpReply) -> tuple[bytes, str]:
    """The body and what is wrong with it: what came before a failure was shown to the client, so it counts."""
    pieces: list[bytes] = []
    size = 0
    try:
        while piece := await reply.read():
            pieces.append(piece)
            size += len(piece)
            if size > MOST_BYTES:
                return b"".join(pieces), "answer too long"
    except HttpError as error:
        return b"".join(pieces), _words(error)
    return b"".join(pieces), ""


def _words(error: HttpError) -> str:
    """A few fixed words, so that they can be counted."""
    return "timeout" if isinstance(error, ReadTimeout) else type(error).__name__


async def send_all(
    gateway: Gateway,
    asked: Sequence[tuple[str, Probe]],
    at_once: int,
    then: Callable[[Probe, Seen], Row],
    told: Callable[[int], None],
) -> list[Row]:
    """What `then` made of each (model, probe) and its answer, in order. `told` hears how many are done."""
    rows: dict[int, Row] = {}
    waiting = iter(enumerate(asked))

    async def work() -> None:
        for at, (model, probe) in waiting:
            rows[at] = then(probe, await gateway.ask(model, probe))
            told(len(rows))

    async with asyncio.TaskGroup() as group:
        for _ in range(min(at_once, len(asked))):
            group.create_task(work())
    return [rows[at] for at in range(len(asked))]
