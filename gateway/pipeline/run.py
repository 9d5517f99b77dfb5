"""One exchange on its way through dispatch: which model is asked, why, and what is done about what came of it."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.core.answer import Answer
from gateway.core.errors import ContentRefused, GatewayFault, Overloaded, UpstreamTimeout
from gateway.core.events import Blocked, Frame, Remedy
from gateway.core.exchange import Exchange
from gateway.pipeline.chain import Chain
from gateway.pipeline.delivery import Delivery
from gateway.pipeline.remedies import Remedies
from gateway.pipeline.trial import Trial


class Run:
    """`why` and `cause`: of the call that is made now."""

    __slots__ = ("cause", "chain", "delivery", "exchange", "minds_filters", "remedies", "why")

    def __init__(self, exchange: Exchange, delivery: Delivery, chain: Chain) -> None:
        self.exchange = exchange
        self.delivery = delivery
        self.chain = chain
        self.remedies = Remedies(exchange)
        self.why = self.cause = ""
        self.minds_filters = chain.minds_filters

    def goes_on(self, ended: GatewayFault | Remedy) -> bool:
        """Whether there is a model to ask next; if so, it is the chain's now."""
        if self.delivery.committed or not self.chain.on(ended, self.cause_of(ended)):
            return False
        self.minds_filters = self.chain.minds_filters
        return True

    def cause_of(self, ended: GatewayFault | Remedy) -> str:
        """How the last call ended, and where."""
        if isinstance(ended, Remedy):
            return f"{ended.kind} asked for by a check"
        if isinstance(ended, Overloaded):
            return f"queue {ended.why}"
        clock = f" ({ended.clock})" if isinstance(ended, UpstreamTimeout) and ended.clock else ""
        last = self.exchange.attempts[-1] if self.exchange.attempts else None
        return f"{ended.name}{clock}" + (f" at {last.endpoint or last.provider}" if last is not None else "")

    async def look(self, trial: Trial, batch: Sequence[Frame]) -> None:
        """Raises `ContentRefused` for an answer that the upstream's filter ended while nothing of it is out."""
        if self.delivery.committed or not trial.filtered(batch):
            return
        await trial.hear_usage()
        raise ContentRefused("The upstream's content filter stopped the answer.")

    def stopped(self, blocked: Blocked, took: int) -> Remedy | None:
        """What is done about an answer that came in `took` nanoseconds; None: nothing more."""
        if self.delivery.committed:
            self.remedies.too_late(blocked)
            return None
        return self.remedies.next(blocked, took, more=self.chain.more)

    def given_up(self, fault: GatewayFault) -> Answer:
        """What is told after a fault that no other call can mend. Raises it, unless a check has something to say."""
        remedy = None if self.delivery.committed else self.remedies.last_resort()
        if remedy is None:
            raise fault
        return self.remedies.instead(remedy)
