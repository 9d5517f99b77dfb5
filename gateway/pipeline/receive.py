"""The stage that turns bytes into a request: read the body, decode it once, let the dialect read it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from gateway.core.answer import Answer
from gateway.core.errors import BadRequest
from gateway.core.exchange import Exchange
from gateway.core.facts import Key
from gateway.core.ports import Dialect
from gateway.core.request import Body

_DECODER = msgspec.json.Decoder(dict)


def decode(data: bytes) -> Body:
    """The body as a JSON object. Raises `BadRequest` saying what is wrong with it; never echoes it.

    The decoder recurses in C with the interpreter's own limit, so a body nested a thousand deep ends here
    and not in a crash further on.
    """
    try:
        body: Body = _DECODER.decode(data)
    except msgspec.ValidationError:
        raise BadRequest("The request body must be a JSON object.") from None
    except msgspec.DecodeError as error:
        raise BadRequest(f"The request body is not valid JSON: {error}.", code="invalid_json") from None
    except UnicodeDecodeError:
        raise BadRequest("The request body is not valid UTF-8.", code="invalid_json") from None
    except RecursionError:
        raise BadRequest("The request body is nested too deeply.", code="invalid_json") from None
    return body


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
        exchange.request = self._dialects[exchange.dialect].read(exchange.operation, decode(data))
        return None
