"""The demo's configuration: every stage on, in front of whatever servers there are."""

from __future__ import annotations

import socket
from typing import Any

SUPPORT_EXAMPLES: dict[str, list[str]] = {
    "reset_password": [
        "how do I reset my password",
        "I forgot my password",
        "can't log in, need a new password",
        "change my password please",
        "my password does not work any more",
        "send me a password reset link",
        "I want to set a new password",
        "locked out because of a wrong password",
    ],
    "billing_error": [
        "I was charged twice",
        "there is a mistake on my invoice",
        "wrong amount on my bill",
        "why did you take money twice this month",
        "my invoice shows a plan I never bought",
        "refund the double payment",
        "the billing is incorrect",
        "I see an unknown charge from you",
    ],
    "technical": [
        "the app crashes when I upload a file",
        "I get error 500 on the api",
        "the page does not load",
        "how do I connect the api to my server",
        "the integration fails with a timeout",
        "your sdk raises an exception",
        "sync is stuck and shows an error code",
        "the export produces a broken file",
    ],
    "out_of_scope": [
        "what is the weather today",
        "tell me a joke",
        "who won the world cup",
        "write a poem about the sea",
        "what is the capital of Spain",
        "how do I cook rice",
        "recommend a film",
        "what is two plus two",
    ],
}


SEMANTIC = {"ttl": "1h", "threshold": 0.93, "evidence": "assume"}
"""A demo has no traffic to gather evidence from, so it is assumed here; a gateway of yours starts in shadow without."""


def settings(
    providers: dict[str, Any], models: dict[str, Any], *, host: str, port: int, otlp: str = ""
) -> dict[str, Any]:
    """The configuration as plain values. `providers` and `models`: what the fleet and the discovery offer."""
    return {
        "version": 1,
        "server": {"host": host, "port": port},
        "providers": {
            **providers,
            "dead": {"type": "openai-compatible", "base_url": f"http://127.0.0.1:{_closed_port()}/v1"},
        },
        "models": {
            **{name: {"price": {"input": 0.15, "output": 0.60}, **model} for name, model in models.items()},
            "flaky": {
                "targets": [{"provider": "dead", "model": "gone"}],
                "on_failure": ["demo"],
                "retry": {"attempts": 2, "max_wait": "1s"},
            },
        },
        "guardrails": _guardrails(),
        "routes": _routes(),
        "telemetry": {"otlp": otlp, "log": "text"},
    }


def _guardrails() -> dict[str, Any]:
    mask = {"on": ["input"], "action": "mask", "restore": True, "on_error": "closed"}
    stop = {"on": ["output"], "action": "block", "on_error": "closed"}
    private = ["EMAIL_ADDRESS", "PHONE_NUMBER", "CREDIT_CARD", "IBAN_CODE", "US_SSN", "IP_ADDRESS"]
    scope = ["latest_turn", "tool_results"]
    return {
        "private": {**mask, "use": "pii", "entities": private, "deadline": "80ms"},
        "secrets": {**mask, "use": "secrets", "deadline": "40ms"},
        "attacks": {
            "use": "injection",
            "on": ["input"],
            "scope": scope,
            "action": "block",
            "on_error": "open",
            "deadline": "60ms",
        },
        "phrases": {**stop, "use": "phrases", "deny": ["project bluebird"], "deadline": "10ms"},
        "prompt-leak": {**stop, "use": "prompt_leak", "stream": "window", "deadline": "20ms"},
        "runaway": {**stop, "use": "repetition"},
        "toxicity": {**stop, "use": "toxicity", "on_error": "open", "deadline": "60ms"},
        "tools": {**stop, "use": "tool_schema", "action": "repair", "deadline": "20ms"},
        "people": {
            "use": "handover",
            "on": ["input"],
            "action": "handoff",
            "handoff": "support-team",
            "phrases": [],
            "anger": 0.6,
            "on_error": "open",
        },
        "json": {
            "use": "json_schema",
            "on": ["output"],
            "action": "repair",
            "then": "retry",
            "attempts": 2,
            "on_error": "closed",
            "deadline": "20ms",
        },
    }


def _routes() -> dict[str, Any]:
    checks = [
        "private",
        "secrets",
        "attacks",
        "people",
        "phrases",
        "prompt-leak",
        "toxicity",
        "runaway",
        "tools",
        "json",
    ]
    return {
        "default": {
            "guardrails": checks,
            "cache": {"partition": "user", "exact": {"ttl": "1h"}, "semantic": SEMANTIC},
        },
        "support": {
            "match": {"models": ["support"]},
            "guardrails": checks,
            "intents": {
                "examples": SUPPORT_EXAMPLES,
                "then": {
                    "reset_password": {"answer": "You can reset your password at https://example.com/reset."},
                    "billing_error": {"handoff": "billing-team"},
                    "technical": {"model": "demo"},
                    "out_of_scope": {"answer": "I can help with your account, billing and technical questions."},
                    "unclear": {"clarify": "Do you mean {first} or {second}?"},
                },
            },
        },
    }


def _closed_port() -> int:
    """A port nobody listens on, for the model whose provider is dead."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
