from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.backends.largest import Largest

STEPS = st.lists(st.tuples(st.sampled_from("abcde"), st.integers(-9, 9)), max_size=400)


@given(STEPS)
def test_the_largest_is_found_whatever_happened(steps: list[tuple[str, int]]) -> None:
    """Grown, shrunk, gone and come again: the name told has as much as anybody, and the heap stays small."""
    amounts: dict[str, int] = {}
    largest = Largest(amounts)
    for name, change in steps:
        amount = amounts.get(name, 0) + change
        if amount <= 0:
            amounts.pop(name, None)
        else:
            amounts[name] = amount
            if change >= 0:
                largest.grew(name)
        if amounts:
            assert amounts[largest.name()] == max(amounts.values())
        else:
            with pytest.raises(LookupError):
                largest.name()
        assert len(largest._heap) <= 64 + 4 * 5 + 1
