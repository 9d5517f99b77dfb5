"""From the configuration to what a check asks: its judge, its classifier; and what is wrong with those keys."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from guardrails.asking.questioner import AT_ONCE, TOKENS, Questioner
from guardrails.asking.tiers import Band
from guardrails.config import GuardrailConfig
from guardrails.kind import Tools

if TYPE_CHECKING:
    from guardrails.asking.onnx_classifier import OnnxClassifier

Found = Iterator[tuple[str, str]]
SLOW = 0.2
"""Seconds: no model answers in less."""
MOST_AT_ONCE = 256


def questioner_of(name: str, check: GuardrailConfig, tools: Tools) -> Questioner:
    """Raises ValueError where there is no gateway to ask."""
    judge = check.judge
    assert judge is not None, "`problems` has looked"
    if tools.judge is None:
        raise ValueError(f"guardrails.{name}.judge: only a running gateway can ask its models")
    tokens = TOKENS if judge.tokens is None else judge.tokens
    at_once = AT_ONCE if check.at_once is None else check.at_once
    return Questioner(name, tools.judge, judge.model, tokens=tokens, at_once=at_once, memo=tools.memo)


def classifier_of(check: GuardrailConfig) -> OnnxClassifier:
    """Raises `ClassifierError`, which is a ValueError. onnxruntime is imported only here: most need none of it."""
    from guardrails.asking.onnx_classifier import loaded

    assert check.model is not None, "`problems` has looked"
    return loaded(check.model, tuple(check.labels or ()), tuple(check.providers or ()))


def weights_of(model: str) -> str:
    """A digest of a classifier's files: other weights are another check. Its directory makes no difference."""
    found = hashlib.sha256()
    for name in ("config.json", "tokenizer.json", "model.onnx", "model.onnx_data", "model.onnx.data"):
        path = Path(model) / name
        if path.is_file():
            with path.open("rb") as file:
                found.update(name.encode() + hashlib.file_digest(file, "sha256").digest())
    return found.hexdigest()


def band_of(band: Sequence[float] | None, default: Band) -> Band:
    return default if band is None else (band[0], band[1])


def classifier_problems(check: GuardrailConfig, *, needed: bool = False) -> Found:
    """Of `model`, `labels` and `providers`. Loads the model: what is wrong with it only shows then."""
    if check.model is None:
        if needed:
            yield ".model", "missing: write the directory that holds model.onnx, tokenizer.json and config.json"
        for key in ("labels", "providers"):
            if getattr(check, key) is not None:
                yield f".{key}", "means nothing without `model`"
        return
    try:
        classifier_of(check)
    except ValueError as error:
        yield ".model", str(error)


def judge_problems(check: GuardrailConfig, *, needed: bool = False) -> Found:
    """Of `judge`, `at_once` and the deadline. Whether the alias exists only the whole configuration knows."""
    if check.judge is None:
        if needed:
            yield ".judge", "missing: write which of `models:` is asked, such as {model: fast}"
        return
    if check.judge.tokens is not None and not 16 <= check.judge.tokens <= 4096:
        yield ".judge.tokens", "must be between 16 and 4096"
    if check.deadline < SLOW:
        yield ".deadline", f"{check.deadline:g}s is too short for asking a model; write several seconds, such as 5s"
    yield from at_once_problems(check)


def at_once_problems(check: GuardrailConfig) -> Found:
    if check.at_once is not None and not 1 <= check.at_once <= MOST_AT_ONCE:
        yield ".at_once", f"must be between 1 and {MOST_AT_ONCE}"


def band_problems(key: str, band: Sequence[float] | None) -> Found:
    if band is not None and (len(band) != 2 or not 0 <= band[0] < band[1] <= 1):
        yield key, "must be two scores from 0 to 1, the lower first, such as [0.3, 0.7]"


def url_problem(url: str) -> str:
    """What is wrong with a service's address; empty when nothing is."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        return "must be http://host/path or https://host/path, without a user name"
    if not url.isascii() or any(ord(ch) <= 32 or ord(ch) == 127 for ch in url) or parts.fragment:
        return "holds characters that must be percent-encoded, or a #fragment"
    return ""
