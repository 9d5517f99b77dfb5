"""How sure a counted share is."""

from __future__ import annotations

import math

Z = 1.959964
"""Standard deviations on each side that hold 95 %."""


def wilson(hits: int, of: int) -> tuple[float, float]:
    """The 95 % interval of `hits` of `of`, after Wilson (1927); `of` is above 0."""
    p, z2 = hits / of, Z * Z
    middle = (p + z2 / (2 * of)) / (1 + z2 / of)
    half = Z / (1 + z2 / of) * math.sqrt(p * (1 - p) / of + z2 / (4 * of * of))
    low = 0.0 if hits == 0 else max(0.0, middle - half)  # exact at the ends, where rounding would show
    high = 1.0 if hits == of else min(1.0, middle + half)
    return low, high
