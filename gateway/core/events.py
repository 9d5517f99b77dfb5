"""Canonical events: what an answer is made of, whatever wire it came over and whatever wire it leaves on.

A streamed answer is a series of these; an answer that is not streamed is the same series, folded
(`core.response`). A check is therefore written once and holds for both, in every dialect.

`extra` holds fields the codec read but does not own (log-probabilities, annotations, a vendor's timings):
the same dialect gives them back untouched, another dialect leaves them out.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Extra = dict[str, Any]


class Event(msgspec.Struct, frozen=True, gc=False, eq=True):
    """Base of all events; never made itself."""


class Started(Event, frozen=True):
    """The upstream began to answer. Comes once, first."""

    id: str
    model: str
    created: int
    """Unix seconds."""
    extra: Extra | None = None


class Text(Event, frozen=True):
    """A piece of the visible answer of one choice."""

    text: str
    choice: int = 0
    extra: Extra | None = None


class Reasoning(Event, frozen=True):
    """A piece of the model's reasoning, shown or not, of one choice."""

    text: str
    choice: int = 0
    extra: Extra | None = None


class ToolCall(Event, frozen=True):
    """A piece of one tool call. `id` and `name` come with the first piece only; `arguments` is raw JSON text."""

    call: int
    arguments: str = ""
    id: str | None = None
    name: str | None = None
    choice: int = 0
    extra: Extra | None = None


class Unknown(Event, frozen=True):
    """A delta the codec does not know. Kept for the same dialect; output checks that must see all text hold it."""

    fields: Extra
    choice: int = 0


class Relayed(Event, frozen=True):
    """A whole body with no events in it (vectors, scores), as it came: what a cache keeps of it."""

    body: bytes


class Piece(Event, frozen=True):
    """Some bytes of a body that is passed on and not understood."""

    data: bytes


class ChoiceFinished(Event, frozen=True):
    """One choice ended. `reason` is canonical: stop, length, tool_calls, content_filter, or the upstream's own word."""

    reason: str
    choice: int = 0
    extra: Extra | None = None


class Usage(Event, frozen=True):
    """Token counts. May come more than once; the last one counts. `raw` is the upstream's own object."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    """Input tokens read from the provider's prompt cache; included in `input_tokens`."""
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    """Included in `output_tokens`."""
    estimated: bool = False
    raw: Extra | None = None
    extra: Extra | None = None
    """What came beside the usage object (a vendor's timings)."""


class Finished(Event, frozen=True):
    """The upstream's own terminal mark was seen: this answer is whole. A stream that lacks it was cut."""


class Failed(Event, frozen=True):
    """The upstream reported an error inside the stream, or the stream broke. Comes last."""

    error: Exception


class Remedy(msgspec.Struct, frozen=True, gc=False):
    """What may be done instead of refusing a stopped answer, as long as nothing of it was released."""

    kind: Literal["retry", "hedge", "fallback", "reply", "handoff", "pass"]
    attempts: int = 1
    """How often, for `retry` and `hedge`."""
    text: str = ""
    """What the client is told, for `reply` and `handoff`."""
    team: str = ""
    """Who takes over, for `handoff`."""


class Blocked(Event, frozen=True):
    """An output check refuses what would come next. Comes last; nothing after it may be sent."""

    check: str
    category: str
    message: str = ""
    remedies: tuple[Remedy, ...] = ()
    """Tried in order. None, or all spent: the answer is refused."""
    retract: bool = False
    """What was sent must be taken back: it says what the check forbids. Only where the client asked for such streams."""


class Frame(msgspec.Struct, frozen=True, gc=False):
    """The events of one wire frame, beside the frame itself.

    `raw` is the frame's JSON payload in `dialect`, as it came. When no session changed the events and the
    client speaks the same dialect, the outlet relays `raw` instead of encoding again.
    """

    events: tuple[Event, ...]
    raw: bytes | None = None
    dialect: str = ""
