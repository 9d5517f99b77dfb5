"""The `providers:` section of the config, and what is wrong with it.

Checking gives every problem as (path, message), the path as it stands in the file. `build` makes what the rest of the
gateway works with, and raises `InvalidConfig` with all problems rather than the first.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import msgspec

from gateway.core.plan import Capability
from gateway.core.secret import Secret
from gateway.pools.affinity import PrefixScope
from gateway.pools.balance import Balance
from gateway.providers import catalog
from gateway.providers.addresses import filled, open_places
from gateway.providers.auth import AuthKind, auth_headers
from gateway.providers.http_request import is_token, wrong_url
from gateway.providers.profile import ErrorRule, Params, Profile, StreamRules, Trust
from gateway.providers.signing.config import AwsConfig, GoogleConfig, OAuthConfig
from gateway.providers.signing.kinds import KINDS, places
from gateway.providers.watch_config import (
    DiscoverConfig,
    HealthConfig,
    MetricsConfig,
    Switch,
    watch_problems,
)

Problems = list[tuple[str, str]]
_NOT_OURS = frozenset(("host", "content-length", "transfer-encoding", "connection", "accept-encoding", "te", "upgrade"))
_OPERATOR = (
    "paths", "params", "finish_reasons", "errors", "stream", "headers", "forward", "trust", "auth", "native",
    "capabilities", "query",
)  # fmt: skip


class InvalidConfig(ValueError):
    """Everything that is wrong, each with its path."""

    def __init__(self, problems: Problems) -> None:
        super().__init__("; ".join(f"{path}: {message}" for path, message in problems))
        self.problems = problems


class ProviderConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry of `providers:`. All but `type`, the key and the address changes the profile that the type brings."""

    type: str
    """A file of the catalog."""
    api_key: Secret | None = None
    base_url: str | None = None
    endpoints: list[str] = msgspec.field(default_factory=list)
    """Base URLs of equal replicas, instead of `base_url`."""
    discover: DiscoverConfig | None = None
    """Finds them by DNS, instead of either."""
    health: Switch | HealthConfig | None = None
    """Whether each endpoint is asked if it is well. Absent: where there is a choice, and the engine has a page for it."""
    metrics: Switch | MetricsConfig | None = None
    """Whether what the engine tells of its load is read. Absent: where `balance` uses it."""
    balance: Balance = "least_inflight"
    """How one of several endpoints is picked. `latency`: the shorter wait for the first content. `session`: one endpoint
    for a conversation (`x-tidegate-session`, `x-claude-code-session-id`, else the key), unless it has too much to do.
    `prefix`: where the first token will come soonest, by what each has cached of the prompt and has to read before it."""
    prefix_scope: PrefixScope = "tenant"
    """Whose prompts `prefix` finds alike. `tenant`: those of one tenant's keys. `all`: everybody's, so that a system prompt
    that all share is cached once; whoever can time answers may then learn that somebody asked the same."""
    trust: Trust | None = None
    auth: AuthKind | None = None
    native: list[str] | None = None
    """Other dialects that it can be asked in, at the same address; what a client of one asks is then not translated."""
    proxy: Secret | None = None
    """URL of an HTTP proxy. The environment's proxies are not used."""
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    forward: list[str] | None = None
    paths: dict[str, str] = msgspec.field(default_factory=dict)
    query: dict[str, str] = msgspec.field(default_factory=dict)
    aws: AwsConfig | None = None
    google: GoogleConfig | None = None
    oauth: OAuthConfig | None = None
    params: Params | None = None
    finish_reasons: dict[str, str] = msgspec.field(default_factory=dict)
    capabilities: list[Capability] | None = None
    """What all its models can do, where that is the same."""
    errors: list[ErrorRule] | None = None
    stream: StreamRules | None = None


def profile_of(config: ProviderConfig) -> Profile:
    """The profile with the operator's changes. Raises catalog.CatalogError."""
    changes: dict[str, Any] = {}
    for name in _OPERATOR:
        value = getattr(config, name)
        if value not in (None, {}, []) or (value == [] and name == "capabilities"):  # an empty list of those says much
            changes[name] = msgspec.to_builtins(value)
    return catalog.profile(config.type, changes)


def urls_of(config: ProviderConfig, profile: Profile) -> list[str]:
    """The base URLs to call; empty when they are still to be found, or neither the operator nor the catalog gives one."""
    if config.endpoints or config.discover is not None:
        return list(config.endpoints)
    url = config.base_url or profile.base_url
    return [filled(url, places(config))] if url else []


def provider_problems(providers: Mapping[str, ProviderConfig], dialects: Collection[str]) -> Problems:
    problems: Problems = []
    if not providers:
        problems.append(("providers", "none is configured; give at least one"))
    for name, config in providers.items():
        problems += [(f"providers.{name}{'.' if at else ''}{at}", message) for at, message in _one(config, dialects)]
    return problems


def _one(config: ProviderConfig, dialects: Collection[str]) -> Iterable[tuple[str, str]]:
    try:
        profile = profile_of(config)
    except catalog.CatalogError as error:
        yield ("type" if config.type not in catalog.types() else ""), str(error)
        return
    if profile.dialect not in dialects:
        yield "type", f"{config.type!r} speaks the dialect {profile.dialect!r}, which this version does not have"
    for at, named in enumerate(profile.native):
        if named not in dialects and profile.dialect in dialects:
            yield f"native[{at}]", unknown("dialect", named, dialects)
    if profile.native and "chat" in profile.paths:
        yield "native", "cannot be set beside paths.chat: the path would be that of every dialect; use two providers"
    yield from watch_problems(config, profile)
    if config.prefix_scope != "tenant" and config.balance != "prefix":
        yield (
            "prefix_scope",
            f"says nothing beside balance: {config.balance}, which does not look at prompts; use prefix",
        )
    yield from _addresses(config, profile)
    yield from _credentials(config, profile)
    for name in {**profile.headers, **dict.fromkeys(profile.forward, "")}:
        if name.lower() in _NOT_OURS or not is_token(name):
            yield "headers", f"{name!r} cannot be sent: it is no header name, or belongs to the connection itself"
    for name, value in profile.headers.items():
        if not (value.isascii() and value.isprintable()):
            yield f"headers.{name}", "holds a line break or a character that is not ASCII"
    for operation, path in profile.paths.items():
        if not path.startswith("/"):
            yield f"paths.{operation}", "must begin with a slash"
        if {*open_places(path)} - {"model"}:
            yield f"paths.{operation}", "may have one place to fill in, {model}"


def _addresses(config: ProviderConfig, profile: Profile) -> Iterable[tuple[str, str]]:
    if config.base_url and config.endpoints:
        yield "endpoints", "give either base_url or endpoints, not both"
    if config.discover is None and not urls_of(config, profile):
        yield "base_url", f"missing; a provider of type {config.type!r} has no address of its own"
    for at, url in enumerate(urls_of(config, profile)):
        where = f"endpoints[{at}]" if config.endpoints else "base_url"
        for place in open_places(url):
            yield where, f"{{{place}}} in it is not known; give the section that says it, or write the address out"
        wrong = wrong_url(url)
        if wrong:
            yield where, wrong
    if len(set(config.endpoints)) < len(config.endpoints):
        yield "endpoints", "the same address is there twice"


def _credentials(config: ProviderConfig, profile: Profile) -> Iterable[tuple[str, str]]:
    if profile.auth in KINDS:
        yield from KINDS[profile.auth].problems(config)
    elif profile.key == "required" and profile.auth != "none" and not config.api_key:
        yield "api_key", f"missing; a provider of type {config.type!r} needs one"
    else:
        try:
            auth_headers(profile.auth, config.api_key)
        except ValueError as error:
            yield "api_key", str(error)
    if config.proxy is not None and not config.proxy.reveal().startswith(("http://", "https://")):
        yield "proxy", "must be the URL of an HTTP proxy, such as http://proxy.internal:3128"


def unknown(what: str, name: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    return f"there is no {what} {name!r}{hint}"
