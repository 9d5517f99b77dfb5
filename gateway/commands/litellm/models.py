"""Their deployments as our providers and models."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from gateway.commands.litellm.deployments import Deployment, deployment, timeouts
from gateway.commands.litellm.source import Notes, Secrets, Section

_MOST_ATTEMPTS = 10


class Providers:
    """Our `providers:`. Entries that are the same get one name."""

    def __init__(self) -> None:
        self.all: dict[str, dict[str, Any]] = {}
        self._names: dict[str, str] = {}

    def name(self, provider: Mapping[str, Any], urls: list[str]) -> str:
        where = {"base_url": urls[0]} if len(urls) == 1 and urls[0] else {"endpoints": urls} if len(urls) > 1 else {}
        entry = {**provider, **where}
        kind = json.dumps(entry, sort_keys=True)
        if kind not in self._names:
            stem, count = str(entry["type"]), 1
            name = stem
            while name in self.all:
                count += 1
                name = f"{stem}-{count}"
            self._names[kind] = name
            self.all[name] = {"type": entry.pop("type"), **entry}
        return self._names[kind]


def grouped(entries: Any, credentials: Any, secrets: Secrets, notes: Notes) -> dict[str, list[Deployment]]:
    """By the name that clients ask for. `credentials`: their `credential_list`, which entries name."""
    named = _named(credentials)
    groups: dict[str, list[Deployment]] = {}
    if not isinstance(entries, list):
        notes.add("model_list", "is absent or no list")
        return groups
    for at, entry in enumerate(entries):
        made = deployment(Section(_filled(entry, named), f"model_list[{at}]", notes), secrets)
        if made is not None:
            groups.setdefault(made.group, []).append(made)
    return groups


def _named(credentials: Any) -> dict[str, dict[str, Any]]:
    rows = [row for row in credentials if isinstance(row, dict)] if isinstance(credentials, list) else []
    return {str(row.get("credential_name")): dict(row.get("credential_values") or {}) for row in rows}


def _filled(entry: Any, named: Mapping[str, dict[str, Any]]) -> Any:
    """The entry with the values of the credential that it names; its own come first."""
    params = entry.get("litellm_params") if isinstance(entry, dict) else None
    if not isinstance(params, dict) or params.get("litellm_credential_name") not in named:
        return entry
    own = {name: value for name, value in params.items() if name != "litellm_credential_name"}
    return {**entry, "litellm_params": {**named[params["litellm_credential_name"]], **own}}


def models(groups: Mapping[str, list[Deployment]], providers: Providers) -> dict[str, dict[str, Any]]:
    """Our `models:`, less what their router says of them."""
    made = {}
    for group, deployments in groups.items():
        model: dict[str, Any] = {"targets": _targets(deployments, providers)}
        times = timeouts(_first(d.total for d in deployments), _first(d.ttft for d in deployments))
        if times:
            model["timeouts"] = times
        retries = _first(d.retries for d in deployments)
        if retries is not None:
            model["retry"] = {"attempts": attempts(retries)}
        parallel = [d.parallel for d in deployments if d.parallel]
        if len(parallel) == len(deployments):  # of one without a limit there are as many as come
            model["concurrency"] = sum(parallel)
        made[group] = model
    return made


def attempts(retries: float) -> int:
    """Ours count the first try."""
    return max(1, min(_MOST_ATTEMPTS, int(retries) + 1))


def _targets(deployments: list[Deployment], providers: Providers) -> list[dict[str, Any]]:
    """Replicas that differ in their address alone become the endpoints of one provider; others are targets of their own."""
    kinds: dict[str, list[Deployment]] = {}
    for each in deployments:
        kinds.setdefault(each.kind, []).append(each)
    weights = _weights([sum(d.weight or 0 for d in same) for same in kinds.values()])
    targets = []
    for same, weight in zip(kinds.values(), weights, strict=True):
        urls = list(dict.fromkeys(d.url for d in same))
        first = same[0]
        target: dict[str, Any] = {
            "provider": providers.name(first.provider, urls),
            "model": first.model,
            **first.target,
        }
        if weight is not None and len(kinds) > 1:
            target["weight"] = weight
        targets.append(target)
    return targets


def _weights(given: list[float]) -> list[int | None]:
    """As whole numbers in the same proportion; None where they say nothing."""
    if not any(given) or len(set(given)) == 1:
        return [None] * len(given)
    least = min(value for value in given if value > 0)
    scale = 1 / least if least < 1 else 1
    whole = [max(1, round(value * scale)) if value > 0 else 0 for value in given]
    common = math.gcd(*whole)
    return [value // common for value in whole]


def _first(values: Iterable[Any]) -> Any:
    return next((value for value in values if value is not None), None)
