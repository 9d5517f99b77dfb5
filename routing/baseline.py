"""What the same exchanges would have cost had one model answered them all: the other side of what routing saves.

The same tokens are counted at the baseline's price. A large model would have had its own tokenizer and said more or less,
so this compares prices, not answers. For a reply that needed no model, the tokens are estimated; one that a check refused
is left out, as the baseline would not have been asked either.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from gateway.core.events import Usage
from gateway.core.exchange import Exchange
from gateway.core.plan import Price
from gateway.core.tokens import estimate, text_tokens

Cost = Callable[[Usage, Price], float]
_UNCALLED = frozenset({"canned", "clarify", "handoff"})


class Baseline:
    """Notes in every exchange of one route, when it ends, what it would have cost at `price`."""

    def __init__(self, price: Price, cost: Cost) -> None:
        self._price = price
        self._cost = cost

    def watch(self, exchange: Exchange) -> None:
        exchange.cleanup.append(partial(self._note, exchange))

    def _note(self, exchange: Exchange) -> None:
        if exchange.attempts and exchange.cost_usd is None:
            return  # what it did cost is not known, so there is nothing to compare
        usage = exchange.usage or exchange.cache.saved or _estimated(exchange)
        if usage is not None:
            exchange.baseline_usd = self._cost(usage, self._price)


def _estimated(exchange: Exchange) -> Usage | None:
    answer = exchange.answer
    if answer is None or answer.kind not in _UNCALLED or answer.response is None:
        return None
    said = "".join(choice.text or "" for choice in answer.response.choices.values())
    return Usage(
        input_tokens=estimate(exchange.asked()), output_tokens=max(1, math.ceil(text_tokens(said))), estimated=True
    )
