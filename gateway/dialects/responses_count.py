"""`POST /v1/responses/input_tokens`: its whole answer is `{"object": "response.input_tokens", "input_tokens": N}`. Where
`"estimated": true` stands beside it, the model's provider has not counted, but the gateway has estimated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.core.events import Event, Extra, Finished, Started
from gateway.dialects.counted import CountOutlet, count_of, counted
from gateway.dialects.openai_errors import error_body
from gateway.dialects.responses_extra import NAME

PATH = "/responses/input_tokens"


def read_count(body: dict[str, Any]) -> Sequence[Event]:
    """No `Usage`: a count costs nothing and its tokens are nobody's yet."""
    if type(body["input_tokens"]) is not int:
        raise ValueError("input_tokens is no whole number")
    return (Started("", "", 0, counted(body["input_tokens"])), Finished())


def count_outlet() -> CountOutlet:
    return CountOutlet(NAME, _body, error_body)


def _body(extra: Extra | None) -> dict[str, Any]:
    return {"object": "response.input_tokens", **count_of(extra)}
