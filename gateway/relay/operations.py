"""What is relayed, at which paths, in which form. One table for the routes, the checks' report and the docs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from gateway.core.request import Operation

Form = Literal["json", "multipart", "none"]


class Relayed(msgspec.Struct, frozen=True):
    """One thing that can be asked. `path` is below the dialect's roots; `{id}` stands for one id of ours."""

    operation: Operation
    method: str
    path: str
    form: Form = "none"
    model: bool = False
    """The body names a model, and that says who is asked. Else `relay:` in the configuration does."""
    answers: bool = True
    """The reply is JSON with ids in it; False: bytes, passed on as they come."""
    page: int = 0
    """Of a list: the most that providers give at once."""
    entries: int = 0
    """And how many a client gets that does not say."""
    texts: tuple[str, ...] = ()
    """Fields of a JSON body that checks read."""

    @property
    def repeatable(self) -> bool:
        """Asking twice does nothing that asking once does not."""
        return self.method == "GET" or self.model


TABLE: tuple[Relayed, ...] = (
    Relayed("speech", "POST", "/audio/speech", "json", True, False, texts=("input", "instructions")),
    Relayed("transcriptions", "POST", "/audio/transcriptions", "multipart", True, False),
    Relayed("translations", "POST", "/audio/translations", "multipart", True, False),
    Relayed("image_edits", "POST", "/images/edits", "multipart", True, False, texts=("prompt",)),
    Relayed("image_variations", "POST", "/images/variations", "multipart", True, False),
    Relayed("files", "GET", "/files", page=10_000, entries=10_000),
    Relayed("files", "POST", "/files", "multipart"),
    Relayed("files", "GET", "/files/{id}"),
    Relayed("files", "DELETE", "/files/{id}"),
    Relayed("files", "GET", "/files/{id}/content", answers=False),
    Relayed("uploads", "POST", "/uploads", "json"),
    Relayed("uploads", "POST", "/uploads/{id}/parts", "multipart"),
    Relayed("uploads", "POST", "/uploads/{id}/complete", "json"),
    Relayed("uploads", "POST", "/uploads/{id}/cancel"),
    Relayed("batches", "GET", "/batches", page=100, entries=20),
    Relayed("batches", "POST", "/batches", "json"),
    Relayed("batches", "GET", "/batches/{id}"),
    Relayed("batches", "POST", "/batches/{id}/cancel"),
)
HELD: tuple[Operation, ...] = ("files", "uploads", "batches")
"""Operations on what a provider keeps for us: no model is named, and ids are handed out."""


def find(path: str, method: str) -> tuple[Relayed | None, str, Sequence[str]]:
    """What is asked, the id in the path, and the methods that the path has."""
    steps = path.split("/")
    methods = []
    for row in TABLE:
        id = _matched(row.path.split("/"), steps)
        if id is not None:
            if row.method == method:
                return row, id, ()
            methods.append(row.method)
    return None, "", methods


def _matched(wanted: Sequence[str], steps: Sequence[str]) -> str | None:
    """The id, or "" where the path has none; None: another path."""
    if len(wanted) != len(steps):
        return None
    id = ""
    for want, step in zip(wanted, steps, strict=True):
        if want == "{id}" and step:
            id = step
        elif want != step:
            return None
    return id
