"""all-MiniLM-L6-v2 as an ONNX graph, made from its tensors: six BERT layers, mean pooling, unit length.

One text to a run: the input is `ids`, int64 (1, tokens), so there is no padding and no mask. That is on purpose. Int8
takes its activation ranges from the whole input, so in a batch a text's vector would depend on its neighbours: in
batches of 32 we measured cosines down to 0.956 between a text's vector alone and in company, while batching made
encoding only 5 % faster (weights are read from cache either way).

Precision `int8`: weights per output channel, seven bits of eight (`reduce_range`, so that CPUs without VNNI do not
saturate and give what the others give), activations per run; embeddings int8 per row.

Tried and not taken: MatMulNBits (8 bits, blocks of 64): cosine 0.9995 to fp32 but 1.8 times slower, same accuracy;
QAttention: no faster; SkipLayerNormalization: 25 % slower than Add and LayerNormalization, which is why the session
must not fuse them back (`ORT_ENABLE_BASIC`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

Array = np.ndarray[Any, Any]
Precision = Literal["int8", "fp32"]

DIM = 384
HEADS = 12
LAYERS = 6
MAX_TOKENS = 128
"""Longer texts are cut here; the model was trained on 128 tokens and time grows faster than length."""
_EPSILON = 1e-12
_CONTRIB = "com.microsoft"


def minilm_graph(weights: Mapping[str, Array], precision: Precision) -> bytes:
    """The model file's bytes. `weights`: the published tensors under their published names (float32)."""
    graph = _Graph(weights, precision)
    x = _embeddings(graph)
    for number in range(LAYERS):
        x = _layer(graph, x, f"encoder.layer.{number}.")
    # The sum over tokens: the mean differs from it by a factor that the normalisation takes out again.
    pooled = graph.op("ReduceSum", [x, graph.constant("axis_tokens", np.array([1]))], keepdims=0)
    graph.op("LpNormalization", [pooled], outputs=["embedding"], axis=1, p=2)
    return graph.save()


class _Graph:
    """Collects nodes and constants."""

    def __init__(self, weights: Mapping[str, Array], precision: Precision) -> None:
        self.weights = weights
        self.int8 = precision == "int8"
        self._nodes: list[Any] = []
        self._constants: dict[str, Any] = {}

    def constant(self, name: str, value: Array) -> str:
        from onnx import numpy_helper

        if name not in self._constants:
            self._constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def weight(self, name: str) -> str:
        return self.constant(name, self.weights[name])

    def op(self, kind: str, inputs: list[str], *, outputs: list[str] | None = None, **attributes: Any) -> str:
        """Adds a node; gives the name of its first output."""
        from onnx import helper

        outputs = outputs or [f"t{len(self._nodes)}"]
        self._nodes.append(helper.make_node(kind, inputs, outputs, **attributes))
        return outputs[0]

    def linear(self, x: str, name: str, weight: Array, bias: Array) -> str:
        """x @ weight.T + bias. `weight`: (out, in), as torch keeps it."""
        columns = weight.T
        added = self.constant(f"{name}.bias", bias)
        if not self.int8:
            return self.op("Add", [self.op("MatMul", [x, self.constant(f"{name}.w", columns)]), added])
        scale = np.abs(columns).max(axis=0) / 63
        scale[scale == 0] = 1
        inputs = [
            x,
            self.constant(f"{name}.q", np.rint(columns / scale).astype(np.int8)),
            self.constant(f"{name}.scale", scale.astype(np.float32)),
            self.constant(f"{name}.zero", np.zeros(len(scale), np.int8)),
            added,
        ]
        return self.op("DynamicQuantizeMatMul", inputs, domain=_CONTRIB)

    def norm(self, x: str, name: str) -> str:
        scale, bias = self.weight(f"{name}.weight"), self.weight(f"{name}.bias")
        return self.op("LayerNormalization", [x, scale, bias], axis=-1, epsilon=_EPSILON)

    def save(self) -> bytes:
        from onnx import TensorProto, checker, helper

        body = helper.make_graph(
            self._nodes,
            "all-MiniLM-L6-v2",
            [helper.make_tensor_value_info("ids", TensorProto.INT64, [1, "tokens"])],
            [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [1, DIM])],
            list(self._constants.values()),
        )
        opsets = [helper.make_opsetid("", 20), helper.make_opsetid(_CONTRIB, 1)]
        model = helper.make_model(body, opset_imports=opsets, ir_version=10, producer_name="tidegate")
        checker.check_model(model)
        data: bytes = model.SerializeToString()
        return data


def _embeddings(graph: _Graph) -> str:
    from onnx import TensorProto

    table = graph.weights["embeddings.word_embeddings.weight"]
    if graph.int8:
        scale = np.abs(table).max(axis=1, keepdims=True) / 127
        scale[scale == 0] = 1
        rows = graph.op("Gather", [graph.constant("words.q", np.rint(table / scale).astype(np.int8)), "ids"])
        rows = graph.op("Cast", [rows], to=TensorProto.FLOAT)
        scales = graph.op("Gather", [graph.constant("words.scale", scale.astype(np.float32)), "ids"])
        words = graph.op("Mul", [rows, scales])
    else:
        words = graph.op("Gather", [graph.constant("words", table), "ids"])
    places = graph.weights["embeddings.position_embeddings.weight"][:MAX_TOKENS]
    places = places + graph.weights["embeddings.token_type_embeddings.weight"][0]  # all texts are of type 0
    length = graph.op("Shape", ["ids"], start=1, end=2)
    zero = graph.constant("zero", np.array([0]))
    used = graph.op("Slice", [graph.constant("places", places), zero, length, zero])
    return graph.norm(graph.op("Add", [words, used]), "embeddings.LayerNorm")


def _layer(graph: _Graph, x: str, prefix: str) -> str:
    weights = graph.weights
    parts = [f"{prefix}attention.self.{part}" for part in ("query", "key", "value")]
    weight = np.concatenate([weights[f"{part}.weight"] for part in parts])
    bias = np.concatenate([weights[f"{part}.bias"] for part in parts])
    joined = graph.linear(x, f"{prefix}qkv", weight, bias)
    split = [f"{prefix}{letter}" for letter in "qkv"]
    graph.op("Split", [joined], outputs=split, axis=-1, num_outputs=3)
    seen = graph.op("MultiHeadAttention", split, domain=_CONTRIB, num_heads=HEADS)
    x = _residual(graph, seen, x, f"{prefix}attention.output")
    inner = f"{prefix}intermediate.dense"
    wide = graph.op("Gelu", [graph.linear(x, inner, weights[f"{inner}.weight"], weights[f"{inner}.bias"])])
    return _residual(graph, wide, x, f"{prefix}output")


def _residual(graph: _Graph, x: str, past: str, name: str) -> str:
    dense = f"{name}.dense"
    made = graph.linear(x, dense, graph.weights[f"{dense}.weight"], graph.weights[f"{dense}.bias"])
    return graph.norm(graph.op("Add", [made, past]), f"{name}.LayerNorm")
