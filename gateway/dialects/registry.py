"""The dialects there are, by the name that routes and profiles use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from gateway.core.ports import Dialect
from gateway.core.request import Body
from gateway.dialects import anthropic_to_neutral, gemini_to_neutral, openai_to_neutral, responses_to_neutral
from gateway.dialects.anthropic import Anthropic
from gateway.dialects.converse import Converse
from gateway.dialects.gemini import Gemini
from gateway.dialects.gemini_vectors import openai_body
from gateway.dialects.neutral import Neutral
from gateway.dialects.openai import OpenAI
from gateway.dialects.responses import Responses


def _readers() -> Mapping[str, Callable[[Body], Neutral]]:
    return {
        OpenAI.name: openai_to_neutral.to_neutral,
        Anthropic.name: anthropic_to_neutral.to_neutral,
        Responses.name: responses_to_neutral.to_neutral,
        Gemini.name: gemini_to_neutral.to_neutral,
    }


def upstream_dialects() -> Mapping[str, Dialect]:
    """What providers may be asked in: the clients' dialects, and wires that only providers speak."""
    return MappingProxyType({**dialects(), Converse.name: Converse(_readers())})


def dialects() -> Mapping[str, Dialect]:
    """One stateless codec for each dialect that clients speak; every one can say what a client of any other asked for."""
    readers = _readers()
    found: tuple[Dialect, ...] = (
        OpenAI(readers, {Gemini.name: openai_body}),
        Anthropic(readers),
        Responses(),
        Gemini(readers),
    )
    return MappingProxyType({dialect.name: dialect for dialect in found})
