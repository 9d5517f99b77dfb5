"""From the pages of one engine to the fields of a `Reading`, by the names of its profile. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from gateway.providers.engine import NAMES, Field, Page, Source, sources_of
from gateway.providers.scrape import Unreadable, has_line, samples
from gateway.providers.scrape_json import reached, values

MOST_NAMES = 1024
MOST_NAME_CHARS = 256
MOST_NUMBER = 1e15
"""A load, a size or a counter beyond that is none."""
_SUMMED = frozenset(("waiting", "running", "slots", "blocks", "prompt_tokens", "cached_tokens"))
"""Over the engines of one server (data parallel), and over its models; the rest is the largest, and `kv` the mean."""


class Told(NamedTuple):
    """`missing`: the newest name of each field that should be there under some name, and is under none."""

    fields: dict[Field, Any]
    missing: frozenset[str]


class PageReader:
    """One page of a profile, its names read once. Raises ValueError for a name that is none."""

    def __init__(self, page: Page, more: Mapping[Field, Sequence[str]] | None = None) -> None:
        """`more`: an operator's own names, looked for first."""
        more = more or {}
        self.page = page
        self._sources: dict[Field, list[tuple[Source, ...]]] = {
            field: [sources_of(name, page.form) for name in (*more.get(field, ()), *page.names.get(field, ()))]
            for field in dict.fromkeys((*page.names, *more))
        }
        where = f"{page.path} " if page.form == "json" else ""
        self._newest = {field: where + page.names[field][0] for field in page.names if field not in page.may}

    @property
    def fields(self) -> list[Field]:
        return list(self._sources)

    @property
    def expected(self) -> frozenset[str]:
        """The names that are missing when the page is."""
        return frozenset(self._newest.values())

    def read(self, body: bytes) -> Told:
        """Raises Unreadable."""
        data: Any = body
        if self.page.form == "json":
            try:
                data = msgspec.json.decode(body)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                raise Unreadable("the page is not JSON") from None
        fields: dict[Field, Any] = {}
        missing = set()
        for field, sources in self._sources.items():
            value, there = self._field(field, sources, data)
            if value is not None:
                fields[field] = value
            if not there and field in self._newest:
                missing.add(self._newest[field])
        if missing and self.page.once and not has_line(body, self.page.once):
            missing.clear()
        return Told(fields, frozenset(missing))

    def _field(self, field: Field, names: list[tuple[Source, ...]], data: Any) -> tuple[Any, bool]:
        """Its value, and whether any of its names is there."""
        for terms in names:
            found = [self._found(field, term, data) for term in terms]
            if None not in found:
                values_ = [value for one in found if one is not None for value in one]
                return (_names(values_) if field in NAMES else _number(field, values_)), True
        return None, False

    def _found(self, field: Field, term: Source, data: Any) -> list[Any] | None:
        """All values of one term; None when the page does not have it."""
        if self.page.form == "json":
            return values(data, term.name) if reached(data, term.name) else None
        taken = [s for s in samples(data, term.name) if not term.where or _fits(s.labels, term.where)]
        if not taken:
            return None
        if field in NAMES:
            newest = max(taken, key=lambda sample: sample.value)  # vLLM leaves old sets of labels on its page
            return list(newest.labels.get(term.label, "").split(","))
        if term.label:
            return [_read(sample.labels.get(term.label)) for sample in taken]
        return [sample.value for sample in taken]


def _fits(labels: Mapping[str, str], where: tuple[str, str]) -> bool:
    return labels.get(where[0]) == where[1]


def _read(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:  # `None`, before the engine has measured its memory
        return None


def _number(field: Field, found: Sequence[Any]) -> float | int | None:
    told = [one for one in found if isinstance(one, bool | int | float)]
    numbers = [float(one) for one in told if 0 <= one <= MOST_NUMBER]  # NaN is neither
    if not numbers and not (found == [] and field in ("running", "waiting")):
        return None
    if field == "kv":
        return min(1.0, sum(numbers) / len(numbers))
    value = sum(numbers) if field in _SUMMED else max(numbers)
    return int(value) if field in ("blocks", "block_tokens", "slots", "most_adapters") else value


def _names(found: Sequence[Any]) -> frozenset[str]:
    texts = (one.strip() for one in found if isinstance(one, str))
    return frozenset(sorted(text for text in texts if 0 < len(text) <= MOST_NAME_CHARS)[:MOST_NAMES])
