"""Who may see what beside the exchanges: the model list, the console."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.admission.admit import Authenticator, may_use
from gateway.admission.keyring import OpenAccess
from gateway.core.errors import GatewayFault
from gateway.core.exchange import Principal
from gateway.http import headers
from gateway.http.asgi import Headers


class Doors:
    """`served`: every name a client may ask for."""

    def __init__(self, keys: Authenticator, served: frozenset[str]) -> None:
        self._keys = keys
        self._served = served

    def principal(self, given: Headers) -> Principal:
        """Whose key it is. Raises `Unauthenticated`."""
        _, credential = headers.decode(given)
        return self._keys.authenticate(credential)

    def visible(self, given: Headers) -> list[str]:
        """The names that the caller's key may ask for. Raises `Unauthenticated`."""
        principal = self.principal(given)
        return sorted(name for name in self._served if may_use(principal, name))

    def may_watch(self, given: Mapping[str, str]) -> bool:
        """The console is open where access is, and so is the management of caches; else an admin key is needed."""
        pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in given.items()]
        _, credential = headers.decode(pairs)
        try:
            principal = self._keys.authenticate(credential)
        except GatewayFault:
            return False
        return principal.admin or isinstance(self._keys, OpenAccess)
