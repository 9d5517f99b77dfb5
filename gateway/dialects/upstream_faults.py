"""An upstream's error, by HTTP status or inside a stream, as one of our faults.

The upstream's own words are kept only where they are the client's to know: it sent the wrong request (400, 404, 413,
422). For everything else the message is ours and fixed, so that no credential, account or address of the operator's
leaves through an error.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from gateway.core.errors import (
    ContentRefused,
    ContextOverflow,
    GatewayFault,
    UpstreamFailed,
    UpstreamLimited,
    UpstreamRefusedUs,
    UpstreamRejected,
)
from gateway.dialects.json_codec import UNREADABLE, decode

_MAX_BODY = 64 * 1024
_MAX_MESSAGE = 500
_REJECTED = frozenset({400, 404, 413, 422})
_LIMITED = frozenset({408, 429})
_REFUSED = frozenset({401, 402, 403})

_OVERFLOW_CODES = frozenset({"context_length_exceeded", "exceed_context_size_error", "model_context_window_exceeded"})
_OVERFLOW_WORDS = (
    "context length",  # OpenAI, vLLM: "maximum context length is N tokens"
    "context window",
    "context size",  # llama.cpp: "the request exceeds the available context size"
    "prompt is too long",  # Anthropic: "prompt is too long: N tokens > M maximum"
    "input is too long",
    "maximum number of tokens allowed",  # Gemini
    "must have less than",  # TGI: "`inputs` must have less than N tokens"
)
_FILTER_CODES = frozenset({"content_filter", "content_policy_violation", "data_inspection_failed"})
_FILTER_WORDS = (
    "content management policy",  # Azure
    "content filtering policy",  # Anthropic: "Output blocked by content filtering policy"
    "violating our usage policy",  # OpenAI, with the code invalid_prompt
)
_KEY_WORDS = ("api key not valid", "api_key_invalid", "invalid api key", "incorrect api key", "api key expired")

_STATUS_OF_TYPE = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "overloaded_error": 529,
    "exceed_context_size_error": 400,
    "badrequesterror": 400,
    "context_length_exceeded": 400,
}


class ErrorInfo(msgspec.Struct, frozen=True):
    """What an error object says, each part a string or empty."""

    message: str = ""
    type: str = ""
    code: str = ""
    param: str = ""


def read_error(value: Any) -> ErrorInfo:
    """Any of the shapes seen in the wild: `{"error": {...}}`, `{"error": "..."}`, `{"message": ...}`, `{"detail": ...}`, or
    the inner object itself."""
    if isinstance(value, dict):
        inner = value.get("error")
        if isinstance(inner, str):
            return ErrorInfo(message=inner)
        if isinstance(inner, dict):
            value = inner
        message = value.get("message") or value.get("detail") or ""
        if not isinstance(message, str):
            message = ""
        return ErrorInfo(message, _word(value.get("type")), _word(value.get("code")), _word(value.get("param")))
    return ErrorInfo(message=value) if isinstance(value, str) else ErrorInfo()


def fault_of(status: int, headers: Mapping[str, str], body: bytes) -> GatewayFault:
    """The fault of a reply whose status is not 2xx. `headers` names may be in any case."""
    info = ErrorInfo()
    try:
        if len(body) <= _MAX_BODY:
            info = read_error(decode(body))
    except UNREADABLE:
        pass  # a proxy's HTML page, most likely; its words help nobody
    return make(status, info, retry_after({name.lower(): value for name, value in headers.items()}))


def in_stream(value: Any) -> GatewayFault:
    """The fault of an error object that came where an answer was expected, with HTTP status 200."""
    info = read_error(value)
    status = int(info.code) if info.code.isdigit() and 400 <= int(info.code) < 600 else 0
    for word in (info.type, info.code):
        status = status or _STATUS_OF_TYPE.get(word.lower(), 0)
    return make(status or 500, info, None, place="in its answer")


def make(status: int, info: ErrorInfo, wait: float | None, *, place: str = "") -> GatewayFault:
    """One fault from a status (real, or what the error's type amounts to) and an error object."""
    told = place or f"with HTTP {status}"
    if _overflows(status, info):
        return ContextOverflow(_shorten(info.message) or "The prompt is longer than the model's context window.")
    if status in _REFUSED or (status in _REJECTED and _about_key(info)):
        return UpstreamRefusedUs("The upstream did not accept the gateway's own credential for it.")
    if _filtered(status, info):
        message = _shorten(info.message) or "The upstream's content filter stopped the request."
        return ContentRefused(message, param=info.param or None, code=_own_code(info))
    if status in _REJECTED:
        message = _shorten(info.message) or f"The upstream rejected the request {told}."
        return UpstreamRejected(message, param=info.param or None, code=_own_code(info))
    if status in _LIMITED:
        return UpstreamLimited("The upstream is limiting our requests; try again later.", retry_after=wait)
    if status == 529:
        return UpstreamFailed("The upstream is overloaded; try again later.", retry_after=wait)
    return UpstreamFailed(f"The upstream failed {told}.", retry_after=wait)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds from `retry-after-ms`, or from `retry-after` as seconds or as an HTTP date. Names in lower case."""
    seconds = _number(headers.get("retry-after-ms"))
    if seconds is not None:
        return seconds / 1000
    given = headers.get("retry-after")
    seconds = _number(given)
    if seconds is None and given:
        try:
            then = parsedate_to_datetime(given).timestamp()
            sent = headers.get("date")
            # Against the upstream's own clock where it tells it: ours may differ.
            now = parsedate_to_datetime(sent).timestamp() if sent else time.time()
        except (ValueError, TypeError, OverflowError):
            return None
        seconds = max(0.0, then - now)
    return seconds


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def _word(value: Any) -> str:
    return str(value)[:100] if isinstance(value, (str, int)) and not isinstance(value, bool) else ""


def _own_code(info: ErrorInfo) -> str | None:
    """Numbers are the status over again, not a code a client could branch on."""
    return info.code if info.code and not info.code.isdigit() else None


def _overflows(status: int, info: ErrorInfo) -> bool:
    if {info.code, info.type} & _OVERFLOW_CODES:
        return True
    if status not in _REJECTED:
        return False
    message = info.message.lower()
    return any(words in message for words in _OVERFLOW_WORDS)


def _filtered(status: int, info: ErrorInfo) -> bool:
    """The upstream's own content filter, and not a mistake in the request."""
    if status not in _REJECTED:
        return False
    message = info.message.lower()
    return bool({info.code, info.type} & _FILTER_CODES) or any(words in message for words in _FILTER_WORDS)


def _about_key(info: ErrorInfo) -> bool:
    """Some providers (Gemini) tell of a bad key with 400; its message may quote the key."""
    message = info.message.lower()
    return any(words in message for words in _KEY_WORDS)


def _shorten(message: str) -> str:
    plain = " ".join(message[: 4 * _MAX_MESSAGE].split())
    return plain if len(plain) <= _MAX_MESSAGE else plain[: _MAX_MESSAGE - 1] + "…"
