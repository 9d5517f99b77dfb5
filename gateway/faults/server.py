"""The fault server: an OpenAI-shaped upstream on loopback that misbehaves exactly as told, and remembers everything.

Raw asyncio streams and no framework, because a framework repairs what we want broken. The requested model names the play:

    echo             content is the request's body, as received; echo:headers its headers as JSON, echo:last the last
                     message's text; all as deltas of 16 characters
    ok               a short friendly answer
    fault:NAME       see ``table.FAULTS``
    anything else    what ``script`` or ``sequence`` said; 404 model_not_found when nothing was said

Any POST path is answered so; ``/embeddings`` gives vectors for ``ok`` and ``echo``. ``GET /_requests`` shows what was
received, ``DELETE /_requests`` forgets it, ``GET /v1/models`` lists the models, ``GET /health`` answers 200.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from gateway.faults import wire, wire_gemini
from gateway.faults.http1 import BadRequest, Link, Player, Request
from gateway.faults.play import Items, Play, answer, steps
from gateway.faults.record import Outcome, Received, Recorder
from gateway.faults.steps import Wire
from gateway.faults.table import BUILT_IN, FAULTS, unknown

MOST_CONNECTIONS = 1000
MOST_SCRIPTED = 1000
BUSY = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class FaultServer:
    """An upstream for tests, as an async context manager.

    ``pause``: seconds of one ``Pause``. ``limit``: seconds after which hanging, waiting at a gate and any other answer is
    broken off, so that nothing waits for ever.
    """

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0, pause: float = 0.02, limit: float = 600.0) -> None:
        self.host, self.port = host, port
        self._pause, self._limit = pause, limit
        self._recorder = Recorder()
        self._scripted: dict[str, list[Play]] = {}
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._accepted = 0

    # --- for tests -------------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def base_url(self) -> str:
        """What an OpenAI client, or a provider's ``endpoints``, takes."""
        return f"{self.url}/v1"

    @property
    def requests(self) -> list[Received]:
        """Every request so far, oldest first (the last 10,000)."""
        return list(self._recorder.requests)

    @property
    def inflight(self) -> int:
        """Requests being answered now."""
        return self._recorder.inflight

    @property
    def connections(self) -> int:
        """Connections open now."""
        return len(self._tasks)

    @property
    def accepted(self) -> int:
        """Connections accepted since the start."""
        return self._accepted

    def script(self, model: str, items: Items, *, plain: Items | None = None) -> None:
        """Answer ``model`` with these items, every time; see ``play`` for what is completed and how it is folded."""
        self.sequence(model, Play(items, plain))

    def sequence(self, model: str, *plays: Play | str) -> None:
        """Answer ``model`` with one play after the other, then the last one for ever. A ``str`` is a fault's name."""
        if not plays:
            raise ValueError(f"sequence for {model!r}: needs at least one play")
        if len(self._scripted) >= MOST_SCRIPTED and model not in self._scripted:
            raise ValueError(f"more than {MOST_SCRIPTED} scripted models")
        self._scripted[model] = [FAULTS[play].play if isinstance(play, str) else play for play in plays]

    def reply(self, model: str, status: int, body: bytes | str | Mapping[str, Any], **headers: str) -> None:
        """Answer ``model`` with one body, streamed or not. ``retry_after="2"`` gives the header ``retry-after: 2``."""
        self.sequence(model, answer(status, body, {name.replace("_", "-"): value for name, value in headers.items()}))

    def forget(self) -> None:
        """Forget the requests received so far; scripts stay."""
        self._recorder.requests.clear()

    async def received(self, count: int = 1, within: float = 5.0) -> list[Received]:
        """Wait until at least ``count`` requests have come in, and give all of them."""
        await self._recorder.wait(count=count, within=within)
        return self.requests

    async def idle(self, within: float = 5.0) -> None:
        """Wait until nothing is being answered: what a cancelled call must lead to."""
        await self._recorder.wait(inflight=0, within=within)

    # --- life ------------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> FaultServer:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, self.host, self.port, backlog=512)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening, break off what is open, and wait until every connection's task is over."""
        if self._server is None:
            return
        self._server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self._server = None

    # --- connections -----------------------------------------------------------------------------------------------

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._accepted += 1
        if len(self._tasks) >= MOST_CONNECTIONS:
            writer.write(BUSY)
            writer.close()
            return
        task = asyncio.create_task(self._serve(Link(reader), writer, self._accepted))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, link: Link, writer: asyncio.StreamWriter, connection: int) -> None:
        nth = 0
        try:
            while True:
                async with asyncio.timeout(self._limit):
                    request = await link.request()
                if request is None:
                    return
                nth += 1
                if not await self._exchange(request, link, writer, connection, nth):
                    return
        except BadRequest as error:
            writer.write(f"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n{error}\n".encode())
        except (TimeoutError, ConnectionError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _exchange(
        self, request: Request, link: Link, writer: asyncio.StreamWriter, connection: int, nth: int
    ) -> bool:
        """Answer one request; whether the connection can carry another."""
        ours = self._ours(request)
        number = 0 if ours else self._recorder.next_number()
        asked = Received(number, connection, nth, request.method, request.target, request.headers, request.body)
        player = Player(writer, number, self._pause, self._limit)
        if ours:
            await player.play(steps(ours, asked))
            return player.reusable
        await self._recorder.open(asked)
        outcome: Outcome = "stopped"
        try:
            outcome = await self._answer(player, asked, link)
        finally:
            # Shielded: when the server is stopped now, the record must still say so.
            await asyncio.shield(self._recorder.close(asked, outcome, player.sent))
        return outcome == "finished" and player.reusable and (asked.header("connection") or "").lower() != "close"

    async def _answer(self, player: Player, asked: Received, link: Link) -> Outcome:
        """Play while watching whether the client is still there."""
        playing = asyncio.create_task(player.play(self._steps(asked)))
        watching = asyncio.create_task(link.left())
        try:
            await asyncio.wait({playing, watching}, timeout=self._limit, return_when=asyncio.FIRST_COMPLETED)
            if playing.done():
                broken = isinstance(playing.exception(), ConnectionError)
                return "left" if broken else "finished" if player.finished else "cut"
            return "left" if watching.done() else "cut"
        finally:
            for task in (playing, watching):
                task.cancel()
            await asyncio.wait({playing, watching})

    # --- what to answer --------------------------------------------------------------------------------------------

    def _steps(self, asked: Received) -> list[Wire]:
        try:
            return steps(self._play(asked), asked)
        except Exception as error:  # a script that computes its items: show its author what went wrong
            return steps(answer(500, wire.error(f"the script failed: {error!r}", "script")), asked)

    def _play(self, asked: Received) -> Play:
        model = asked.model
        if told := wire_gemini.other(asked, asked.gemini):
            return answer(200, told)
        if scripted := self._scripted.get(model):
            return scripted.pop(0) if len(scripted) > 1 else scripted[0]
        if model.startswith("fault:") and (fault := FAULTS.get(model.removeprefix("fault:"))):
            return fault.play
        if play := BUILT_IN.get(model):
            if asked.path.endswith("/embeddings"):
                return answer(200, wire.embeddings(asked))
            return play
        return unknown(model)

    def _ours(self, request: Request) -> Play | None:
        """The server's own pages."""
        names = [*BUILT_IN, *(f"fault:{name}" for name in FAULTS), *self._scripted]
        match request.method, request.target.partition("?")[0]:
            case "GET", "/_requests":
                shown = [received.view() for received in self.requests]
                return answer(200, {"inflight": self.inflight, "connections": self.connections, "requests": shown})
            case "DELETE", "/_requests":
                self.forget()
                return answer(200, {"forgotten": True})
            case "GET", "/v1/models":
                return answer(200, wire.models(names))
            case "GET", "/health":
                return answer(200, {"status": "ok"})
        return None
