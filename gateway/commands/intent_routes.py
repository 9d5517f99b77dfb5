"""A route's intents as the commands need them: the section, its examples and its head."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.commands.scoring import DataError, Say

if TYPE_CHECKING:
    from gateway.commands.scoring import TellingEncoder
    from routing.config import IntentsConfig
    from routing.examples import Examples
    from routing.head import Head


def intent_routes(config: Any) -> dict[str, IntentsConfig]:
    """The routes that have intents. Raises `DataError` if none has."""
    found = {name: route.intents for name, route in config.all_routes().items() if route.intents is not None}
    if not found:
        raise DataError("no route of this configuration has intents; see `routes.<name>.intents`")
    return found


def chosen_route(config: Any, named: str | None) -> tuple[str, IntentsConfig]:
    """The route named, or the only one with intents. Raises `DataError`."""
    found = intent_routes(config)
    if named is None and len(found) > 1:
        raise DataError(f"several routes have intents ({', '.join(found)}): say which with --route")
    name = named or next(iter(found))
    if name not in found:
        raise DataError(f"no route with intents is called {name!r}; there is: {', '.join(found)}")
    return name, found[name]


def explained_route(config: Any, named: str | None) -> tuple[str, Any]:
    """The route named, or the only one that has intents or tiers. Raises `DataError`."""
    found = {name: r for name, r in config.all_routes().items() if r.intents is not None or r.tiers is not None}
    if not found:
        raise DataError("no route of this configuration has intents or tiers; see `routes.<name>`")
    if named is None and len(found) > 1:
        raise DataError(f"several routes have intents or tiers ({', '.join(found)}): say which with --route")
    name = named or next(iter(found))
    if name not in found:
        raise DataError(f"no route with intents or tiers is called {name!r}; there is: {', '.join(found)}")
    return name, found[name]


def examples_of(intents: IntentsConfig, base: Path) -> Examples:
    """Raises `DataError`."""
    from routing.examples import ExamplesError, load_examples

    try:
        return load_examples(intents.examples, base)
    except ExamplesError as error:
        raise DataError(str(error)) from None


def head_of(examples: Examples, encoder: TellingEncoder, say: Say) -> Head:
    """The head the gateway itself would use: kept with the encoder, so the second time is quick."""
    from gateway.embedding.files import models_dir
    from routing.build import fitted

    return fitted(examples, encoder, models_dir() / "heads", say)
