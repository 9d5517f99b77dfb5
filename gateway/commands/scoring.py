"""What the kinds of `tidegate eval` share: labelled rows read, progress shown, results told."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from gateway.core.errors import GatewayFault

if TYPE_CHECKING:
    import numpy as np

    from gateway.embedding.minilm import MiniLM
    from gateway.embedding.remote import RemoteEmbed

Say = Callable[[str], None]
"""Told of slow steps; goes to standard error."""

_LONGEST_LINE = 4 * 1024 * 1024
_MOST_ROWS = 1_000_000
_AT_ONCE = 500
"""Texts embedded between two lines of progress."""


class DataError(ValueError):
    """Labelled data, or an option, that cannot be used. The message says which and why."""


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """One evaluation: `report` for `--json`, `lines` for people, `rows` for `--rows`, one for each row given, in order."""

    report: dict[str, Any]
    lines: list[str]
    rows: list[dict[str, Any]]


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON Lines file; empty lines are skipped. Raises `DataError` naming the line."""
    rows: list[dict[str, Any]] = []
    try:
        for number, line in _lines(path):
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                raise DataError(f"{path} line {number}: not JSON in UTF-8") from None
            if not isinstance(row, dict):
                raise DataError(f"{path} line {number}: expected an object")
            rows.append(row)
            if len(rows) > _MOST_ROWS:
                raise DataError(f"{path}: more than {_MOST_ROWS} rows; evaluate it in parts")
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from None
    if not rows:
        raise DataError(f"{path} holds no rows")
    return rows


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    with path.open("rb") as file:
        number = 0
        while line := file.readline(_LONGEST_LINE + 1):
            number += 1
            if len(line) > _LONGEST_LINE:
                raise DataError(f"{path} line {number}: longer than {_LONGEST_LINE} bytes")
            if line.strip():
                yield number, line


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """JSON Lines. Raises `DataError`."""
    try:
        with path.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror}") from None


def field(row: Mapping[str, Any], name: str, number: int) -> str:
    """The text of one field. Raises `DataError` naming the row, counted from 1."""
    value = row.get(name)
    if not isinstance(value, str):
        raise DataError(f"row {number}: `{name}` is missing or not text")
    return value


def percent(hits: int, of: int, low: float | None, high: float | None) -> str:
    """`4,300 of 4,500 = 95.56 % (94.91 .. 96.12)`."""
    if low is None or high is None:
        return "no rows"
    return f"{hits:,} of {of:,} = {100 * hits / of:.2f} % ({100 * low:.2f} .. {100 * high:.2f})"


def millis(micros: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value / 1000:.2f} ms" for name, value in micros.items())


class TellingEncoder:
    """The gateway's encoder, saying how far it is when there is much to embed. Implements what fitting needs."""

    def __init__(self, inner: MiniLM | RemoteEmbed, say: Say, *, far: bool = False) -> None:
        """`far`: each call goes to a provider, so texts are better asked for `ahead`."""
        self._known: dict[str, np.ndarray[Any, Any]] | None = {} if far else None
        self.id = inner.id
        self.dim = inner.dim
        self.embed = inner.embed
        self.close = inner.close
        self._encode = inner.encode
        self._say = say

    def encode(self, texts: Sequence[str]) -> np.ndarray[Any, Any]:
        """Shape (len(texts), dim), float32, rows of length 1."""
        import numpy as np

        known = self._known
        if known and all(text in known for text in texts):
            return np.stack([known[text] for text in texts])
        if len(texts) <= _AT_ONCE:
            return self._made(texts)
        made = []
        for at in range(0, len(texts), _AT_ONCE):
            made.append(self._made(texts[at : at + _AT_ONCE]))
            self._say(f"embedded {min(at + _AT_ONCE, len(texts)):,} of {len(texts):,} texts")
        return np.concatenate(made)

    def _made(self, texts: Sequence[str]) -> np.ndarray[Any, Any]:
        """Raises `DataError` where a provider embeds and does not answer."""
        try:
            return self._encode(texts)
        except (TimeoutError, GatewayFault) as failure:
            raise DataError(f"{self.id} gave no vectors: {failure or 'no answer in time'}") from None

    def ahead(self, texts: Sequence[str]) -> None:
        """These will be asked for one by one. A provider is asked now, in batches; times measured then are without it."""
        if self._known is not None:
            wanted = list(dict.fromkeys(texts))
            self._known.update(zip(wanted, self.encode(wanted), strict=True))


def encoder(say: Say, config: Any = None) -> TellingEncoder:
    """The encoder that a gateway of this configuration uses; the built-in one is built first if it is not there. Raises
    `DataError` saying how to get it."""
    if config is not None and config.embedding is not None:
        from gateway.encoders import remote_alone

        return TellingEncoder(remote_alone(config), say, far=True)
    from gateway.commands.models import build_missing
    from gateway.embedding.files import ModelMissing, models_dir
    from gateway.embedding.minilm import MiniLM
    from gateway.embedding.weights import SourceError

    try:
        build_missing(say)
        return TellingEncoder(MiniLM(models_dir()), say)
    except (SourceError, ModelMissing) as error:
        raise DataError(str(error)) from None


def in_parts(count: int, say: Say, what: str) -> Iterator[range]:
    """Ranges that cover `count` rows, with a line of progress after each when there are many."""
    for at in range(0, count, _AT_ONCE):
        end = min(at + _AT_ONCE, count)
        yield range(at, end)
        if count > _AT_ONCE:
            say(f"{what} {end:,} of {count:,}")
