"""The faults an exchange can end in, and the one table that says what each looks like on the wire.

A class exists only where its wire form or its retry rule differs. Faults are inert: they carry a message that is
safe to show, never an upstream body, never a credential. They are logged once, by the spine's receipt.
A client that goes away is an outcome and a refusal is an answer; neither has a wire form here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec


class Wire(msgspec.Struct, frozen=True):
    """How a fault is told: HTTP status, OpenAI `type` and `code`, Anthropic `type`, and the retry rule."""

    status: int
    openai_type: str
    openai_code: str | None
    anthropic_type: str
    next_target: bool = False
    """Dispatch may try another target (or the same again) after this one."""


class ClientGone(Exception):
    """The client hung up before its request was whole."""


class GatewayFault(Exception):
    """Base of all faults. `message` is shown to the client as it stands."""

    wire = Wire(500, "server_error", "internal_error", "api_error")

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        """The request field at fault, such as `messages[0].content`; JSON null when there is none."""
        self.code = code or self.wire.openai_code
        self.retry_after = retry_after
        """Seconds; becomes `Retry-After`, capped by the edge."""
        self.headers = dict(headers or {})
        self.elsewhere = False
        """Another endpoint of the same provider can be asked, so there is no need to wait."""
        self.upstream_status: int | None = None
        """What the backend answered, for records."""

    @property
    def name(self) -> str:
        """For logs, metrics and `error.type`: the class's name in snake case."""
        return NAMES[type(self)]


# --- the client's fault


class BadRequest(GatewayFault):
    wire = Wire(400, "invalid_request_error", None, "invalid_request_error")


class Untranslatable(BadRequest):
    """The target's dialect cannot say what the request says. `param` names the field."""

    wire = Wire(400, "invalid_request_error", "unsupported_parameter", "invalid_request_error")


class Unauthenticated(GatewayFault):
    wire = Wire(401, "authentication_error", "invalid_api_key", "authentication_error")


class Forbidden(GatewayFault):
    wire = Wire(403, "permission_error", "permission_denied", "permission_error")


class NotFound(GatewayFault):
    wire = Wire(404, "invalid_request_error", "not_found", "not_found_error")


class UnknownModel(GatewayFault):
    wire = Wire(404, "invalid_request_error", "model_not_found", "not_found_error")


class MethodNotAllowed(GatewayFault):
    wire = Wire(405, "invalid_request_error", "method_not_allowed", "invalid_request_error")


class SlowBody(GatewayFault):
    """The client took too long to send its request."""

    wire = Wire(408, "invalid_request_error", "request_timeout", "invalid_request_error")


class TooLarge(GatewayFault):
    wire = Wire(413, "invalid_request_error", "request_too_large", "request_too_large")


class RateLimited(GatewayFault):
    """Our own limit. `retry_after` is always set."""

    wire = Wire(429, "rate_limit_error", "rate_limit_exceeded", "rate_limit_error")


class BudgetSpent(GatewayFault):
    """Waiting does not help, so the client is told not to retry (`x-should-retry: false`)."""

    wire = Wire(429, "insufficient_quota", "insufficient_quota", "rate_limit_error")


# --- the gateway's fault


class Internal(GatewayFault):
    """A bug of ours. The message is fixed; the traceback goes to the log only."""


class NotCached(GatewayFault):
    """The client said `only-if-cached` and no cache has the answer. 504 as HTTP has it (RFC 9111, 5.2.1.7); retrying
    does not help, so it is told with `x-should-retry: false`."""

    wire = Wire(504, "invalid_request_error", "not_cached", "invalid_request_error")


class Unavailable(GatewayFault):
    """Nothing can take the request now: draining, queue full, every target's breaker open."""

    wire = Wire(503, "server_error", "service_unavailable", "overloaded_error")


class Overloaded(Unavailable):
    """A model has no place for the request, and none came free in time; another model may have one. `why`: `full`, `shed` or
    `late`. `retry_after` is always set."""

    wire = Wire(503, "server_error", "queue_full", "overloaded_error", next_target=True)

    def __init__(self, message: str, *, why: str = "full", **more: Any) -> None:
        super().__init__(message, **more)
        self.why = why


class CheckFailed(GatewayFault):
    """A check with `on_error: closed` could not run, so the request may not pass."""

    wire = Wire(503, "server_error", "guardrail_unavailable", "api_error")


class DeadlineExceeded(GatewayFault):
    wire = Wire(504, "server_error", "timeout", "api_error")


# --- the upstream's fault


class UpstreamRejected(GatewayFault):
    """The upstream says the request itself is wrong (400, 404, 413, 422). Another target would say the same."""

    wire = Wire(400, "invalid_request_error", None, "invalid_request_error")


class ContextOverflow(UpstreamRejected):
    """Prompt longer than the model's window. Only `on_context_overflow` targets are tried next."""

    wire = Wire(400, "invalid_request_error", "context_length_exceeded", "invalid_request_error")


class ContentRefused(UpstreamRejected):
    """The upstream's content filter stopped the prompt or the answer. Only `on_content_policy` models are asked next."""

    wire = Wire(400, "invalid_request_error", "content_filter", "invalid_request_error")


class UpstreamRefusedUs(GatewayFault):
    """The upstream does not accept *our* credential (401, 403). Told as 502: the client's key is fine."""

    wire = Wire(502, "server_error", "upstream_authentication", "api_error", next_target=True)


class UpstreamLimited(GatewayFault):
    wire = Wire(429, "rate_limit_error", "rate_limit_exceeded", "rate_limit_error", next_target=True)


class UpstreamFailed(GatewayFault):
    """5xx, a reset, a refused connection, or a reply that does not parse."""

    wire = Wire(502, "server_error", "upstream_error", "api_error", next_target=True)


class UpstreamTimeout(GatewayFault):
    """Connect, first token, idle or total time-out of one attempt: `clock` is `connect`, `ttft`, `idle` or `total`."""

    wire = Wire(504, "server_error", "upstream_timeout", "api_error", next_target=True)

    def __init__(self, message: str, *, clock: str = "", **more: Any) -> None:
        super().__init__(message, **more)
        self.clock = clock


class StreamCut(GatewayFault):
    """The stream ended without the upstream's terminal mark. Never made to look whole."""

    wire = Wire(502, "server_error", "stream_cut", "api_error", next_target=True)


def _snake(name: str) -> str:
    return "".join("_" + c.lower() if c.isupper() and i else c.lower() for i, c in enumerate(name))


def _family(root: type[GatewayFault]) -> list[type[GatewayFault]]:
    return [root, *(fault for child in root.__subclasses__() for fault in _family(child))]


NAMES: dict[type[GatewayFault], str] = {fault: _snake(fault.__name__) for fault in _family(GatewayFault)}
