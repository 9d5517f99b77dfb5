"""What the Python drivers share: jobs come in on standard input, what the SDK gave goes out as one JSON line each.

A driver runs under the interpreter its SDK is installed for, so this file needs the standard library only. The job says what
to do; what was seen is told in one form for all SDKs, so that one law can be held against all of them.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import Any

Job = dict[str, Any]
Saw = dict[str, Any]
Kit = Mapping[str, Callable[[Job], Saw | Coroutine[Any, Any, Saw]]]
"""What a job's `do` calls, by name."""


LOOP = asyncio.new_event_loop()
"""One for all: some SDKs keep their connections, and with them their loop."""
WAITING = 16
"""Jobs that mostly wait are done in this many threads: after the others, so that nothing but waiting is measured."""


def drive(kits: Mapping[str, Kit], packages: list[str]) -> None:
    """Does every job. What an SDK raises is what was seen; nothing ends the run early."""
    jobs = json.load(sys.stdin)["jobs"]
    say({"versions": {package: version(package) for package in packages}})
    for job in jobs:
        if not job["waits"]:
            say(done(kits, job))
    with ThreadPoolExecutor(WAITING) as pool:
        for saw in pool.map(lambda job: done(kits, job), [job for job in jobs if job["waits"]]):
            say(saw)


def done(kits: Mapping[str, Kit], job: Job) -> Saw:
    began = time.monotonic()
    try:
        made = kits[job["kit"]][job["do"]](job)
        saw = LOOP.run_until_complete(made) if isinstance(made, Coroutine) else made
    except Exception as error:
        saw = {"error": error_of(error)}
    return {**{key: job[key] for key in ("kit", "feature", "stream")}, **saw, "seconds": time.monotonic() - began}


def say(value: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def error_of(error: Exception) -> Saw:
    """The exception as an application would look at it."""
    response = getattr(error, "response", None)
    headers = getattr(response, "headers", None) or getattr(error, "litellm_response_headers", None) or {}
    body = getattr(error, "body", None)
    inner = body.get("error", body) if isinstance(body, dict) else {}
    return {
        "classes": [kind.__name__ for kind in type(error).__mro__[:-2]],
        "status": getattr(error, "status_code", None) or getattr(response, "status_code", None),
        "code": getattr(error, "code", None),
        "param": getattr(error, "param", None),
        "type": inner.get("type") if isinstance(inner, dict) else None,
        "message": str(error),
        "retry_after": headers.get("retry-after"),
    }
