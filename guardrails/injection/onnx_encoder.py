"""The gateway's sentence encoder, for training only: this package may not import the gateway's, which serves at run time.

Same files, same settings, hence the same vectors; a test compares the two."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnxruntime
from tokenizers import Tokenizer

from guardrails.injection.train import Encoder

MAX_TOKENS = 128


class Manifest(msgspec.Struct):
    id: str


def opened(folder: Path) -> Encoder:
    """`folder`: what `tidegate models build` made. Raises FileNotFoundError if it is not there."""
    manifest = msgspec.json.decode((folder / "manifest.json").read_bytes(), type=Manifest)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS)
    session = _session(folder / "model.onnx")

    def encode(texts: Sequence[str]) -> np.ndarray[Any, Any]:
        """Shape (len(texts), dim), float32, rows of length 1. One text to a run: in a batch, int8 would make a text's
        vector depend on its neighbours."""
        made = []
        for text in texts:
            ids = np.array([tokenizer.encode(text.encode("utf-8", "replace").decode()).ids], dtype=np.int64)
            made.append(session.run(None, {"ids": ids})[0][0])
        return np.stack(made)

    return Encoder(manifest.id, encode)


def _session(path: Path) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
