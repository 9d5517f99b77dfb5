"""Presidio's recognisers without the weight around them.

`import presidio_analyzer` pulls in spaCy, pydantic, every country's recognisers and a YAML registry: measured 100 MB
and 0.8 s, of which our null-NLP use needs none. So the few recogniser modules are imported into a *private* package
tree: while they load, `presidio_analyzer` and two of its sub-packages are bare modules that have the real search
path but do not run their `__init__`, and `presidio_analyzer.nlp_engine` (the only importer of spaCy, needed here for
one type annotation) is a stand-in. Then `sys.modules` is put back as it was. Measured: 8 MB and 0.12 s.

What this does not touch: whoever imports `presidio_analyzer` before or after gets the real, whole package (the real
spaCy path is `pii_ner.py`, tested). If it is already imported when we start, the real modules are used and nothing
is private.

Tried and dropped: stand-ins for `spacy` itself (the stanza engine registers a spaCy component when imported, so
half of spaCy must be imitated); `importlib.util.LazyLoader` (`from spacy.tokens import Doc` loads at once).
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
import types
from typing import Any

import msgspec

_ROOT = "presidio_analyzer"
_BARE = ("", ".predefined_recognizers", ".predefined_recognizers.generic")
_BASES = (
    ("analysis_explanation", "AnalysisExplanation"),
    ("recognizer_result", "RecognizerResult"),
    ("entity_recognizer", "EntityRecognizer"),
    ("local_recognizer", "LocalRecognizer"),
    ("pattern", "Pattern"),
    ("pattern_recognizer", "PatternRecognizer"),
)
_GENERIC = f"{_ROOT}.predefined_recognizers.generic"
_WANTED = {
    "ibans": (f"{_GENERIC}.iban_patterns", "regex_per_country"),
    "mac": (f"{_GENERIC}.mac_recognizer", "MacAddressRecognizer"),
    "crypto": (f"{_GENERIC}.crypto_recognizer", "CryptoRecognizer"),
}


class Presidio(msgspec.Struct, frozen=True):
    """What is taken from Presidio. Its classes are typed `Any`: the package carries no usable types for them."""

    ibans: dict[str, str]
    """Country -> the pattern of its IBANs."""
    mac: Any
    crypto: Any


def load() -> Presidio:
    """Presidio's classes. Call while building, never on a request. Raises ImportError if Presidio is not installed."""
    # Presidio's recognisers log what they look at: a text that failed its check at ERROR, matches at DEBUG.
    logging.getLogger("presidio-analyzer").disabled = True
    if _ROOT in sys.modules:
        return _classes()
    before = {name: module for name, module in sys.modules.items() if name.startswith(_ROOT)}
    try:
        _stand_in()
        return _classes()
    finally:
        for name in [name for name in sys.modules if name == _ROOT or name.startswith(_ROOT + ".")]:
            del sys.modules[name]
        sys.modules.update(before)


def _classes() -> Presidio:
    return Presidio(**{key: getattr(importlib.import_module(module), name) for key, (module, name) in _WANTED.items()})


class _NoNlp(types.ModuleType):
    """Stands in for `presidio_analyzer.nlp_engine`: any name is an empty class, good for annotations only."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


def _stand_in() -> None:
    spec = importlib.util.find_spec(_ROOT)
    if spec is None or not spec.submodule_search_locations:
        raise ImportError("presidio-analyzer is not installed; `pip install presidio-analyzer` or drop `use: pii`")
    home = next(iter(spec.submodule_search_locations))
    for suffix in _BARE:
        module = types.ModuleType(_ROOT + suffix)
        module.__path__ = [home + suffix.replace(".", "/")]
        sys.modules[module.__name__] = module
    sys.modules[f"{_ROOT}.nlp_engine"] = _NoNlp(f"{_ROOT}.nlp_engine")
    root = sys.modules[_ROOT]
    for name, cls in _BASES:
        setattr(root, cls, getattr(importlib.import_module(f"{_ROOT}.{name}"), cls))
