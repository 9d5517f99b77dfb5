"""The faults by name, assembled from ``table_http`` and ``table_stream``, and the models that are not faults."""

from __future__ import annotations

import difflib
from itertools import count

from gateway.faults import wire
from gateway.faults.fault import Fault
from gateway.faults.play import Play, answer
from gateway.faults.record import Received
from gateway.faults.steps import Item
from gateway.faults.table_events import EVENT_FAULTS
from gateway.faults.table_http import HTTP_FAULTS
from gateway.faults.table_stream import OK, STREAM_FAULTS

FAULTS: dict[str, Fault] = {fault.name: fault for fault in (*HTTP_FAULTS, *STREAM_FAULTS, *EVENT_FAULTS)}
ECHO_SIZE = 16  # characters in a delta


def _pieces(text: str) -> list[Item]:
    return [text[at : at + ECHO_SIZE] for at in range(0, len(text), ECHO_SIZE)] or [""]


def _echo_body(asked: Received) -> list[Item]:
    return _pieces(asked.body.decode("utf-8", "replace"))


def _echo_headers(asked: Received) -> list[Item]:
    return _pieces(wire.encode([list(pair) for pair in asked.headers]).decode())


def _echo_last(asked: Received) -> list[Item]:
    content = asked.messages[-1].get("content") if asked.messages else ""
    return _pieces(content if isinstance(content, str) else wire.encode(content).decode())


#: Models that are always there and do nothing wrong.
BUILT_IN: dict[str, Play] = {
    "ok": OK,
    "echo": Play(_echo_body),
    "echo:headers": Play(_echo_headers),
    "echo:last": Play(_echo_last),
}


def unknown(model: str) -> Play:
    """The 404 for a model that nobody scripted; for a mistyped fault, with the nearest names."""
    near = difflib.get_close_matches(model.removeprefix("fault:"), FAULTS, 3)
    hint = f" (did you mean {', '.join(f'fault:{name}' for name in near)}?)" if near else ""
    told = f"The model {model[:100]!r} does not exist{hint}"
    return answer(404, wire.error(told, "invalid_request_error", "model_not_found"))


def listing() -> str:
    """The table of faults as text, one line each: name, how a streamed and a plain request end, what happens."""
    rows = [("fault:...", "streamed", "not streamed", "what happens")]
    rows += [(fault.name, str(fault.seen), str(fault.plain_seen), fault.says) for fault in FAULTS.values()]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]) for row in rows
    ]
    rule = "  ".join("-" * width for width in (*widths, 40))
    return "\n".join(line if number else f"{line}\n{rule}" for number, line in zip(count(), lines, strict=False))
