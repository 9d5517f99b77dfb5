"""The vectors of recent texts: the router and the semantic cache often ask for the same one."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


class Recent:
    """Vectors by the digest of their text, the least recently used forgotten first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._rows: OrderedDict[bytes, Array] = OrderedDict()

    def get(self, key: bytes) -> Array | None:
        row = self._rows.get(key)
        if row is not None:
            self._rows.move_to_end(key)
        return row

    def keep(self, key: bytes, row: Array) -> None:
        if self._most:
            self._rows[key] = row
            if len(self._rows) > self._most:
                self._rows.popitem(last=False)

    def __len__(self) -> int:
        return len(self._rows)

    def clear(self) -> None:
        self._rows.clear()
