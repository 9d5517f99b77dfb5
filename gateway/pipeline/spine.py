"""The spine: the whole story of an exchange, told once.

Deciders in order; if none answered, dispatch over the plan; events through the sessions into the client's dialect;
exactly one receipt, whatever happened. Only this file times stages, keeps the deadline, maps faults and makes
receipts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Protocol

from gateway.core.answer import Answer, Refusal
from gateway.core.errors import NAMES, ClientGone, DeadlineExceeded, GatewayFault, Internal, Unavailable
from gateway.core.events import Blocked, Frame
from gateway.core.exchange import CacheNote, Exchange
from gateway.core.ports import Decider, Telling
from gateway.core.receipt import Outcome, Receipt, Stage
from gateway.core.response import unfold
from gateway.pipeline.aftermath import Aftermath
from gateway.pipeline.beside import beside_call, refusal, side_by_side
from gateway.pipeline.build import Pipeline, Step
from gateway.pipeline.delivery import Client as DeliveryClient
from gateway.pipeline.delivery import Delivery
from gateway.pipeline.dispatch import Dispatcher, refusal_message
from gateway.pipeline.receipts import receipt_of
from gateway.pipeline.trial import Cost

Crash = Callable[[Exchange, BaseException], None]


class Client(DeliveryClient, Protocol):
    """The HTTP edge, as the spine sees it."""

    gone: bool
    """The client hung up; the exchange is being cancelled because of it."""
    status: int
    """The HTTP status sent, or 0."""

    def watch(self) -> None:
        """Cancels this exchange's task if the client hangs up from here on."""
        ...

    async def fault(self, fault: GatewayFault) -> None:
        """A whole error response, in the client's dialect."""
        ...

    async def refuse(self, refusal: Refusal) -> None:
        """A whole content-filter response, in the client's dialect."""
        ...


class Spine:
    """Runs exchanges. Holds only what is the same for all of them."""

    def __init__(
        self,
        pipeline: Pipeline,
        dispatcher: Dispatcher,
        dialects: Mapping[str, Telling],
        aftermath: Aftermath,
        *,
        cost: Cost,
        saved: Callable[[Exchange], float | None],
        crashed: Crash,
        handed: Callable[[Exchange], None] = lambda exchange: None,
        keepalive: float = 0.0,
    ) -> None:
        """`handed` is told of each exchange that ended with a person asked for. `keepalive`: seconds of silence before a
        streaming client gets a sign of life, where its model does not say."""
        self._pipeline = pipeline
        self._dispatcher = dispatcher
        self._dialects = dialects
        self._aftermath = aftermath
        self._cost = cost
        self._saved = saved
        self._crashed = crashed
        self._handed = handed
        self._keepalive = keepalive
        self.inflight = 0
        """Exchanges under way. Back to zero when all have ended, however they ended."""

    async def run(self, exchange: Exchange, client: Client) -> Receipt:
        """Serves one exchange to its end, also when its task is cancelled: because the client is gone, or, if it is not,
        because the process stops; then the client is told."""
        self.inflight += 1
        outcome: Outcome = "gateway_error"
        error = ""
        try:
            outcome = await self._serve(exchange, client)
        except GatewayFault as fault:
            outcome, error = _outcome_of(fault), fault.name
        except ClientGone:
            outcome = "client_gone"
        except asyncio.CancelledError:  # while the client was being told of it
            outcome, error = ("client_gone", "") if client.gone else ("gateway_error", NAMES[Unavailable])
        finally:
            self.inflight -= 1
            for undo in exchange.cleanup:
                undo()
            exchange.cleanup.clear()  # some of them hold the exchange, and it them: no work for the cycle collector
            if exchange.handoff is not None:
                self._handed(exchange)
            receipt = receipt_of(exchange, outcome, error, client.status)
            self._aftermath.put(receipt)
        return receipt

    async def _serve(self, exchange: Exchange, client: Client) -> Outcome:
        """Answers, and tells the client of any fault, cleanly or in the stream."""
        delivery: Delivery | None = None
        try:
            async with asyncio.timeout(exchange.remaining()) as deadline:
                answer = await self._stages(exchange, self._pipeline.head)
                client.watch()  # the body is read: from here on a client that leaves ends this, whatever it waits for
                if answer is None:
                    delivery = self._delivery(exchange, client)
                    delivery.keep_alive(self._dialects[exchange.dialect].beat, self._keepalive)
                    answer = await self._stages(exchange, self._pipeline.lanes[exchange.route].deciders)
                exchange.answer = answer
                if answer is not None and answer.refusal is not None:
                    return await _refuse(client, delivery, answer.refusal)
                delivery = delivery or self._delivery(exchange, client)
                await self._answer(exchange, client, delivery, answer)
            return await _close(client, delivery)
        except GatewayFault as known:
            fault: GatewayFault = known
            if isinstance(fault, Internal):
                self._crashed(exchange, fault.__cause__ or fault)
        except ClientGone:
            raise
        except asyncio.CancelledError:
            if client.gone and not (delivery is not None and delivery.sent):
                raise
            fault = Unavailable("The gateway is stopping; send the request again.")
        except Exception as bug:
            if isinstance(bug, TimeoutError) and deadline.expired():
                fault = DeadlineExceeded("The request's deadline passed before it was answered.")
            else:
                self._crashed(exchange, bug)
                fault = Internal("The gateway failed on this request; it has been logged.")
        if delivery is not None:
            await delivery.quiet()
        if delivery is not None and delivery.sent:  # stopped, or out of time, between the last byte and here
            return "ok"
        if delivery is not None and client.committed:
            await delivery.fail(fault)
        else:
            await client.fault(fault)
        raise fault

    async def _stages(self, exchange: Exchange, stages: Sequence[Step]) -> Answer | None:
        for stage in stages:
            if isinstance(stage, tuple):
                guard, other = stage
                later = partial(self._stage, exchange, other)
                answer = await side_by_side(exchange, self._stage(exchange, guard), later)
            else:
                answer = await self._stage(exchange, stage)
            if answer is not None:
                return answer
        return None

    async def _stage(self, exchange: Exchange, stage: Decider) -> Answer | None:
        start = exchange.elapsed()
        outcome = "cancelled"
        try:
            answer = await stage.decide(exchange)
            outcome = "ok" if answer is None else answer.kind
        except GatewayFault as fault:
            outcome = fault.name
            raise
        finally:
            exchange.timeline.append(Stage(stage.name, start, exchange.elapsed(), outcome))
        return answer

    def _delivery(self, exchange: Exchange, client: Client) -> Delivery:
        transforms = self._pipeline.lanes[exchange.route].transforms
        outlet = self._dialects[exchange.dialect].outlet
        return Delivery(exchange, client, transforms, outlet, self._cost)

    async def _answer(self, exchange: Exchange, client: Client, delivery: Delivery, answer: Answer | None) -> None:
        if answer is None:
            own = exchange.plan.models[0].keepalive if exchange.plan and exchange.plan.models else None
            if own is not None:
                delivery.keep_alive(self._dialects[exchange.dialect].beat, own)
            made = await beside_call(exchange, self._dispatcher.run(exchange, delivery))
            if isinstance(made, Blocked):
                delivery.blocked = made
                return
            answer = exchange.answer = made
            if answer is None:
                return
            delivery.begin()
        assert answer.response is not None, "an answer that is not a refusal has a response"
        refused = await refusal(exchange)  # of checks that were left to run beside a call that is not needed
        if refused is not None:
            delivery.blocked, exchange.answer, exchange.cache = refused, None, CacheNote()
            return
        exchange.handoff = answer.handoff or exchange.handoff
        exchange.response_headers.update(answer.headers)
        await delivery.push([Frame((event,)) for event in unfold(answer.response)])
        delivery.end()
        # The body tells the usage of when it was made; this exchange itself used nothing.
        exchange.usage = None
        exchange.saved_usd = self._saved(exchange)


async def _refuse(client: Client, delivery: Delivery | None, refusal: Refusal) -> Outcome:
    """Cleanly, or as the ending of a stream whose headers a sign of life has sent."""
    if delivery is not None:
        await delivery.quiet()
    if delivery is not None and client.committed:
        await delivery.block(Blocked(refusal.check, refusal.category, refusal.message))
    else:
        await client.refuse(refusal)
    return "refused"


async def _close(client: Client, delivery: Delivery) -> Outcome:
    """The answer is out, or an output check stopped it: cleanly before the commit point, marked after it."""
    blocked = delivery.blocked
    if blocked is None:
        return "ok"
    await delivery.quiet()
    if client.committed:
        await delivery.block(blocked)
    else:
        await client.refuse(Refusal(blocked.check, blocked.category, refusal_message(blocked)))
    return "refused"


def _outcome_of(fault: GatewayFault) -> Outcome:
    if fault.name == "stream_cut":
        return "cut"
    if fault.wire.status < 500 and not fault.wire.next_target:
        return "client_error"
    return "upstream_error" if fault.name.startswith("upstream") else "gateway_error"
