"""What is known of an inference engine beside its API, as data: how it says that it is well, and where it tells its load.

A name is written as in the catalog: `vllm:num_requests_waiting`; with a label that must fit,
`nv_trt_llm_request_metrics{request_type=waiting}`; or for the text of a label, `vllm:cache_config_info[block_size]`. Of a
JSON page it is a path: `total_slots`, `[].is_processing` (true counts as 1), `data[].id`. `a + b` is the sum of two.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

import msgspec

Field = Literal[
    "waiting", "running", "kv", "block_tokens", "blocks", "slots", "started", "prompt_tokens", "cached_tokens", "adapters",
    "loading", "most_adapters", "models",
]  # fmt: skip
"""What a `Reading` can hold; see there."""
NAMES: frozenset[Field] = frozenset(("adapters", "loading", "models"))
"""The fields that are sets of names; the others are numbers."""
_SOURCE = re.compile(r"([^{}\[\]\s]+)(?:\{([A-Za-z_]\w*)=([^{}\[\]\s]+)\})?(?:\[([A-Za-z_]\w*)\])?")


class Source(NamedTuple):
    """One name of one field, read."""

    name: str
    where: tuple[str, str] | None = None
    """A label and the value it must have."""
    label: str = ""
    """The label whose text is the value; empty: the sample's own value."""


class Health(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`path` beside the base URL's `/v1`. `loading`: statuses by which an engine says that it is not ready yet, or not
    able any more; those count at once, where any other failure must come several times. `port`: where that is another."""

    path: str
    port: int | None = None
    loading: tuple[int, ...] = ()


class Page(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One page that tells some of an engine's load.

    `names`: for each field all names that the engine's versions have had, the newest first. `may`: fields that are only
    there in some set-ups; a missing one is no alarm. `once`: no name is missed before the page has a line that begins so:
    for engines that write nothing before their first call. `rarely`: what does not change; read every half minute.
    """

    path: str
    port: int | None = None
    """Where it is not served by the port that answers calls."""
    form: Literal["prometheus", "json"] = "prometheus"
    names: dict[Field, tuple[str, ...]] = {}
    may: tuple[Field, ...] = ()
    once: str = ""
    rarely: bool = False
    instead: bool = False
    """Read only where the page before it cannot be."""


class Engine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`adapter`: the model's name in a request for an adapter, from `{base}` and `{adapter}`; None: it has no such name."""

    health: Health | None = None
    pages: tuple[Page, ...] = ()
    adapter: str | None = None


def sources_of(written: str, form: str) -> tuple[Source, ...]:
    """The terms of a name. Raises ValueError for what is none."""
    return tuple(_term(term, form) for term in written.split(" + "))


def _term(written: str, form: str) -> Source:
    if form == "json":
        if not written or any(c.isspace() for c in written):
            raise ValueError(f"{written!r} is not a path such as total_slots or data[].id")
        return Source(written)
    match = _SOURCE.fullmatch(written)
    if match is None:
        raise ValueError(f"{written!r} is not a metric's name, such as name, name{{label=value}} or name[label]")
    name, key, value, label = match.groups()
    return Source(name, (key, value) if key else None, label or "")
