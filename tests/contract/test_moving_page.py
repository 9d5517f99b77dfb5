"""The page about moving from LiteLLM names what the command really does."""

from __future__ import annotations

import re
from pathlib import Path

from gateway import config as configuration
from gateway.commands.litellm.convert import moved
from gateway.commands.litellm.deployments import prefixes
from gateway.providers import catalog

TEXT = (Path(__file__).resolve().parents[2] / "docs/moving-from-litellm.md").read_text("utf-8")


def test_the_page_and_the_output_agree(tmp_path: Path) -> None:
    """The address it says, and the sections its table has on the right."""
    made = moved(
        "model_list: [{model_name: m, litellm_params: {model: hosted_vllm/m, api_base: 'http://127.0.0.1:9/v1'}}]"
    )
    config = configuration.read(made.text, tmp_path, {})
    assert f"{config.server.host}:{config.server.port}" in TEXT
    for word in re.findall(r"`(on_\w+|retry\.attempts|timeouts\.\w+)`", TEXT):
        part = config.models["m"]
        for name in word.split("."):
            part = getattr(part, name)


def test_every_provider_of_the_table_is_in_the_catalog() -> None:
    """A prefix that leads to a type that is none would only show when somebody moves."""
    for prefix in prefixes().values():
        assert prefix.type in catalog.types()
        assert prefix.own is None or prefix.own in catalog.types()
