"""One call sent with what its signer adds; once more where the signer knows better after a refusal."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from gateway.core.errors import BadRequest, UpstreamRefusedUs
from gateway.core.ports import Call
from gateway.providers.http_client import HttpReply
from gateway.providers.signing.signer import Signer

_UNSIGNED = frozenset((401, 403))
"""What an upstream answers to a credential that it does not accept."""

Headers = Sequence[tuple[str, str]]


async def send_signed(
    signer: Signer,
    call: Call,
    url: str,
    headers: Headers,
    deadline: float,
    send: Callable[[Headers], Awaitable[HttpReply]],
) -> HttpReply:
    """`deadline`: loop time after which no credential is waited for. A fault of the credential is none of the endpoint's."""
    if call.sending is not None and signer.reads_body:
        raise BadRequest("The provider's calls are signed, and a body that is passed on as it comes cannot be.")
    again = call.sending is None  # a body that was passed on is gone
    while True:
        try:
            async with asyncio.timeout_at(deadline):
                added = await signer.headers(call.method, url, headers, call.body)
        except TimeoutError:
            raise UpstreamRefusedUs("The gateway got no credential for the provider of this model in time.") from None
        http = await send([*headers, *added.items()])
        if not again or http.status not in _UNSIGNED or not signer.refused(http.status, http.headers, added):
            return http
        again = False
        await http.aclose()
