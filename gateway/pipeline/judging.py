"""A check's question to one of the gateway's own models: a small exchange of its own, through the same dispatch.

It has the alias's retries, fallbacks, breakers and costs, and its own receipt, on the route `judge`, charged to the key
whose request it is about. No stage, no check and no cache touches it, so it can ask no question itself. It is sent what
the check was given: the masked text."""

from __future__ import annotations

from collections.abc import Callable

from gateway.core.errors import GatewayFault, UnknownModel
from gateway.core.events import Blocked, Frame, Text
from gateway.core.exchange import Exchange, Trace, new_exchange_id, new_span_id
from gateway.core.plan import Plan
from gateway.core.ports import Dialect
from gateway.core.receipt import JUDGE
from gateway.pipeline.aftermath import Aftermath
from gateway.pipeline.alone import Alone, no_body
from gateway.pipeline.dispatch import Dispatcher
from gateway.pipeline.trial import Cost

_CHARS_A_TOKEN = 16
"""At most, for what is kept of an answer: a model that ignores its token limit fills no memory."""


class RouteJudge:
    """Implements `core.ports.Judge`. Holds nothing of an exchange."""

    def __init__(
        self,
        plans: Callable[[str], Plan | None],
        dispatcher: Dispatcher,
        dialect: Dialect,
        aftermath: Aftermath,
        *,
        cost: Cost,
        crashed: Callable[[Exchange, BaseException], None],
    ) -> None:
        """`plans`: the plan of an alias. `dialect`: the one that questions are written in."""
        self._plans = plans
        self._alone = Alone(dispatcher, aftermath, cost=cost, crashed=crashed)
        self._dialect = dialect

    async def ask(self, exchange: Exchange, model: str, system: str, text: str, *, tokens: int, seconds: float) -> str:
        """The model's visible words. Raises TimeoutError after `seconds` or at the asking exchange's own deadline, and
        the `GatewayFault` of a call that failed. Leaves one receipt, whatever happens."""
        child = self._child(exchange, model, system, text, tokens, min(seconds, exchange.remaining()))
        heard = Heard(tokens * _CHARS_A_TOKEN)
        await self._alone.run(child, heard.afresh)
        return heard.words

    def _child(self, parent: Exchange, model: str, system: str, text: str, tokens: int, seconds: float) -> Exchange:
        plan = self._plans(model)
        if plan is None:
            raise UnknownModel(f"No model is called {model!r}.")
        body = {
            "model": model,
            "messages": [{"role": "system", "content": system}, {"role": "user", "content": text}],
            "max_tokens": tokens,
            "temperature": 0,
        }
        trace = parent.trace
        child = Exchange(
            id=new_exchange_id(),
            dialect=self._dialect.name,
            operation="chat",
            headers={},
            credential=None,
            read_body=no_body,
            clock=parent.clock,
            trace=Trace(trace.trace_id, new_span_id(), trace.span_id, trace.sampled),
            timeout=seconds,
            principal=parent.principal,
            user=parent.user,
            tags=(*parent.tags, f"parent={parent.id}"),
            request=self._dialect.read("chat", body),
            permitted=True,
            inner=True,
            route=JUDGE,
            plan=plan,
        )
        child.charges.extend(parent.charges)
        return child


class Heard:
    """An outlet that writes nothing: it keeps the visible text of the first choice, up to `most` characters."""

    content_type = "text/plain"
    streaming = False

    def __init__(self, most: int) -> None:
        self._most = most
        self._pieces: list[str] = []
        self._size = 0

    def afresh(self, _exchange: Exchange) -> Heard:
        """For each attempt: what an earlier one said is forgotten."""
        self._pieces.clear()
        self._size = 0
        return self

    @property
    def words(self) -> str:
        return "".join(self._pieces)

    def push(self, frame: Frame) -> bytes:
        for event in frame.events:
            if type(event) is Text and not event.choice and self._size < self._most:
                self._pieces.append(event.text[: self._most - self._size])
                self._size += len(event.text)
        return b""

    def finish(self) -> bytes:
        return b""

    def fail(self, fault: GatewayFault) -> bytes:
        return b""

    def block(self, blocked: Blocked) -> bytes:
        return b""
