"""Request headers in, response headers out."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

from gateway.core.errors import GatewayFault
from gateway.core.exchange import CacheNote, Exchange, Trace, new_span_id, new_trace_id
from gateway.http.asgi import Headers

RETRY_AFTER_CAP = 60.0
"""Seconds. Some SDKs sleep as long as they are told, so what we tell is bounded."""

_CREDENTIALS = ("authorization", "x-api-key", "api-key", "x-goog-api-key")
_DROPPED = frozenset({*_CREDENTIALS, "cookie", "proxy-authorization"})
_FINAL = frozenset({"insufficient_quota", "not_cached", "upstream_authentication"})
"""Codes of faults that SDKs would retry by their status, in vain."""
_DEADLINES = (
    ("x-tidegate-timeout-ms", 0.001),
    ("x-litellm-timeout", 1.0),
    ("x-portkey-request-timeout", 0.001),
    ("x-stainless-read-timeout", 1.0),
    ("x-stainless-timeout", 1.0),
    ("x-server-timeout", 1.0),
)
"""Headers that say how long the whole answer may take, and the seconds in their unit. First what was asked for on purpose,
of us or of a gateway used before, then what SDKs announce of themselves."""
_FIRST_TOKENS = (
    ("x-tidegate-ttft-timeout-ms", 0.001),
    ("x-litellm-stream-timeout", 1.0),
    ("cf-aig-request-timeout", 0.001),
)
"""How long a call may take to begin its answer. Cloudflare's name says otherwise; its meaning is this one."""
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{7,63}")
_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")


def decode(raw: Headers) -> tuple[dict[str, str], str | None]:
    """Lower-case names to values, without credentials and cookies, and the credential found."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in raw:
        headers[raw_name.decode("latin-1").lower()] = raw_value.decode("latin-1")
    credential: str | None = None
    for name in _CREDENTIALS:
        value_text = headers.get(name)
        if value_text is not None and not credential:
            scheme, _, rest = value_text.partition(" ")
            credential = rest.strip() if scheme.lower() == "bearer" else value_text.strip()
    for name in _DROPPED & headers.keys():
        del headers[name]
    return headers, credential or None


def exchange_id(headers: Mapping[str, str], fresh: str) -> str:
    """The client's own request id if it is plain enough to be logged, else a fresh one."""
    given = headers.get("x-request-id", "")
    return given if _ID.fullmatch(given) else fresh


def trace(headers: Mapping[str, str], sample: bool) -> Trace:
    """Joins the client's trace, or starts one. The caller's sampling decision is honoured."""
    match = _TRACEPARENT.fullmatch(headers.get("traceparent", ""))
    if match is None or not int(match[1], 16) or not int(match[2], 16):
        return Trace(new_trace_id(), new_span_id(), "", sample)
    return Trace(match[1], new_span_id(), match[2], bool(int(match[3], 16) & 1))


def timeout(headers: Mapping[str, str], default: float) -> float:
    """The caller's deadline in seconds: its own header, or the time-out its SDK announces. Never above `default`."""
    asked = _seconds(headers, _DEADLINES)
    return default if asked is None else min(default, asked)


def first_token(headers: Mapping[str, str]) -> float | None:
    """How many seconds the caller gives each upstream to begin its answer; None: it does not say."""
    return _seconds(headers, _FIRST_TOKENS)


def _seconds(headers: Mapping[str, str], names: Sequence[tuple[str, float]]) -> float | None:
    """Of the first name with a number that makes sense."""
    for name, scale in names:
        given = headers.get(name)
        if given is not None:
            try:
                seconds = float(given) * scale
            except ValueError:
                continue
            if math.isfinite(seconds) and seconds > 0:
                return seconds
    return None


def told(exchange: Exchange, *, answered: bool = True) -> Headers:
    """What was decided, as far as it is known when the headers go out. Not `answered`: nothing of who or what
    answers is."""
    out: list[tuple[str, str]] = [("x-request-id", exchange.id), ("request-id", exchange.id)]
    add = out.append
    if exchange.route:
        add(("x-tidegate-route", exchange.route))
    if exchange.intent:
        add(("x-tidegate-intent", exchange.intent))
    if exchange.action:
        add(("x-tidegate-action", exchange.action))
    if exchange.tier:
        add(("x-tidegate-tier", exchange.tier))
    if answered:
        out.extend(_served(exchange))
        out.extend(_cache(exchange.cache))
    if exchange.verdicts:
        add(("x-tidegate-guardrails", ",".join(verdict.header for verdict in exchange.verdicts)))
    if exchange.queued:
        add(("x-tidegate-queued-ms", f"{exchange.queued / 1e6:.2f}"))
    add(("x-tidegate-overhead-ms", f"{(exchange.elapsed() - exchange.waited) / 1e6:.2f}"))
    if exchange.cost_usd is not None and answered:
        add(("x-tidegate-cost-usd", f"{exchange.cost_usd:.8f}"))
    if exchange.estimated_usd is not None and answered:
        add(("x-tidegate-cost-estimated-usd", f"{exchange.estimated_usd:.8f}"))
    if exchange.degraded:
        add(("x-tidegate-degraded", ",".join(dict.fromkeys(exchange.degraded))))
    if exchange.warnings:
        add(("x-tidegate-warning", ",".join(exchange.warnings)))
    out.extend(exchange.response_headers.items())
    return [(name.encode("latin-1"), _clean(value)) for name, value in out]


def _served(exchange: Exchange) -> list[tuple[str, str]]:
    out: list[tuple[str, str]] = []
    model = exchange.served_model or (exchange.plan.alias if exchange.plan else "")
    if model:
        out.append(("x-tidegate-model", model))
    attempts = len(exchange.attempts)
    if exchange.calling is not None:
        out.append(("x-tidegate-provider", exchange.calling.provider))
        if exchange.calling.model:
            out.append(("x-tidegate-upstream-model", exchange.calling.model))
        attempts += 1
    if attempts:
        out.append(("x-tidegate-attempts", str(attempts)))
    return out


def _cache(note: CacheNote) -> list[tuple[str, str]]:
    out: list[tuple[str, str]] = [("x-tidegate-cache", note.result)]
    if note.id:
        out.append(("x-tidegate-cache-id", note.id))
    if note.similarity is not None:
        out.append(("x-tidegate-cache-similarity", f"{note.similarity:.4f}"))
    return out


def of_fault(fault: GatewayFault) -> Headers:
    """How long to wait, if waiting helps; and whether to try again at all."""
    out: Headers = [(name.encode("latin-1"), _clean(value)) for name, value in fault.headers.items()]
    if fault.retry_after is not None:
        seconds = min(RETRY_AFTER_CAP, max(0.0, fault.retry_after))
        out.append((b"retry-after", str(math.ceil(seconds)).encode()))
        out.append((b"retry-after-ms", str(math.ceil(seconds * 1000)).encode()))
    if fault.wire.openai_code in _FINAL:
        out.append((b"x-should-retry", b"false"))
    return out


def _clean(value: str) -> bytes:
    """Header values hold no line breaks and nothing outside Latin-1, whatever a name in the config holds."""
    return value.replace("\r", " ").replace("\n", " ").encode("latin-1", "replace")
