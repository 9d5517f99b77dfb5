"""The whole of it: their text in, our YAML and the list of what has no counterpart out. Pure."""

from __future__ import annotations

import re
from typing import Any

import yaml

from gateway.commands.litellm import guards, settings
from gateway.commands.litellm.models import Providers, grouped, models
from gateway.commands.litellm.source import Notes, Secrets, Section

_FLAT = 110
"""Characters up to which a mapping or list is written on one line."""
_ENTRIES = ("providers", "models", "guardrails", "routes")
"""Sections with an entry for each name."""
_REASONS = {
    "environment_variables": "set them where the gateway is started; values are read with ${NAME}",
    "mcp_servers": "no MCP servers of the gateway's own",
    "vector_store_registry": "no counterpart",
    "include": "no includes: put all into one file",
    "files_settings": "files are relayed to the model's provider",
    "finetune_settings": "no counterpart",
    "search_tools": "no tools of the gateway's own",
}


class Unreadable(ValueError):
    """Their file cannot be used at all; the message says why."""


class Moved:
    """`text`: our YAML, the notes as comments at its head. `notes`: (path in their file, what it means)."""

    def __init__(self, text: str, notes: list[tuple[str, str]]) -> None:
        self.text = text
        self.notes = notes


def moved(text: str) -> Moved:
    """Raises `Unreadable`."""
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise Unreadable(f"it is no valid YAML{f' (line {mark.line + 1})' if mark else ''}") from None
    except RecursionError:
        raise Unreadable("it is nested too deep") from None
    if not isinstance(value, dict) or "model_list" not in value:
        raise Unreadable("it has no `model_list`; is it a LiteLLM config.yaml?")
    notes, secrets = Notes(), Secrets(text)
    source = Section(value, "", notes)
    providers = Providers()
    made = models(grouped(source.take("model_list"), source.take("credential_list"), secrets, notes), providers)
    if not made:
        told = "".join(f"\n  {_plain(path)}: {_plain(text)}" for path, text in notes.all)
        raise Unreadable(f"no entry of its `model_list` can be served{told}")
    config: dict[str, Any] = {
        "version": 1,
        "server": {"host": "127.0.0.1", "port": 4000},
        "providers": providers.all,
        "models": made,
        "guardrails": {},
        "routes": {"default": {}},
        "telemetry": {},
    }
    settings.router(source.section("router_settings"), config, secrets)
    settings.house(source.section("litellm_settings"), config, secrets)
    settings.general(source.section("general_settings"), config)
    guards.guardrails(source.take("guardrails"), config, secrets, notes)
    source.rest(_REASONS)
    return Moved(_head(notes) + written(_ordered(config)), notes.all)


def _ordered(config: dict[str, Any]) -> dict[str, Any]:
    """In the order in which a request flows, less what is empty."""
    order = (
        "version",
        "server",
        "redis",
        "qdrant",
        "providers",
        "models",
        "guardrails",
        "routes",
        "access",
        "telemetry",
    )
    if not config["routes"]["default"]:
        del config["routes"]["default"]
    return {name: config[name] for name in order if config.get(name)}


def _head(notes: Notes) -> str:
    lines = ["# Made by `tidegate import litellm`. Look it through, then: tidegate check --config THIS-FILE"]
    if notes.all:
        lines += ["#", "# Without a counterpart, or with another meaning:"]
        lines += [f"#   {_plain(path)}: {_plain(text)}" for path, text in notes.all]
    return "\n".join(lines) + "\n\n"


def _plain(text: str) -> str:
    """One line, whatever their file holds."""
    return re.sub(r"[^\x20-\x7e]", "?", text)[:300]


def written(config: dict[str, Any]) -> str:
    """Sections apart, short mappings on one line; strings with a variable in double quotes, or they are not filled in."""
    return "\n".join(
        yaml.dump(
            _Block({name: _Block(value) if name in _ENTRIES else value}),
            Dumper=_Dumper,
            sort_keys=False,
            allow_unicode=True,
            width=10_000,
        )
        for name, value in config.items()
    )


class _Block(dict[str, Any]):
    """A mapping with a line for each key."""


class _Dumper(yaml.SafeDumper):
    """Decides the style of each node."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _mapping(dumper: _Dumper, value: dict[str, Any]) -> yaml.Node:
    node = dumper.represent_mapping("tag:yaml.org,2002:map", value.items())
    block = isinstance(value, _Block)
    node.flow_style = not block and len(str(value)) <= _FLAT and not any(_deep(each) for each in value.values())
    return node


def _sequence(dumper: _Dumper, value: list[Any]) -> yaml.Node:
    node = dumper.represent_sequence("tag:yaml.org,2002:seq", value)
    node.flow_style = len(str(value)) <= _FLAT
    return node


def _string(dumper: _Dumper, value: str) -> yaml.Node:
    quoted = "${" in value or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_./ -]*", value)
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style='"' if quoted else None)


def _deep(value: Any) -> bool:
    """A mapping that holds mappings is easier read in blocks."""
    return isinstance(value, dict) and any(isinstance(each, dict | list) for each in value.values())


_Dumper.add_representer(dict, _mapping)
_Dumper.add_representer(_Block, _mapping)
_Dumper.add_representer(list, _sequence)
_Dumper.add_representer(str, _string)
