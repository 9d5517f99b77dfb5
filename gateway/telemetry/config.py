"""The `telemetry:` section."""

from __future__ import annotations

from typing import Literal

import msgspec


class TelemetryConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    otlp: str = ""
    """Base URL of an OTLP/HTTP collector, such as `http://127.0.0.1:4318`; empty: no traces leave."""
    sample: float = 1.0
    """Share of new traces kept. A caller's own sampling decision is honoured."""
    content: Literal["off"] = "off"
    """Prompts and answers in spans. Only `off` exists: nothing a user wrote leaves in telemetry."""
    prometheus: bool = True
    """Serve `/metrics`."""
    service: str = "tidegate"
    log: Literal["json", "text", "off"] = "json"
