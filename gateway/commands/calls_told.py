"""What `tidegate check` says of how each model is called: who stands in, how many at once, who gets a copy."""

from __future__ import annotations

from typing import Any


def calls_of(config: Any) -> dict[str, list[str]]:
    """By alias, one line for each thing that is not as it is for every model. Models without any are left out."""
    told = {alias: _lines(model) for alias, model in config.models.items()}
    return {alias: lines for alias, lines in told.items() if lines}


def _lines(model: Any) -> list[str]:
    lines = []
    for field, when in (
        ("on_failure", "a failure, a time-out or a full queue"),
        ("on_context_overflow", "too long a prompt"),
        ("on_content_policy", "a provider's content filter"),
    ):
        if names := getattr(model, field):
            lines.append(f"after {when}: {', '.join(names)}")
    if model.hedge is not None:
        lines.append(f"a second call after {model.hedge.after:g} s without content")
    if model.concurrency is not None:
        queue = f"{model.queue.max} wait, {model.queue.ttl:g} s at most" if model.queue else "100 wait, 10 s at most"
        lines.append(f"{model.concurrency} at once in each process; {queue}")
    if model.sticky is not None:
        lines.append(f"one {model.sticky} stays at one target")
    if model.shadow is not None:
        lines.append(f"{model.shadow.share:.3g} of the answered requests are copied to {model.shadow.model}")
    if model.keepalive is not None:
        lines.append(f"a sign of life after {model.keepalive:g} s" if model.keepalive else "no signs of life")
    return lines


def warnings(config: Any) -> list[str]:
    """What is allowed and worth knowing."""
    found = []
    for alias, model in config.models.items():
        if model.concurrency is not None and config.server.workers > 1:
            most = model.concurrency * config.server.workers
            found.append(
                f"models.{alias}.concurrency: counted in each of {config.server.workers} workers, {most} in all"
            )
        if model.queue is not None and model.queue.ttl >= config.server.timeout:
            found.append(f"models.{alias}.queue.ttl: not below server.timeout, so the deadline ends the waiting")
        if model.timeouts.ttft <= model.timeouts.connect:
            found.append(
                f"models.{alias}.timeouts.ttft: not above connect, so a slow connection leaves no time to begin"
            )
        if model.shadow is not None and config.models[model.shadow.model].shadow is not None:
            found.append(f"models.{alias}.shadow: its own shadow is not followed; only what clients ask has one")
    return found
