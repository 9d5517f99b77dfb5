"""Logs: structlog in its fastest form, one JSON line for each exchange, and nothing a user wrote in any of them."""

from __future__ import annotations

import logging
import sys
import traceback
from typing import Any, TextIO

import msgspec
import structlog

from gateway.core.exchange import Exchange
from gateway.core.receipt import Receipt
from gateway.telemetry.redact import Pseudonyms

Logger = Any


def setup(form: str, out: TextIO | None = None) -> Logger:
    """The process's logger. `form`: `json`, `text`, or `off`."""
    stream = out or sys.stderr
    level = logging.CRITICAL if form == "off" else logging.INFO
    timestamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
    processors: list[Any] = [structlog.processors.add_log_level, timestamp]
    factory: Any
    if form == "text":
        processors.append(structlog.dev.ConsoleRenderer(colors=stream.isatty()))
        factory = structlog.WriteLoggerFactory(file=stream)
    else:
        processors.append(structlog.processors.JSONRenderer(serializer=_dumps))
        factory = structlog.BytesLoggerFactory(file=getattr(stream, "buffer", stream))  # type: ignore[arg-type]
    logging.basicConfig(level=logging.WARNING, stream=stream, format="%(levelname)s %(name)s %(message)s", force=True)
    return structlog.wrap_logger(
        factory(),
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        context_class=dict,
        cache_logger_on_first_use=True,
    )


def _dumps(value: Any, **_kwargs: Any) -> bytes:
    return msgspec.json.encode(value, enc_hook=str)


class LogLine:
    """Recorder `log`: the one line of an exchange."""

    name = "log"
    essential = True

    def __init__(self, logger: Logger, pseudonyms: Pseudonyms) -> None:
        self._logger = logger
        self._pseudonyms = pseudonyms

    async def record(self, receipt: Receipt) -> None:
        line: dict[str, Any] = {
            "id": receipt.id,
            "outcome": receipt.outcome,
            "status": receipt.status,
            "ms": round(receipt.duration / 1e6, 2),
            "operation": receipt.operation,
            "route": receipt.route,
            "model": receipt.model,
            "cache": receipt.cache,
            "trace": receipt.trace_id,
            "key": receipt.key_id,
        }
        if receipt.attempts:
            last = receipt.attempts[-1]
            line["provider"] = last.provider
            line["attempts"] = len(receipt.attempts)
        if receipt.overhead is not None:
            line["overhead_ms"] = round(receipt.overhead / 1e6, 2)
        if receipt.usage is not None:
            line["tokens_in"], line["tokens_out"] = receipt.usage.input_tokens, receipt.usage.output_tokens
        optional = {
            "stream": receipt.stream,
            "served_model": receipt.served_model if receipt.served_model != receipt.model else "",
            "intent": receipt.intent,
            "error": receipt.error,
            "cost_usd": receipt.cost_usd,
            "guardrails": [verdict.header for verdict in receipt.verdicts],
            "degraded": receipt.degraded,
            "user": self._pseudonyms.of(receipt.user) if receipt.user != receipt.key_id else "",
        }
        line.update((name, value) for name, value in optional.items() if value)
        self._logger.info("exchange", **line)


def crash(logger: Logger, exchange: Exchange, error: BaseException) -> None:
    """A bug: where it happened, without any value. Messages and locals may hold what a user wrote, so neither is kept."""
    frames = [
        f"{frame.filename.rsplit('/', 3)[-1]}:{frame.lineno} {frame.name}"
        for frame in traceback.extract_tb(error.__traceback__)
    ]
    logger.error("crash", id=exchange.id, kind=type(error).__name__, at=frames[-8:])
