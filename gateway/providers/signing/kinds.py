"""The kinds of auth that sign each call, by the word that profiles use."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.providers.signing import aws, oauth, service_account
from gateway.providers.signing.signer import Given, Kind

KINDS: Mapping[str, Kind] = {
    "sigv4": aws.KIND,
    "service-account": service_account.KIND,
    "oauth": oauth.KIND,
}


def places(given: Given) -> dict[str, str]:
    """What a base URL may leave open: `{region}`, `{project}`, `{location}`; only what is known."""
    found = {"region": region} if (region := aws.region_of(given.aws)) else {}
    return found | (service_account.places(given.google) if given.google is not None else {})
