"""`POST /v1beta/models/{m}:countTokens`: its whole answer is `{"totalTokens": N}`. Where `"estimated": true`
stands beside it, the model's provider has not counted, but the gateway has estimated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.core.events import Event, Extra, Finished, Started
from gateway.core.exchange import Exchange
from gateway.dialects.counted import CountOutlet, count_of, counted
from gateway.dialects.gemini_errors import error_body
from gateway.dialects.gemini_extra import NAME


def read_count(body: dict[str, Any]) -> Sequence[Event]:
    """No `Usage`: a count costs nothing and its tokens are nobody's yet."""
    if type(body["totalTokens"]) is not int:
        raise ValueError("totalTokens is no whole number")
    return (Started("", "", 0, counted(body["totalTokens"])), Finished())


def count_outlet(exchange: Exchange) -> CountOutlet:
    return CountOutlet(NAME, _body, lambda fault: error_body(fault, exchange.id))


def _body(extra: Extra | None) -> dict[str, Any]:
    return {"totalTokens" if name == "input_tokens" else name: value for name, value in count_of(extra).items()}
