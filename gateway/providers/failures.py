"""What broke between us and an upstream, as the faults that clients, dispatch and records know."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.core.errors import (
    ContentRefused,
    ContextOverflow,
    GatewayFault,
    StreamCut,
    UpstreamFailed,
    UpstreamLimited,
    UpstreamRefusedUs,
    UpstreamRejected,
    UpstreamTimeout,
)
from gateway.providers.http_errors import (
    BadReply,
    ConnectFailed,
    ConnectTimeout,
    Disconnected,
    HttpError,
    PoolFull,
    ReadTimeout,
)
from gateway.providers.profile import ErrorRule

_FAULTS: dict[str, type[GatewayFault]] = {
    "context_overflow": ContextOverflow,
    "content_refused": ContentRefused,
    "upstream_rejected": UpstreamRejected,
    "upstream_refused_us": UpstreamRefusedUs,
    "upstream_limited": UpstreamLimited,
    "upstream_failed": UpstreamFailed,
}
_MESSAGES = {
    "context_overflow": "The prompt is longer than the model's context window.",
    "content_refused": "The upstream's content filter stopped the request.",
    "upstream_rejected": "The upstream rejected the request.",
    "upstream_refused_us": "The upstream did not accept the gateway's own credential for it.",
    "upstream_limited": "The upstream is limiting our requests; try again later.",
    "upstream_failed": "The upstream failed.",
}


def fault_of(error: HttpError, *, streaming: bool) -> GatewayFault:
    """`streaming`: the reply was an event stream under way."""
    match error:
        case ConnectTimeout():
            return UpstreamTimeout("No connection to the upstream within the connect time-out.", clock="connect")
        case ReadTimeout():
            return UpstreamTimeout("The upstream did not answer in time.")
        case ConnectFailed():
            return UpstreamFailed("The upstream cannot be reached.")
        case PoolFull():
            return UpstreamFailed("All connections to the upstream are in use; try again later.")
        case Disconnected() if streaming:
            return StreamCut("The upstream's stream broke off before its end.")
        case Disconnected():
            return UpstreamFailed("The upstream closed the connection before its answer was whole.")
        case BadReply():
            return UpstreamFailed("The upstream's reply could not be read.")
        case _:
            return UpstreamFailed("The upstream failed.")


def overridden(fault: GatewayFault, rules: Sequence[ErrorRule], status: int, body: bytes) -> GatewayFault:
    """The fault of an error reply by the profile's first rule that fits, else `fault` as the dialect read it."""
    text = ""
    for rule in rules:
        if rule.status is not None and rule.status != status:
            continue
        if rule.contains:
            text = text or body.decode("utf-8", "replace").lower()
            if rule.contains.lower() not in text:
                continue
        kind = _FAULTS[rule.fault]
        if type(fault) is kind:
            return fault
        return kind(_MESSAGES[rule.fault], retry_after=fault.retry_after)
    return fault


def says_of_health(fault: GatewayFault) -> bool | None:
    """For the breaker: False when the endpoint itself failed, True when it is alive and refused, None when it says
    nothing. A limit is not a failure: an endpoint at its limit must not be punished for telling so."""
    if isinstance(fault, UpstreamFailed | UpstreamTimeout | StreamCut):
        return False
    if isinstance(fault, UpstreamRejected | UpstreamLimited):
        return True
    return None
