"""What is said of a prompt that is too long, in dialects without a code for it.

Clients of such a dialect know the case by their provider's own sentence: they then shorten the history and ask again
(Claude Code, LangChain, LiteLLM). In other words it would be one more failed request to them.
"""

from __future__ import annotations

from gateway.core.errors import ContextOverflow, GatewayFault


def told(fault: GatewayFault, words: str, subject: str = "") -> str:
    """The fault's message; of an overflow, with `words` in it: put before it, after their `subject`, if it has them not."""
    if isinstance(fault, ContextOverflow) and words not in fault.message:
        return f"{subject}{words}: {fault.message}"
    return fault.message
