"""Words of Bedrock's Converse API that differ from the canonical ones: stop reasons, usage, and faults.

In `extra` this dialect's own fields travel under one key, `converse`; what a reasoning block is sealed with travels as
Anthropic's does (`anthropic`, `signatures`), because the models that seal are Anthropic's and their clients give it back.
"""

from __future__ import annotations

import re
from typing import Any

from gateway.core.errors import ContextOverflow, GatewayFault, UpstreamFailed, UpstreamRejected, UpstreamTimeout
from gateway.core.events import Usage
from gateway.dialects import anthropic_extra
from gateway.dialects.upstream_faults import ErrorInfo, make

NAME = "converse"

REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
}
MALFORMED = frozenset({"malformed_model_output", "malformed_tool_use"})
"""Stop reasons of an answer that is no good, whatever there is of it."""

_STATUS = {
    "validationexception": 400,
    "conflictexception": 400,
    "servicequotaexceededexception": 429,
    "accessdeniedexception": 403,
    "unrecognizedclientexception": 403,
    "invalidsignatureexception": 403,
    "expiredtokenexception": 403,
    "resourcenotfoundexception": 404,
    "modelnotreadyexception": 429,
    "throttlingexception": 429,
    "modelerrorexception": 500,
    "modelstreamerrorexception": 500,
    "internalserverexception": 500,
    "serviceunavailableexception": 503,
}
"""By the exception's name in small letters, which says more than the status: a quota that is spent comes as 400."""
_TIMEOUT = "modeltimeoutexception"
_ACCOUNT = re.compile(r"(arn:[\w-]*:[\w-]*:[\w-]*:)\d{12}")


def fault_of(name: str, status: int, message: str, wait: float | None, *, place: str = "") -> GatewayFault:
    """`name`: the exception's, as the header or the stream's message has it (`ValidationException:http://...`)."""
    kind = name.partition(":")[0].rpartition("#")[2].lower()
    if kind == _TIMEOUT:
        return UpstreamTimeout("The model did not answer the provider in time.")
    status = _STATUS.get(kind, status)
    info = ErrorInfo(_ACCOUNT.sub(r"\1***", message))  # the operator's account is nobody else's business
    fault = make(status, info, wait, place=place)
    if type(fault) is UpstreamRejected and "too many input tokens" in message.lower():
        return ContextOverflow(fault.message)
    return fault


def malformed(reason: str) -> UpstreamFailed:
    what = "tool call" if "tool" in reason else "answer"
    return UpstreamFailed(f"The model's {what} was malformed, as its provider says.")


def usage_of(usage: dict[str, Any]) -> Usage:
    """Converse counts cached input apart; the canonical count includes it."""
    read, written = _count(usage.get("cacheReadInputTokens")), _count(usage.get("cacheWriteInputTokens"))
    return Usage(
        input_tokens=_count(usage.get("inputTokens")) + read + written,
        output_tokens=_count(usage.get("outputTokens")),
        cached_tokens=read,
        cache_write_tokens=written,
        raw=usage,
    )


def sealed(signature: str) -> dict[str, Any]:
    return {anthropic_extra.NAME: {"signatures": [signature]}}


def redacted(data: str) -> dict[str, Any]:
    """Reasoning that only the model's provider can read, in the form that Anthropic's clients give back."""
    return {anthropic_extra.NAME: {"block": {"type": "redacted_thinking", "data": data}}}


def _count(value: Any) -> int:
    return max(0, value) if type(value) is int else 0
