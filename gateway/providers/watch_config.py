"""How a pool of equal endpoints is found and watched: the parts of a provider's section that say it."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Literal, Protocol, get_args

import msgspec

from gateway.core.units import Duration
from gateway.pools.balance import Balance
from gateway.providers import catalog
from gateway.providers.engine import Field, Page
from gateway.providers.profile import Profile
from gateway.providers.scrape_reading import MOST_NAME_CHARS, PageReader

Switch = Literal["on", "off"]


class DiscoverConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Endpoints by DNS: every address of a name is one (a headless service). A name that begins with an underscore is
    asked for its SRV records, which bring names and ports of their own."""

    dns: str
    port: int | None = None
    path: str = "/v1"
    scheme: Literal["http", "https"] = "http"
    every: Duration = Duration(5.0)
    keep: Duration = Duration(30.0)
    """How long an endpoint is kept that the name has no more: it drains meanwhile. Longer while calls are under way."""
    resolver: str | None = None
    """`ip:port` of a name server; absent: the machine's own, with its search domains."""


class HealthConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Absent values are the catalog's. A server under load answers slowly: keep `timeout` generous."""

    path: str | None = None
    every: Duration = Duration(5.0)
    timeout: Duration = Duration(10.0)
    failures: int = 3
    """In a row, to count as ill. One success makes it well."""


class MetricsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`names`: an engine's new names of a field, looked for before the catalog's: for a version that this one does not
    know."""

    path: str | None = None
    port: int | None = None
    every: Duration = Duration(1.5)
    timeout: Duration = Duration(5.0)
    names: dict[Field, list[str]] = msgspec.field(default_factory=dict)


class Watched(Protocol):
    """What a provider's section says of it."""

    @property
    def type(self) -> str: ...
    @property
    def base_url(self) -> str | None: ...
    @property
    def endpoints(self) -> list[str]: ...
    @property
    def balance(self) -> Balance: ...
    @property
    def discover(self) -> DiscoverConfig | None: ...
    @property
    def health(self) -> Switch | HealthConfig | None: ...
    @property
    def metrics(self) -> Switch | MetricsConfig | None: ...


def adapter_problem(adapter: str, type_: str) -> str | None:
    """What is wrong with naming an adapter of a provider of this type; None when nothing is."""
    if type_ in catalog.types() and catalog.profile(type_).engine.adapter is None:
        return f"a provider of type {type_!r} has no names for adapters in a request"
    if not adapter.strip() or len(adapter) > MOST_NAME_CHARS:
        return f"must be a name of 1 to {MOST_NAME_CHARS} characters"
    return None


READS: frozenset[Balance] = frozenset(("prefix",))
"""The balances that use what engines tell of their load."""


def plural(config: Watched) -> bool:
    return config.discover is not None or len(config.endpoints) > 1


def health_of(config: Watched, profile: Profile) -> HealthConfig | None:
    """How to probe; None: not at all. Unsaid: where there is a choice of endpoints, and the engine has a page for it."""
    said = config.health
    if said == "off" or (said is None and not (plural(config) and profile.engine.health)):
        return None
    return said if isinstance(said, HealthConfig) else HealthConfig()


def metrics_of(config: Watched, profile: Profile) -> MetricsConfig | None:
    """What to read and how often; None: nothing. Unsaid: where the balance uses it, and the engine tells something."""
    said = config.metrics
    wanted = plural(config) and config.balance in READS and bool(profile.engine.pages)
    if said == "off" or (said is None and not wanted):
        return None
    return said if isinstance(said, MetricsConfig) else MetricsConfig()


def watch_problems(config: Watched, profile: Profile) -> Iterable[tuple[str, str]]:
    if config.discover is not None:
        if config.base_url or config.endpoints:
            yield "discover", "give one of base_url, endpoints and discover"
        yield from _discover(config.discover)
    health, metrics = health_of(config, profile), metrics_of(config, profile)
    if health is not None:
        yield from _health(health, profile, config.type)
    if metrics is not None:
        yield from _metrics(metrics, profile, config.type)


def _discover(said: DiscoverConfig) -> Iterable[tuple[str, str]]:
    name = said.dns
    labels = name.removesuffix(".").split(".")
    if not name.isascii() or len(name) > 253 or not all(0 < len(label) < 64 and _is_label(label) for label in labels):
        yield "discover.dns", f"{name!r} is not a name that a name server could have"
    elif name.startswith("_"):
        if said.port is not None:
            yield "discover.port", "SRV records bring their own ports; leave it out"
    elif said.port is None:
        yield "discover.port", "missing; say on which port the engines answer"
    if said.port is not None and not 1 <= said.port <= 65535:
        yield "discover.port", f"{said.port} is not a port"
    if said.path and not said.path.startswith("/"):
        yield "discover.path", "must begin with a slash"
    yield from _at_least("discover.every", said.every, 0.1)
    if said.resolver is not None and address_of(said.resolver) is None:
        yield "discover.resolver", f"{said.resolver!r} is not an address and a port, such as 10.96.0.10:53"


def _is_label(label: str) -> bool:
    return all(c.isalnum() or c in "-_" for c in label)


def address_of(resolver: str) -> tuple[str, int] | None:
    """`127.0.0.1:5353` or `[::1]:53`, taken apart; None when it is neither."""
    host, colon, port = resolver.rpartition(":")
    try:
        address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None
    return (str(address), int(port)) if colon and port.isdecimal() and 0 < int(port) < 65536 else None


def _health(said: HealthConfig, profile: Profile, type_: str) -> Iterable[tuple[str, str]]:
    if said.path is None and profile.engine.health is None:
        yield "health.path", f"missing; a provider of type {type_!r} has no page for it"
    elif said.path is not None and not said.path.startswith("/"):
        yield "health.path", "must begin with a slash"
    if not 1 <= said.failures <= 100:
        yield "health.failures", f"{said.failures} is not between 1 and 100"
    yield from _at_least("health.every", said.every, 0.01)
    yield from _at_least("health.timeout", said.timeout, 0.01)


def _metrics(said: MetricsConfig, profile: Profile, type_: str) -> Iterable[tuple[str, str]]:
    if not profile.engine.pages and not (said.path and said.names):
        yield "metrics", f"a provider of type {type_!r} tells nothing that is known here; give path and names, or off"
    if said.path is not None and not said.path.startswith("/"):
        yield "metrics.path", "must begin with a slash"
    if said.port is not None and not 1 <= said.port <= 65535:
        yield "metrics.port", f"{said.port} is not a port"
    yield from _at_least("metrics.every", said.every, 0.01)
    yield from _at_least("metrics.timeout", said.timeout, 0.01)
    for name in said.names:
        if name not in get_args(Field):
            yield f"metrics.names.{name}", f"is no field; there are {', '.join(get_args(Field))}"
    try:
        readers(said, profile)
    except ValueError as error:
        yield "metrics.names", str(error)


def readers(said: MetricsConfig, profile: Profile) -> list[PageReader]:
    """The pages to read; the operator's path, port and names are those of the first. Raises ValueError."""
    names: Mapping[Field, list[str]] = said.names
    first, *others = profile.engine.pages or (Page(path=said.path or ""),)
    changed = msgspec.structs.replace(first, path=said.path or first.path, port=said.port or first.port)
    return [PageReader(changed, names), *(PageReader(page) for page in others)]


def _at_least(where: str, seconds: float, least: float) -> Iterable[tuple[str, str]]:
    if seconds < least:
        yield where, f"must be at least {least * 1000:g}ms"
