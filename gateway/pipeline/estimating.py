"""What a call used beyond what it told, when it was given up before its end: a guess, kept apart from what is known.

The prompt is counted here (`core.tokens`), the answer by the text that came. A provider may charge less, and for what it
made and had not sent yet also more.
"""

from __future__ import annotations

import math

from gateway.core.errors import GatewayFault, UpstreamTimeout
from gateway.core.events import Usage
from gateway.core.request import Request
from gateway.core.tokens import estimate
from gateway.pipeline.seen import Seen

_COUNTED = frozenset({"chat", "completions", "embeddings"})


def estimated(
    request: Request, seen: Seen, outcome: str, fault: GatewayFault | None, *, sent: bool, answered: bool
) -> Usage | None:
    """None: nothing more than it told, as far as anybody can say. `sent`: an endpoint was chosen; `answered`: a good status
    came."""
    if outcome == "ok" or request.operation not in _COUNTED or request.passing is not None:
        return None
    said = math.ceil(seen.said)
    if seen.usage is not None:
        more = said - seen.usage.output_tokens
        return Usage(output_tokens=more, estimated=True) if more > 0 else None
    if not answered and not (sent and _worked(outcome, fault)):
        return None
    return Usage(input_tokens=estimate(request), output_tokens=said, estimated=True)


def _worked(outcome: str, fault: GatewayFault | None) -> bool:
    """Whether the upstream was at work all the same, without a word from it. One that refused or was not reached was not."""
    if isinstance(fault, UpstreamTimeout):
        return fault.clock in ("ttft", "total")
    return outcome == "cancelled"
