"""The loaded model: one text in, one unit vector out, on the calling thread."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

from gateway.embedding.files import MODEL, checked
from gateway.embedding.graph import MAX_TOKENS, Precision
from gateway.embedding.texts import shortened, well_formed
from gateway.embedding.weights import TOKENIZER

Array = np.ndarray[Any, Any]


class Encoder:
    """Thread-safe, and both steps release the GIL. A text's vector depends on that text alone."""

    def __init__(self, directory: Path, precision: Precision) -> None:
        """Raises `ModelMissing`, naming the command that builds the files."""
        path = checked(directory, precision)
        self._tokenizer = Tokenizer.from_file(str(path / TOKENIZER))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(MAX_TOKENS)
        self._session = onnxruntime.InferenceSession(str(path / MODEL), _options(), providers=["CPUExecutionProvider"])

    def encode(self, text: str) -> Array:
        """Shape (dim,), float32, length 1. Texts over 128 tokens are cut."""
        ids = self._tokenizer.encode(well_formed(shortened(text))).ids
        (vectors,) = self._session.run(None, {"ids": np.array([ids], dtype=np.int64)})
        vector: Array = vectors[0]
        return vector


def _options() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    # No fusing: see `graph`. No arena: it keeps the largest text's memory for ever, and costs nothing to leave out.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    return options
