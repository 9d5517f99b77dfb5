"""The stage that turns bytes into a request: read the body, decode it once, let the dialect read it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from gateway.core.answer import Answer
from gateway.core.errors import BadRequest
from gateway.core.exchange import Exchange
from gateway.core.facts import Key
from gateway.core.ports import Dialect
from gateway.core.request import Body

MOST_DEPTH = 128
"""Levels of lists and objects in a body. Nothing that models take is near it; encoders and walkers further on recurse,
and the interpreter's own limit would end them in places where it looks like a fault of ours."""

TOLD_BY_PATH: Key[Body] = Key("told by path")
"""Fields of the request that its URL tells and not its body: they are laid over the body before the dialect reads it."""

_DECODER = msgspec.json.Decoder(dict)


def decode(data: bytes) -> Body:
    """The body as a JSON object. Raises `BadRequest` saying what is wrong with it; never echoes it."""
    try:
        body: Body = _DECODER.decode(data)
    except msgspec.ValidationError as error:
        if "out of range" in str(error):
            raise BadRequest("The request body holds a number that is out of range.", code="invalid_json") from None
        raise BadRequest("The request body must be a JSON object.") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"The request body is not valid {_flaw(data, error)}.", code="invalid_json") from None
    except RecursionError:
        raise _too_deep() from None
    if data.count(b"[") + data.count(b"{") > MOST_DEPTH and _deeper(body):  # counting is cheap, and most end here
        raise _too_deep()
    return body


def _flaw(data: bytes, error: Exception) -> str:
    """msgspec's versions differ in how they tell bad UTF-8."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return "UTF-8"
    return f"JSON: {error}"


def _deeper(body: Body) -> bool:
    """Whether any value lies below `MOST_DEPTH` levels. Level by level, so the depth costs no stack."""
    level: list[Any] = [body]
    for _ in range(MOST_DEPTH):
        level = [
            item
            for holder in level
            for item in (holder.values() if type(holder) is dict else holder)
            if type(item) is dict or type(item) is list
        ]
        if not level:
            return False
    return True


def _too_deep() -> BadRequest:
    return BadRequest(f"The request body is nested more than {MOST_DEPTH} levels deep.", code="invalid_json")


class Receive:
    """Decider `receive`: after it, `exchange.request` is there."""

    name = "receive"
    consumes: tuple[Key[object], ...] = ()
    produces: tuple[Key[object], ...] = ()

    def __init__(self, dialects: Mapping[str, Dialect]) -> None:
        self._dialects = dialects

    async def decide(self, exchange: Exchange) -> Answer | None:
        data = await exchange.read_body()
        if not data:
            raise BadRequest("The request body is empty; send a JSON object.", code="invalid_json")
        body = decode(data)
        told = exchange.facts.get(TOLD_BY_PATH)
        if told is not None:
            body.update(told)
        exchange.request = self._dialects[exchange.dialect].read(exchange.operation, body)
        return None
