"""What is known of a kind of provider, as data: one `Profile` merged from layers, no code.

Layers, each over the one before: the defaults here < `catalog/dialects/DIALECT.yaml` < `catalog/TYPE.yaml` < the
operator's own section of the config. Mappings merge key by key, anything else is replaced, and null takes a key away.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from gateway.core.plan import Capability
from gateway.core.request import Operation
from gateway.providers.auth import AuthKind
from gateway.providers.engine import Engine

Trust = Literal["internal", "external"]
FaultName = Literal[
    "context_overflow",
    "content_refused",
    "upstream_rejected",
    "upstream_refused_us",
    "upstream_limited",
    "upstream_failed",
]
Bound = float | int | None


class CallIds(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What ids of tool calls must be: exactly `length` letters and digits. Others are replaced by one made of them."""

    length: int


class Params(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The parameter table, applied by the dialect to the top level of the body: drop, rename, default, clamp, force; and
    what ids of earlier calls must be.

    The catalog renames where the meaning stays and drops only what changes no answer. Anything else that a provider
    cannot do is its own clear error, unless an operator chooses to drop it.
    """

    drop: tuple[str, ...] = ()
    rename: dict[str, str] = {}
    default: dict[str, Any] = {}
    clamp: dict[str, tuple[Bound, Bound]] = {}
    """Name to [low, high]; null is no bound."""
    force: dict[str, Any] = {}
    call_ids: CallIds | None = None

    def table(self) -> dict[str, Any]:
        """As `Dialect.call` takes it: only what is there, so that an empty table costs nothing."""
        made = {name: getattr(self, name) for name in ("drop", "rename", "default", "clamp", "force")}
        if self.call_ids is not None:
            made["call_ids"] = {"length": self.call_ids.length}
        return {name: value for name, value in made.items() if value}


class ErrorRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An error reply that means something else than its status says. The first rule that fits is taken."""

    fault: FaultName
    status: int | None = None
    contains: str = ""
    """Text in the first 64 KiB of the reply's body, in any case of letters."""


class StreamRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a provider streams.

    `always`: call it in streaming mode also when the client wants one whole answer, which is folded downstream. For
    engines that go on generating after the caller of a whole answer left.
    """

    always: bool = False


class Profile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One provider, ready for `Upstream`."""

    dialect: str
    native: tuple[str, ...] = ()
    """Other dialects it is asked in, for clients that speak them: same address, same credential, nothing translated."""
    base_url: str | None = None
    auth: AuthKind = "bearer"
    key: Literal["required", "optional"] = "required"
    operations: tuple[Operation, ...] = ("chat",)
    """What it can be asked; anything else is refused before it is called."""
    paths: dict[str, str] = {}
    """Operation to path below the base URL, where it is not the dialect's own. `{model}` in it is the model's name;
    `chat_stream` is for streams, where they have another path."""
    query: dict[str, str] = {}
    """Query parameters of every call, such as Azure's `api-version`."""
    params: Params = Params()
    finish_reasons: dict[str, str] = {}
    """The provider's words to canonical ones."""
    errors: tuple[ErrorRule, ...] = ()
    stream: StreamRules = StreamRules()
    headers: dict[str, str] = {}
    """Sent with every call."""
    forward: tuple[str, ...] = ()
    """The client's headers that are passed on."""
    request_id: tuple[str, ...] = ("x-request-id", "request-id")
    """Reply headers that hold the provider's own id of the call; the first that is there is taken."""
    engine: Engine = Engine()
    """How it is watched, where it is an engine of one's own; a rented provider has nothing of this."""
    trust: Trust = "external"
    capabilities: tuple[Capability, ...] | None = None
    """All that its models can do, where that is the same for all of them; None: nobody has said."""


def merge(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Later layers win."""
    out: dict[str, Any] = {}
    for layer in layers:
        for name, value in layer.items():
            if value is None:
                out.pop(name, None)
            elif isinstance(value, Mapping) and isinstance(out.get(name), Mapping):
                out[name] = merge(out[name], value)
            else:
                out[name] = value
    return out
