"""One hidden layer over a sentence vector: `relu(v @ w1 + b1) @ w2 + b2`."""

from __future__ import annotations

from typing import Any

import numpy as np

F32 = np.ndarray[Any, np.dtype[np.float32]]


class Network:
    """`w1`: (dim, units); `b1`, `w2`: (units,); `b2`: a number. Read-only. Kept as float16, computed in float32."""

    def __init__(self, w1: Any, b1: Any, w2: Any, b2: float) -> None:
        self.w1, self.b1, self.w2 = (np.asarray(part, dtype=np.float16).astype(np.float32) for part in (w1, b1, w2))
        self.b2 = float(np.float16(b2))

    def logits(self, vectors: F32) -> F32:
        """Shape (n,), for vectors of shape (n, dim)."""
        out: F32 = np.maximum(vectors.astype(np.float32) @ self.w1 + self.b1, 0) @ self.w2 + self.b2
        return out

    def dump(self) -> bytes:
        parts = (self.w1.ravel(), self.b1, self.w2, np.array([self.b2]))
        return np.concatenate(parts).astype("<f2").tobytes()

    @staticmethod
    def parse(data: bytes, dim: int, units: int) -> Network:
        """Raises ValueError if there is too little or too much."""
        flat = np.frombuffer(data, dtype="<f2")
        if len(flat) != dim * units + 2 * units + 1:
            raise ValueError(f"the injection head holds {len(flat)} weights of its network; train it again")
        w1, b1, w2 = flat[: dim * units], flat[dim * units : -units - 1], flat[-units - 1 : -1]
        return Network(w1.reshape(dim, units), b1, w2, float(flat[-1]))
