"""An exchange that no client sent: through the same dispatch as all others, with no stage, no check and no cache, to one
receipt of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gateway.core.errors import NAMES, ContextOverflow, DeadlineExceeded, GatewayFault, Internal
from gateway.core.exchange import Exchange
from gateway.core.ports import Outlet
from gateway.core.receipt import Outcome
from gateway.pipeline.aftermath import Aftermath
from gateway.pipeline.delivery import Delivery
from gateway.pipeline.dispatch import Dispatcher
from gateway.pipeline.receipts import receipt_of
from gateway.pipeline.trial import Cost


class Alone:
    """Runs such exchanges. Holds nothing of one."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        aftermath: Aftermath,
        *,
        cost: Cost,
        crashed: Callable[[Exchange, BaseException], None],
    ) -> None:
        self._dispatcher = dispatcher
        self._aftermath = aftermath
        self._cost = cost
        self._crashed = crashed

    async def run(self, exchange: Exchange, outlet: Callable[[Exchange], Outlet]) -> None:
        """To its end, with what is said written to `outlet`. Raises TimeoutError at the exchange's deadline, and the
        `GatewayFault` of a call that failed. Leaves one receipt, whatever happens."""
        delivery = Delivery(exchange, _Nobody(), (), outlet, self._cost)
        outcome: Outcome = "gateway_error"
        error = ""
        try:
            async with asyncio.timeout(exchange.remaining()):
                await self._dispatcher.run(exchange, delivery)
            outcome = "ok"
        except GatewayFault as fault:
            outcome, error = _outcome_of(fault), fault.name
            if isinstance(fault, Internal):
                self._crashed(exchange, fault.__cause__ or fault)
            raise
        except TimeoutError:
            error = NAMES[DeadlineExceeded]
            raise
        except asyncio.CancelledError:
            outcome = "client_gone"  # whoever asked waits no longer
            raise
        finally:
            self._aftermath.put(receipt_of(exchange, outcome, error, 200 if outcome == "ok" else 0))


class _Nobody:
    """The client's end of a connection that is not there. Nothing is ever out, so every retry stays possible."""

    committed = False

    async def write(self, data: bytes, content_type: str, *, last: bool, streaming: bool) -> None:
        return None

    async def beat(self, data: bytes) -> None:
        return None


async def no_body() -> bytes:
    return b""


def _outcome_of(fault: GatewayFault) -> Outcome:
    if fault.name == "stream_cut":
        return "cut"
    return "upstream_error" if fault.name.startswith("upstream") or type(fault) is ContextOverflow else "gateway_error"
