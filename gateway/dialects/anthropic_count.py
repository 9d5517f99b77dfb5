"""`POST /v1/messages/count_tokens`: its whole answer is `{"input_tokens": N}`. An answer that has `"estimated": true` beside
it was not counted by the model's provider, which cannot do that, but estimated by the gateway."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.core.events import Event, Finished, Started
from gateway.core.exchange import Exchange
from gateway.dialects.anthropic_errors import error_body
from gateway.dialects.anthropic_extra import NAME, unwrap
from gateway.dialects.counted import CountOutlet, count_of, counted

PATH = "/messages/count_tokens"


def read_count(body: dict[str, Any]) -> Sequence[Event]:
    """No `Usage`: a count costs nothing and its tokens are nobody's yet."""
    if type(body["input_tokens"]) is not int:
        raise ValueError("input_tokens is no whole number")
    return (Started("", "", 0, {NAME: body, **counted(body["input_tokens"])}), Finished())


def count_outlet(exchange: Exchange) -> CountOutlet:
    return CountOutlet(
        NAME, lambda extra: unwrap(extra) or count_of(extra), lambda fault: error_body(fault, exchange.id)
    )
