"""Names in running text, by a model the operator has: a spaCy model (a name or a path), run by Presidio's own engine
and recogniser, whole; or `onnx:DIR`, see `pii_onnx.py`.

Opt-in (`ner:`), because it costs what the rest of the gateway costs together: about 100 MB for spaCy plus the model,
and milliseconds for each sentence. Imports the real `presidio_analyzer` (see `pii_import.py` for why nothing else
here does)."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from guardrails.finding.custom import Lines
from guardrails.finding.spans import Span
from guardrails.private import pii_onnx

MIN_SCORE = 0.4


def missing(model: str) -> str:
    """What is wrong with the model's name, or "". Looks only, but for `onnx:`; Presidio itself would start a download."""
    if model.startswith(pii_onnx.PREFIX):
        return pii_onnx.fault(model.removeprefix(pii_onnx.PREFIX))
    if importlib.util.find_spec("spacy") is None:
        return "needs spaCy, which is not installed"
    if Path(model).exists():
        return ""
    import spacy.util

    if spacy.util.is_package(model):
        return ""
    return f"spaCy model {model!r} is neither installed nor a path; nothing is downloaded at start, so install it first"


class Ner:
    """Presidio's SpacyRecognizer over one line at a time."""

    def __init__(self, model: str, entities: Sequence[str]) -> None:
        from presidio_analyzer.nlp_engine import NerModelConfiguration, SpacyNlpEngine
        from presidio_analyzer.predefined_recognizers import SpacyRecognizer

        problem = missing(model)
        if problem:
            raise ValueError(problem)
        self._engine = SpacyNlpEngine(
            models=[{"lang_code": "en", "model_name": model}], ner_model_configuration=NerModelConfiguration()
        )
        self._engine.load()
        self._recogniser = SpacyRecognizer()
        supported = self._recogniser.supported_entities
        self._entities = [name for name in entities if name in supported] or ["PERSON"]

    def quiet(self, text: str) -> bool:
        return not text.strip()

    def spans(self, line: str) -> list[Span]:
        if not line.strip():
            return []
        artifacts = self._engine.process_text(line, "en")
        results = self._recogniser.analyze(line, self._entities, artifacts)
        return [Span(r.entity_type, r.start, r.end, r.score) for r in results if r.score >= MIN_SCORE]


def ner_scanner(model: str, entities: Sequence[str]) -> Lines:
    """Line by line: in a stream, each line is held until it ends."""
    if model.startswith(pii_onnx.PREFIX):
        return Lines(pii_onnx.OnnxNer(model.removeprefix(pii_onnx.PREFIX), entities))
    return Lines(Ner(model, entities))
