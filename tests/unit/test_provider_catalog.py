"""The catalog of providers: every file is sound, layers merge in order, and mistakes are told."""

from __future__ import annotations

import pytest

from gateway.core.secret import Secret
from gateway.dialects.registry import upstream_dialects
from gateway.providers import catalog
from gateway.providers.addresses import filled
from gateway.providers.auth import auth_headers
from gateway.providers.http_request import wrong_url
from gateway.providers.profile import Profile, merge

KINDS = (
    "anthropic azure azure-deployments bedrock cohere deepseek gemini groq llama-cpp mistral ollama openai "
    "openai-compatible openrouter sglang tgi together trtllm vertex vertex-anthropic vllm xai"
)
PLACES = {"region": "eu-west-1", "location": "europe-west4", "project": "acme-ai"}


def test_the_kinds_that_are_promised_are_there() -> None:
    """Every kind of provider that the documentation names has its file."""
    assert set(KINDS.split()) <= set(catalog.types())


@pytest.mark.parametrize("kind", catalog.types())
def test_every_file_of_the_catalog_is_sound(kind: str) -> None:
    """A profile speaks a dialect that exists, has a usable address or asks for one, and forwards no credential."""
    profile = catalog.profile(kind)
    assert profile.dialect in upstream_dialects()
    assert profile.base_url is None or wrong_url(filled(profile.base_url, PLACES)) is None
    assert profile.base_url is None or profile.base_url.startswith("https://") or "127.0.0.1" in profile.base_url
    assert profile.operations
    secret = {"authorization", "x-api-key", "api-key", "cookie", "proxy-authorization"}
    assert not secret & {name.lower() for name in (*profile.forward, *profile.headers)}
    assert not set(profile.params.drop) & {"messages", "tools", "response_format", "temperature", "max_tokens"}


def test_an_unknown_kind_is_told_with_the_nearest() -> None:
    """A misspelt type names the one that was meant."""
    with pytest.raises(catalog.CatalogError, match="did you mean 'mistral'"):
        catalog.profile("mistrall")


def test_the_operator_has_the_last_word() -> None:
    """Mappings merge key by key, lists and values are replaced, null takes away."""
    profile = catalog.profile(
        "mistral",
        {
            "params": {"rename": {"seed": None, "a": "b"}, "drop": ["x"]},
            "trust": "internal",
            "stream": {"always": True},
        },
    )
    assert profile.params.rename == {"max_completion_tokens": "max_tokens", "a": "b"}
    assert profile.params.drop == ("x",)
    assert profile.trust == "internal"
    assert profile.stream.always
    assert profile.base_url == "https://api.mistral.ai/v1"


def test_layers_merge_in_order() -> None:
    """Later layers win, at every depth, and the layers themselves are not changed."""
    first = {"a": {"x": 1, "y": 2}, "b": [1], "c": 1}
    assert merge(first, {"a": {"y": 3}, "b": [2]}, {"c": None}) == {"a": {"x": 1, "y": 3}, "b": [2]}
    assert first == {"a": {"x": 1, "y": 2}, "b": [1], "c": 1}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"colour": "red"}, "colour"),
        ({"auth": "basic"}, "basic"),
        ({"params": {"clamp": {"t": [2, 1]}}}, "low is above high"),
        ({"params": {"clamp": {"t": [1]}}}, "clamp"),
        ({"operations": ["paint"]}, "paint"),
    ],
)
def test_a_wrong_change_is_told(changes: dict[str, object], said: str) -> None:
    """A profile that cannot be read says what is wrong with it."""
    with pytest.raises(catalog.CatalogError, match=said):
        catalog.profile("openai", changes)


def test_an_empty_parameter_table_is_empty() -> None:
    """A provider without quirks costs nothing: the dialect gets an empty table."""
    assert Profile(dialect="openai").params.table() == {}
    assert set(catalog.profile("mistral").params.table()) == {"drop", "rename", "call_ids"}


def test_a_key_goes_into_one_header() -> None:
    """Each kind of auth makes its one header, and none without a key."""
    key = Secret("sk-1")
    assert auth_headers("bearer", key) == (("authorization", "Bearer sk-1"),)
    assert auth_headers("x-api-key", key) == (("x-api-key", "sk-1"),)
    assert auth_headers("api-key", key) == (("api-key", "sk-1"),)
    assert auth_headers("x-goog-api-key", key) == (("x-goog-api-key", "sk-1"),)
    assert auth_headers("none", key) == auth_headers("bearer", None) == auth_headers("bearer", Secret("")) == ()


@pytest.mark.parametrize("text", ["sk-1\n", "sk 1", "sk-\u00e9", "sk\r\nx: y"])
def test_a_key_no_header_can_hold_is_refused(text: str) -> None:
    """A key with a line break, as from a file, is refused at start, and is not in the error."""
    with pytest.raises(ValueError, match="line break") as caught:
        auth_headers("bearer", Secret(text))
    assert text not in str(caught.value)
