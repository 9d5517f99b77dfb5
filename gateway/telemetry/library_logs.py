"""What libraries log, made safe: they are told texts, and some write them out.

Seen in the libraries we use: a validator that logs the account number it could not check, and asyncio, which logs the
repr of a lost exception. So a library's line keeps its wording and its numbers; texts in it become their types, an
exception its type and where it was raised.
"""

from __future__ import annotations

import contextlib
import logging
from typing import Any

from gateway.telemetry.redact import where

_LONGEST = 300
_LONGEST_START = 4000
_PLAIN = (int, float, bool, type(None))
_LIFESPAN = ("uvicorn.error", "on")
"""uvicorn tells of a failed start with the whole traceback as its message. That is before the first request and after
the last one: nobody's text is in it, and the reason is what an operator needs."""


class Handler(logging.Handler):
    """Standard logging's end: everything goes through our one logger."""

    def __init__(self, logger: Any) -> None:
        super().__init__(logging.WARNING)
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        line: dict[str, Any] = {"source": record.name, "said": said(record)}
        if record.exc_info and record.exc_info[0] is not None:
            kind, _, trace = record.exc_info
            line["kind"], line["at"] = kind.__name__, where(trace)
        tell = self._logger.error if record.levelno >= logging.ERROR else self._logger.warning
        tell("library", **line)


def said(record: logging.LogRecord) -> str:
    """The message's first line, with numbers filled in and anything else as its type."""
    template = record.msg if isinstance(record.msg, str) else f"<{type(record.msg).__name__}>"
    if (record.name, record.module) == _LIFESPAN:
        return template[:_LONGEST_START]
    if record.args:
        # Where the arguments do not fit, the template stands as it is: a log line must not raise.
        with contextlib.suppress(TypeError, ValueError, KeyError):
            template = template % _shown(record.args)
    return template.split("\n", 1)[0][:_LONGEST]


def _shown(args: Any) -> Any:
    if isinstance(args, dict):
        return {name: _one(value) for name, value in args.items()}
    return tuple(_one(value) for value in args)


def _one(value: Any) -> Any:
    return value if isinstance(value, _PLAIN) else f"<{type(value).__name__}>"


def take_over(logger: Any) -> None:
    """Makes `logger` the only way out for standard logging. Replaces what was set up before."""
    logging.basicConfig(level=logging.WARNING, handlers=[Handler(logger)], force=True)
