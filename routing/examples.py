"""Example utterances: read from the config or from a file of their own, and checked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml

OUT_OF_SCOPE = "out_of_scope"
UNCLEAR = "unclear"

_LARGEST_FILE = 8 * 1024 * 1024
_MOST_INTENTS = 1000
_MOST_EXAMPLES = 50_000
_LONGEST = 2000


class ExamplesError(Exception):
    """Examples that cannot be used. The message says which and why; the config key is the caller's to name."""


class Examples(msgspec.Struct, frozen=True):
    """`texts[i]` is an example of the intent `labels[i]`. `outside`: texts that are about none of them."""

    texts: list[str]
    labels: list[str]
    outside: list[str]

    @property
    def intents(self) -> list[str]:
        return list(dict.fromkeys(self.labels))


def load_examples(source: str | Mapping[str, list[str]], base: Path) -> Examples:
    """`source`: a path relative to `base`, or the mapping itself. Raises `ExamplesError`."""
    table: Any = _read(base / source, source) if isinstance(source, str) else source
    name = f"{source}: " if isinstance(source, str) else ""
    if not isinstance(table, Mapping):
        raise ExamplesError(f"{name}expected a mapping of intents to lists of example utterances")
    texts: list[str] = []
    labels: list[str] = []
    outside: list[str] = []
    for intent, utterances in table.items():
        for text in _utterances(f"{name}{intent}", intent, utterances):
            if intent == OUT_OF_SCOPE:
                outside.append(text)
            else:
                texts.append(text)
                labels.append(intent)
    examples = Examples(texts, labels, outside)
    if not texts:
        raise ExamplesError(f"{name}no examples of any intent")
    if len(examples.intents) > _MOST_INTENTS or len(texts) + len(outside) > _MOST_EXAMPLES:
        raise ExamplesError(f"{name}more than {_MOST_INTENTS} intents or {_MOST_EXAMPLES} examples")
    return examples


def _utterances(where: str, intent: object, utterances: object) -> list[str]:
    if not isinstance(intent, str) or not intent.strip():
        raise ExamplesError(f"{where}: an intent's name must be text")
    if intent == UNCLEAR:
        raise ExamplesError(f"{where}: means `between two intents` and can have no examples of its own")
    if not isinstance(utterances, list) or not utterances:
        raise ExamplesError(f"{where}: expected a list of example utterances")
    for at, text in enumerate(utterances):
        if not isinstance(text, str) or not text.strip():
            raise ExamplesError(f"{where}[{at}]: expected text")
        if len(text) > _LONGEST:
            raise ExamplesError(f"{where}[{at}]: longer than {_LONGEST} characters; an example is one utterance")
    return utterances


def _read(path: Path, name: str) -> Any:
    """Scalars stay text: an utterance may well be `no` or `911`."""
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise ExamplesError(f"{name} is larger than {_LARGEST_FILE} bytes")
        return yaml.load(path.read_text("utf-8"), Loader=yaml.BaseLoader)  # noqa: S506 - makes strings only
    except OSError as error:
        raise ExamplesError(f"cannot read {name}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ExamplesError(f"{name} is not UTF-8") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark else ""
        raise ExamplesError(f"{name} is not valid YAML{where}") from None
