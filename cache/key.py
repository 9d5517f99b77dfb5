"""What makes two requests the same, and who may share an answer.

A key is an HMAC over everything that can change an answer. The body is taken whole, less a short list of fields
that cannot (`_IGNORED`): a parameter invented tomorrow is in the key the day it appears, so it can cause a miss but
never a wrong answer. The partition of the semantic cache is the same material without the text of the question.

Not covered: what a server does of its own accord, such as a model replaced under the same name.
"""

from __future__ import annotations

from typing import Any, Literal

from gateway.core.exchange import Exchange
from gateway.core.fingerprint import keyed
from gateway.core.request import Body, Slot
from gateway.core.reveal import REVEAL

Scope = Literal["user", "key", "tenant", "route"]

SCHEMA = 1
"""Part of every key: raised when entries of an older shape or rule must no longer be found."""

_IGNORED = frozenset(
    {
        # how the answer is delivered, billed or kept by the provider; never what it says
        "stream",
        "stream_options",
        "store",
        "metadata",
        "service_tier",
        "prompt_cache_key",
        "prompt_cache_retention",
        # who asks: the partition's business
        "user",
        "safety_identifier",
    }
)

_HEADERS = ("anthropic-beta", "anthropic-version", "openai-beta")
"""Request headers with which a dialect changes what the body means."""


class Keyer:
    """Makes the keys of one route. `secret` keeps anyone who can read a store from guessing prompts by their keys."""

    __slots__ = ("_scope", "_secret")

    def __init__(self, secret: bytes, scope: Scope) -> None:
        if len(secret) < 16:
            raise ValueError("the cache's secret must have at least 16 bytes")
        self._secret = secret
        self._scope = scope

    @property
    def scope(self) -> Scope:
        return self._scope

    def exact(self, exchange: Exchange) -> str | None:
        """64 hex digits, or None when this request has no key: nobody known asks, no plan, or a body that canonical
        JSON cannot say (half a surrogate pair, nesting beyond the stack)."""
        return self._hash("exact", exchange, "")

    def partition(self, exchange: Exchange, question: Slot, encoder: str) -> str | None:
        """Everything but the text of `question`: two requests in one partition differ in nothing else. `encoder` is the
        id of the embedding, since vectors of two encoders cannot be compared. None as for `exact`."""
        text = question.text
        question.replace("")
        try:
            return self._hash("semantic", exchange, encoder)
        finally:
            question.replace(text)

    def entry_id(self, partition: str, text: str) -> str:
        """The id of the semantic entry for `text`: the same question in the same partition replaces its entry."""
        return "s-" + keyed(self._secret, [partition, text])[:32]

    def of(self, material: dict[str, Any]) -> str | None:
        """64 hex digits for other things than requests; `kind` keeps them apart. None for what canonical JSON cannot say."""
        try:
            return keyed(self._secret, {"schema": SCHEMA, **material})
        except (OverflowError, TypeError, ValueError, RecursionError):
            return None

    def _hash(self, kind: str, exchange: Exchange, encoder: str) -> str | None:
        owner = owner_of(exchange, self._scope)
        plan = exchange.plan
        if owner is None or plan is None:
            return None
        request = exchange.asked()
        chosen = plan.models[0]
        headers = exchange.headers
        material = {
            "schema": SCHEMA,
            "kind": kind,
            "encoder": encoder,
            "owner": owner,
            "route": exchange.route,
            "revision": exchange.revision,
            "dialect": request.dialect,
            "operation": request.operation,
            "alias": chosen.alias,
            "targets": [(target.provider, target.model) for target in chosen.targets],
            "headers": {name: headers[name] for name in _HEADERS if name in headers},
            "body": semantic_fields(request.body),
        }
        reveal = exchange.facts.get(REVEAL)
        if reveal is not None:  # the answer may be made from the originals, so it is an answer for them alone
            material["originals"] = dict(reveal.originals())
        try:
            return keyed(self._secret, material)
        except (OverflowError, TypeError, ValueError, RecursionError):
            return None


def owner_of(exchange: Exchange, scope: Scope) -> tuple[str, ...] | None:
    """Who shares answers with whom at `scope`; None if nobody known asks, and then nothing is read or stored.

    A user is named by a key, so the same name from two keys is two users. With open access the principal is
    `anonymous`: one user, as it is one key, unless it names users.
    """
    who = exchange.principal
    if not who.key_id or not who.tenant:
        return None
    match scope:
        case "user":
            return ("user", who.tenant, who.key_id, exchange.user)
        case "key":
            return ("key", who.tenant, who.key_id)
        case "tenant":
            return ("tenant", who.tenant)
        case "route":
            return ("route",)


def semantic_fields(body: Body) -> dict[str, Any]:
    """The body without the fields that cannot change the answer. Shallow: values are shared, not copied."""
    return {name: value for name, value in body.items() if name not in _IGNORED}


def exact_id(key: str) -> str:
    """The public id of an exact entry: long enough not to be guessed, and checked against the whole key on reading."""
    return "e-" + key[:32]
