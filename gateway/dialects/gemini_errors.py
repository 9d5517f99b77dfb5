"""Errors and model lists in Google's shape, and what only Google's errors tell."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from gateway.core.errors import GatewayFault
from gateway.dialects import overflow
from gateway.dialects.json_codec import UNREADABLE, decode, encode
from gateway.dialects.upstream_faults import fault_of

_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    408: "DEADLINE_EXCEEDED",
    413: "INVALID_ARGUMENT",
    422: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_METHODS = ["generateContent", "streamGenerateContent", "countTokens", "embedContent", "batchEmbedContents"]
"""Told of every alias: which of them the model behind it can is its provider's to say."""
_TOO_LONG = "exceeds the maximum number of tokens allowed"
"""The provider's words, after "The input token count (N)"."""
_RPC = "type.googleapis.com/google.rpc."
_MOST_DELAY = 60.0
"""Seconds told to a client: some sleep as long as they are told."""
_MOST_BODY = 64 * 1024


def error_body(fault: GatewayFault, exchange_id: str) -> bytes:
    """`code` is the HTTP status, `status` Google's word for it; our own code is the `reason` in the details."""
    status = fault.wire.status
    info: dict[str, Any] = {
        "@type": f"{_RPC}ErrorInfo",
        "reason": (fault.code or fault.name).upper(),
        "domain": "tidegate",
    }
    if exchange_id:
        info["metadata"] = {"requestId": exchange_id}
    details = [info]
    if fault.param:
        violation = {"field": fault.param, "description": fault.message}
        details.append({"@type": f"{_RPC}BadRequest", "fieldViolations": [violation]})
    if fault.retry_after is not None:
        seconds = math.ceil(min(_MOST_DELAY, max(0.0, fault.retry_after)))
        details.append({"@type": f"{_RPC}RetryInfo", "retryDelay": f"{seconds}s"})
    message = overflow.told(fault, _TOO_LONG, "The input token count ")
    word = _STATUSES.get(status, "INTERNAL" if status >= 500 else "INVALID_ARGUMENT")
    return encode({"error": {"code": status, "message": message, "status": word, "details": details}})


def model_list(aliases: Sequence[str], *, one: bool) -> bytes:
    """`GET /v1beta/models`, or with `one` the object of `GET /v1beta/models/{id}`."""
    models = [
        {
            "name": f"models/{alias}",
            "displayName": alias,
            "version": "1",
            "supportedGenerationMethods": _METHODS,
        }
        for alias in aliases
    ]
    return encode(models[0] if one else {"models": models})


def upstream_fault(status: int, headers: Mapping[str, str], body: bytes) -> GatewayFault:
    """As for every dialect, but here the body tells how long to wait, where no header does."""
    try:
        told = decode(body) if len(body) <= _MOST_BODY else None
    except UNREADABLE:
        told = None
    if type(told) is list and len(told) == 1:  # streams that were asked for as an array fail as one
        told, body = told[0], encode(told[0])
    fault = fault_of(status, headers, body)
    if status in (429, 503) and fault.retry_after is None:
        fault.retry_after = _delay(told)
    return fault


def _delay(told: Any) -> float | None:
    """Seconds of `{"@type": ".../RetryInfo", "retryDelay": "34.5s"}`."""
    error = told.get("error") if type(told) is dict else None
    details = error.get("details") if type(error) is dict else None
    for detail in details if type(details) is list else ():
        given = detail.get("retryDelay") if type(detail) is dict else None
        if type(given) is str and given.endswith("s"):
            try:
                seconds = float(given[:-1])
            except ValueError:
                return None
            return seconds if math.isfinite(seconds) and seconds >= 0 else None
    return None
