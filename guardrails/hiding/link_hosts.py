"""Whose links may carry private values: the client's own, and those the operator lists."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

from gateway.core.request import Request
from guardrails.hiding.links import HOST

MAX_HOSTS = 1_000
"""Of one request. What comes after is not allowed."""

_LINK = re.compile(
    rf"//(?:[^\s/?#@\"'<>\\]{{0,256}}@)?({HOST})(?::[0-9]{{1,5}})?(?![\w.@:\\$-])"
    r"|(?<![\w.@-])(?i:(www\.[\w.-]{1,249}))(?![\w@:\\-])"
)
_PLACEHOLDER = re.compile(r"\[\[[A-Z][A-Z0-9_]*_[0-9]+\]\]")


def own_hosts(request: Request, values: Mapping[str, str]) -> frozenset[str]:
    """The hosts, in small letters, of the links that system and user texts have in them: not of tool results, nor of
    retrieved text, which others wrote. `values`: what was masked there, since a link may have been."""
    hosts: set[str] = set()
    for slot in request.slots:
        if slot.role not in ("system", "user") or slot.kind != "text":
            continue
        text = _PLACEHOLDER.sub(lambda match: values.get(match[0], match[0]), slot.text)
        for match in _LINK.finditer(text):
            hosts.add((match[1] or match[2]).lower().rstrip("."))
            if len(hosts) >= MAX_HOSTS:
                return frozenset(hosts)
    return frozenset(hosts)


class Allowed:
    """May a private value stand in a link to this host? The client's texts are read when that is first asked."""

    __slots__ = ("_listed", "_own", "_read")

    def __init__(self, listed: Iterable[str] = (), own: Callable[[], frozenset[str]] = frozenset) -> None:
        self._listed = tuple(host.lower().strip(".") for host in listed)
        self._read = own
        self._own: frozenset[str] | None = None

    def __call__(self, host: str) -> bool:
        """`host` in small letters. Hosts that are listed stand for those below them too."""
        if any(host == listed or host.endswith("." + listed) for listed in self._listed):
            return True
        if self._own is None:
            self._own = self._read()
        return host in self._own
