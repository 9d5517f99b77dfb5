"""How well an endpoint suits a call for a LoRA adapter. Pure: what the pick may add to its other reasons."""

from __future__ import annotations

from gateway.pools.reading import Reading

ACTIVE, ROOM, LOADING, FULL = 1.0, 0.8, 0.6, 0.0
"""It is loaded; it can be loaded beside the others; others wait for it already; another must go first.
(llm-d's values, so that pools behave alike behind both.)"""


def suits(reading: Reading | None, adapter: str) -> float:
    """Where the engine tells nothing of its adapters all endpoints are alike: `ROOM`."""
    if reading is None:
        return ROOM
    if adapter in reading.adapters:
        return ACTIVE
    if adapter in reading.loading:
        return LOADING
    if reading.most_adapters is None or len(reading.adapters | reading.loading) < reading.most_adapters:
        return ROOM
    return FULL


def serves(reading: Reading | None, model: str) -> bool:
    """Whether an endpoint answers to a model's or adapter's name, as far as it has said."""
    return reading is None or reading.models is None or model in reading.models
