"""MiniLM as an `Embed` port: off the event loop, bounded, with a small memory of recent texts."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from gateway.embedding.encoder import Encoder
from gateway.embedding.files import encoder_id
from gateway.embedding.graph import DIM, Precision
from gateway.embedding.recent import Recent
from gateway.embedding.texts import key_of, shortened
from gateway.embedding.worker import Worker

Array = np.ndarray[Any, Any]

MAX_TEXTS = 64
"""Texts in one `embed`. More belong to `encode`."""


class MiniLM:
    """Implements `core.ports.Embed`. Made once for a process; loading takes about 0.1 s and adds about 90 MB.

    `queue`: calls that may wait; `deadline`: seconds one call may take, waiting included; `remember`: recent texts
    whose vectors are kept (1.5 KB each; under a digest, so no text stays in memory): the router and the semantic cache
    often ask for the same one.
    """

    dim = DIM

    def __init__(
        self,
        directory: Path,
        *,
        precision: Precision = "int8",
        queue: int = 64,
        deadline: float = 0.25,
        remember: int = 1024,
    ) -> None:
        """Raises `ModelMissing` when `directory` holds no built encoder."""
        self.id = encoder_id(precision)
        self._encoder = Encoder(directory, precision)
        self._worker = Worker(self._encoder.encode, bound=queue)
        self._deadline = deadline
        self._recent = Recent(remember)

    async def embed(self, texts: Sequence[str]) -> Array:
        """Shape (len(texts), dim), float32, rows of length 1.

        Raises TimeoutError when the encoder is overloaded or slow, ValueError for more than `MAX_TEXTS` texts.
        """
        if len(texts) > MAX_TEXTS:
            raise ValueError(f"at most {MAX_TEXTS} texts at once, not {len(texts)}")
        keys = [key_of(text) for text in texts]
        rows = {key: row for key in keys if (row := self._recent.get(key)) is not None}
        missing = {key: shortened(text) for key, text in zip(keys, texts, strict=True) if key not in rows}
        if missing:
            made = await self._worker.run(list(missing.values()), self._deadline)
            for key, row in zip(missing, made, strict=True):
                rows[key] = row
                self._recent.keep(key, row)
        out = np.empty((len(texts), DIM), np.float32)
        for at, key in enumerate(keys):
            out[at] = rows[key]
        return out

    def encode(self, texts: Sequence[str]) -> Array:
        """The same vectors, on the calling thread and helpers: for fitting and evaluation, where many are wanted."""
        if len(texts) == 1:
            return self._encoder.encode(texts[0])[None]
        workers = min(4, os.cpu_count() or 1)
        out = np.empty((len(texts), DIM), np.float32)
        with ThreadPoolExecutor(workers, thread_name_prefix="encode") as pool:
            for at, row in enumerate(pool.map(self._encoder.encode, texts)):
                out[at] = row
        return out

    @property
    def waiting(self) -> int:
        """Calls in the queue: a gauge."""
        return self._worker.waiting

    def close(self) -> None:
        self._worker.close()
        self._recent.clear()

    def __repr__(self) -> str:
        return f"MiniLM({self.id})"
