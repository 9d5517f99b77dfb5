"""One call of an upstream under way: opened, read, and at its end the entry that it leaves in the exchange."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence

import msgspec

from gateway.core.errors import GatewayFault, Internal, StreamCut
from gateway.core.events import ChoiceFinished, Event, Failed, Frame, Text, Usage
from gateway.core.exchange import ANONYMOUS, Exchange, new_span_id
from gateway.core.marking import MARK
from gateway.core.pinning import UNSEAL
from gateway.core.plan import ModelPlan, Target, Timeouts
from gateway.core.ports import Reply, Upstream
from gateway.core.receipt import Attempt
from gateway.core.request import Request
from gateway.core.reveal import REVEAL
from gateway.pipeline.estimating import estimated
from gateway.pipeline.seen import CONTENT, Seen

CONTENT_FILTER = "content_filter"
USAGE_SECONDS = 0.25
"""How long the usage of an answer that was stopped at its end is waited for."""

Cost = Callable[[Usage | None, Target | None], float | None]
"""USD; None when the usage or the price is not known."""


class Trial:
    """`record` is called once and `close` at least once, whatever happens."""

    __slots__ = (
        "_cause", "_cost", "_endpoint", "_exchange", "_frames", "_model", "_picked", "_reply", "_request", "_start", "_turn",
        "_upstream", "_why", "fault", "lead", "recorded", "revealed", "seen", "span_id", "target",
    )  # fmt: skip

    def __init__(
        self,
        exchange: Exchange,
        model: ModelPlan,
        target: Target,
        upstream: Upstream,
        why: str,
        cause: str,
        cost: Cost,
        turn: int,
    ) -> None:
        """`why` and `cause`: see `Attempt`. `turn`: how many calls of this exchange the upstream has had already."""
        self._exchange = exchange
        self._model = model
        self._upstream = upstream
        self._why = why
        self._cause = cause
        self._cost = cost
        self._turn = turn
        self._start = exchange.elapsed()
        self._request, self.revealed = _asked(exchange, upstream, target)
        """This call is sent originals of what is masked everywhere else."""
        self._endpoint = self._picked = ""
        self._reply: Reply | None = None
        self._frames: AsyncIterator[Sequence[Frame]] | None = None
        self.target = target
        self.span_id = new_span_id()
        self.seen = Seen(exchange.clock.now)
        self.lead: list[Sequence[Frame]] = []
        """Batches that `find_content` has read."""
        self.fault: GatewayFault | None = None
        self.recorded = False

    async def open(self) -> None:
        exchange = self._exchange
        reply = self._reply = await self._upstream.open(
            self._request,
            self.target,
            _timeouts(exchange, self._model),
            traceparent=_traceparent(exchange, self.span_id),
            headers=exchange.headers,
            affinity=_affinity(exchange),
            tenant=exchange.principal.tenant,
            turn=self._turn,
            chose=self._chose,
        )
        self._frames = reply.frames()

    def _chose(self, endpoint: str, why: str) -> None:
        self._endpoint, self._picked = endpoint, why

    def frames(self) -> AsyncIterator[Sequence[Frame]]:
        """From where reading stopped: the same iterator each time."""
        assert self._frames is not None, "a trial is opened before it is read"
        return self._frames

    async def find_content(self) -> None:
        """Opens, and reads as far as the first content. Raises the fault of a reply that fails or ends before it."""
        await self.open()
        async for batch in self.frames():
            self.lead.append(batch)
            for frame in batch:
                self.seen.note(frame.events)
                for event in frame.events:
                    if type(event) is Failed:
                        raise event.error
                    if _speaks(event):
                        return
        raise StreamCut("The upstream's answer broke off before its end.")

    @property
    def took(self) -> int:
        """Nanoseconds since it was begun."""
        return self._exchange.elapsed() - self._start

    def filtered(self, batch: Sequence[Frame]) -> bool:
        """Whether these frames say that the upstream's own content filter ended each choice that has ended."""
        reasons = [event.reason for frame in batch for event in frame.events if type(event) is ChoiceFinished]
        if CONTENT_FILTER not in reasons:
            return False
        for frame in batch:
            self.seen.note(frame.events)
        return set(self.seen.finish_reasons.values()) == {CONTENT_FILTER}

    async def hear_usage(self) -> None:
        """Reads on for the usage of an answer that was stopped at its end: it comes last, and it is paid for."""
        seen = self.seen
        if seen.usage is not None or not seen.finish_reasons:
            return
        try:
            async with asyncio.timeout(USAGE_SECONDS):
                async for batch in self.frames():
                    for frame in batch:
                        seen.note(frame.events)
                    if seen.usage is not None:
                        return
        except (TimeoutError, GatewayFault):
            return

    def fail(self, error: BaseException) -> GatewayFault:
        """Records the end of a call that failed before it gave content; its fault. A bug of ours is told as one."""
        if isinstance(error, GatewayFault):
            self.fault = error
            self.record(error.name)
            return error
        self.record("internal")
        bug = Internal("The gateway failed while reading an upstream's answer.")
        bug.__cause__ = error
        return bug

    def record(self, outcome: str) -> None:
        if self.recorded:
            return
        self.recorded = True
        exchange, reply, fault, seen = self._exchange, self._reply, self.fault, self.seen
        first = seen.first_content
        sent, answered = bool(self._endpoint), reply is not None
        guess = estimated(self._request, seen, outcome, fault, sent=sent, answered=answered)
        exchange.attempts.append(
            Attempt(
                provider=self.target.provider,
                model=self.target.model,
                endpoint=reply.endpoint if reply else self._endpoint,
                start=self._start,
                end=exchange.elapsed(),
                outcome=outcome,
                status=reply.status if reply else (fault.upstream_status if fault else None),
                ttft=first - exchange.started - self._start if first is not None else None,
                why=self._why,
                cause=self._cause,
                picked=self._picked,
                span_id=self.span_id,
                usage=seen.usage,
                upstream_id=reply.upstream_id if reply else "",
                finish_reasons=tuple(seen.finish_reasons.values()),
                response_model=seen.response_model,
                response_id=seen.response_id,
                cost_usd=self._cost(seen.usage, self.target),
                estimated=guess,
                estimated_usd=None if guess is None else self._cost(guess, self.target),
                revealed=self.revealed,
            )
        )
        exchange.cost_usd = spent(attempt.cost_usd for attempt in exchange.attempts)
        if guess is not None:
            exchange.estimated_usd = spent(attempt.estimated_usd for attempt in exchange.attempts)

    async def close(self) -> None:
        if self._reply is not None:
            await self._reply.close()


def _timeouts(exchange: Exchange, model: ModelPlan) -> Timeouts:
    """The model's, but the caller may give it less time to begin."""
    given, asked = model.timeouts, exchange.first_token
    return given if asked is None or asked >= given.ttft else msgspec.structs.replace(given, ttft=asked)


def _asked(exchange: Exchange, upstream: Upstream, target: Target) -> tuple[Request, bool]:
    """What this one upstream is asked: as it was masked, or, inside the house and where the route says so, with the
    originals; and whether it is the latter. Made anew for each call, so what one was shown says nothing about the next."""
    masked = exchange.asked()
    reveal = exchange.facts.get(REVEAL) if upstream.trusted else None
    shown = reveal.request(masked) if reveal is not None else masked
    mark, unseal = exchange.facts.get(MARK), exchange.facts.get(UNSEAL)
    asked = mark(shown) if mark is not None else shown
    return (unseal(asked, target, exchange.warnings) if unseal is not None else asked), shown is not masked


def spent(costs: Iterable[float | None]) -> float | None:
    """The sum of those that are known; None when none is."""
    known = [cost for cost in costs if cost is not None]
    return sum(known) if known else None


def _speaks(event: Event) -> bool:
    """Whether somebody who waits for the answer got something. Some servers send an empty first piece at once."""
    return type(event) in CONTENT and (type(event) is not Text or bool(event.text))


def _affinity(exchange: Exchange) -> str:
    """What the exchange belongs to, for balances that keep such together; nothing for a nameless caller."""
    named = exchange.session or exchange.headers.get("x-claude-code-session-id", "")[:128]
    return named or ("" if exchange.principal is ANONYMOUS else exchange.principal.key_id)


def _traceparent(exchange: Exchange, span_id: str) -> str:
    trace = exchange.trace
    return f"00-{trace.trace_id}-{span_id}-{'01' if trace.sampled else '00'}"
