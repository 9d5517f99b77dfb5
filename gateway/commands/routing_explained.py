"""The part of `tidegate router explain` that needs no examples: how hard a text looks, and which tier that is."""

from __future__ import annotations

from typing import Any


def complexity_of(text: str, tiers: Any) -> dict[str, Any]:
    """`tiers`: the route's section, or None."""
    from gateway.dialects.registry import dialects
    from routing.complexity import complexity

    request = dialects()["openai"].read("chat", {"model": "explained", "messages": [{"role": "user", "content": text}]})
    told = complexity(request)
    report: dict[str, Any] = {"score": told.score, "parts": told.parts}
    if tiers is not None:
        large = told.score > tiers.above
        report |= {"above": tiers.above, "tier": "large" if large else "small"}
        report["model"] = tiers.large if large else tiers.small
    return report


def complexity_lines(told: dict[str, Any]) -> list[str]:
    parts = ", ".join(f"{name} {value:.3f}" for name, value in told["parts"].items())
    lines = [f"  complexity {told['score']:.3f}" + (f" ({parts})" if parts else "")]
    if "tier" in told:
        lines.append(f"  tier       {told['tier']}: {told['model']} (large above {told['above']:g})")
    return lines
