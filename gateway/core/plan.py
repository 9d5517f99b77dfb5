"""What the router decided: which targets may answer, in which order, under which limits. Data only."""

from __future__ import annotations

from typing import Literal

import msgspec

Capability = Literal[
    "tools", "json", "json_schema", "logprobs", "vision", "files", "audio", "reasoning", "several_answers"
]
"""What a request may need of a model beyond text in, text out. `json`: any JSON object; `json_schema`: one of a given
shape; `files`: documents that are not plain text; `several_answers`: `n` above 1."""


class Price(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """USD per million tokens. `cached_input` and `reasoning` fall back to `input` and `output`."""

    input: float
    output: float
    cached_input: float | None = None
    cache_write: float | None = None
    reasoning: float | None = None


class Timeouts(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds. `ttft`: until the first content event; `idle`: between two reads; `total`: one attempt."""

    connect: float = 5.0
    ttft: float = 60.0
    idle: float = 60.0
    total: float = 600.0


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """One model at one provider."""

    provider: str
    """A key of `providers:`."""
    model: str
    """The name the provider knows it by."""
    adapter: str | None = None
    """The LoRA adapter that `model` stands for, by its own name; None where it stands for none."""
    weight: int = 1
    price: Price | None = None
    """What its tokens cost; None when that is not known."""
    context_window: int | None = None
    """Most tokens of prompt and answer together; None when that is not known."""
    capabilities: frozenset[Capability] | None = None
    """All that it can do; None when nobody has said, and then it is asked whatever the client asks."""


class Queue(msgspec.Struct, frozen=True, kw_only=True):
    """Where requests wait for one of a model's places."""

    most: int = 100
    ttl: float = 10.0
    """Seconds that one may wait."""


class Shadow(msgspec.Struct, frozen=True, kw_only=True):
    """Who gets a copy of some requests, after their answers."""

    model: str
    """An alias."""
    share: float
    """Of the requests: above 0, up to 1."""


class ModelPlan(msgspec.Struct, frozen=True, kw_only=True):
    """How to serve one alias of `models:`, built once at start."""

    alias: str
    targets: tuple[Target, ...]
    timeouts: Timeouts = Timeouts()
    attempts: int = 2
    """Tries within `targets`, the first included."""
    max_wait: float = 10.0
    """Most seconds to wait before a retry, whatever the upstream's Retry-After says."""
    hedge_after: float | None = None
    """Seconds without content after which a second call is made beside the first; None: never."""
    concurrency: int | None = None
    """Requests that may be under way there at one time, in this process; None: no bound, and no queue."""
    queue: Queue = Queue()
    shadow: Shadow | None = None
    sticky: Literal["session", "user"] | None = None
    """Whose requests all have the same first target; None: each is drawn anew."""
    keepalive: float | None = None
    """Seconds of silence after which a streaming client gets a sign of life; 0: never; None: the server's."""
    on_failure: tuple[str, ...] = ()
    on_context_overflow: tuple[str, ...] = ()
    on_content_policy: tuple[str, ...] = ()
    price: Price | None = None


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The models to try for one exchange, first to last: the chosen one, then its `on_failure` aliases."""

    models: tuple[ModelPlan, ...]
    overflow: tuple[ModelPlan, ...] = ()
    """Tried instead, after a `ContextOverflow`."""
    refused: tuple[ModelPlan, ...] = ()
    """Tried instead, when the upstream's own content filter stopped the prompt or the answer."""

    @property
    def alias(self) -> str:
        return self.models[0].alias
