"""Model files made on the spot: small GGUF files that a real llama.cpp server loads in a few hundredths of a second.

| build          | says                                              | good for                                     |
|----------------|---------------------------------------------------|----------------------------------------------|
| build_tiny     | noise, one random token after another             | grammars, long streams, broken UTF-8, loads  |
| build_scripted | one fixed text, one piece for each streamed chunk | text that must be split at exact places      |
| build_copy     | what its chat template composed (copyhead.py)     | the demo: an answer that depends on the ask  |
| build_embedding| a vector for each text (mean of token vectors)    | ``/v1/embeddings``                           |

None of them understands anything. They make the server real, not the conversation.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gateway.demo.copyhead import build_copy
from gateway.demo.pieces import pieces_of
from gateway.demo.templates import PLAIN
from gateway.demo.vocabulary import (
    END,
    PRINTABLE,
    SPACE,
    Array,
    Shape,
    Vocabulary,
    codes,
    vocabulary,
    write_model,
)

__all__ = ["MOST_PIECES", "build_copy", "build_embedding", "build_scripted", "build_tiny", "pieces_of"]

#: A script's pieces each need a direction of their own in the residual; 256 dimensions hold this many well apart.
MOST_PIECES = 1500

#: Tokens of more than one letter, so that random output looks a little like words.
WORDS = tuple(
    f"{start}{end}" for start in ("th", "wor", "li", "ma", "se", "in") for end in ("e", "ing", "er", "s", "ly")
)


def _zeros(*shape: int) -> Array:
    return np.zeros(shape, np.float32)


def build_tiny(
    path: Path, *, width: int = 64, layers: int = 2, seed: int = 0, broken: bool = False, template: str = PLAIN
) -> None:
    """A randomly initialised chat model of some 390 tokens. ``width`` (a multiple of 32) and ``layers`` set how slow it is.

    Its output is noise; with a JSON schema or a grammar the server still makes it emit a valid document. ``broken``
    lets it emit byte tokens too, so its text holds broken UTF-8 (and llama.cpp answers 500 when that ends up in a document).
    """
    if width % 32:
        raise ValueError(f"width {width}: must be a multiple of 32, the width of one attention head here")
    words = vocabulary([*PRINTABLE, *WORDS])
    shape = Shape(width, layers, heads=width // 32, kv_heads=1, head=32, feed_forward=width * 2, context=32768)
    rng = np.random.default_rng(seed)

    def random(*size: int) -> Array:
        noise: Array = rng.standard_normal(size).astype(np.float32)
        return noise / np.float32(np.sqrt(size[-1]))

    table, out = random(len(words), width), 2 * random(len(words), width)
    table[:, 0], out[:, 0] = 1, 0  # a constant, which no layer below writes to, so that tokens can be ruled out by it
    if not broken:
        out[END + 1 : words.first_text, 0] = -100
    tensors = {"token_embd.weight": table, "output.weight": out, "output_norm.weight": np.ones(width, np.float32)}
    for layer in range(layers):
        block = {"attn_q": (width, width), "attn_k": (32, width), "attn_v": (32, width), "attn_output": (width, width)}
        block |= {"ffn_gate": (width * 2, width), "ffn_up": (width * 2, width), "ffn_down": (width, width * 2)}
        made = {name: random(*size) for name, size in block.items()}
        made["attn_output"][0] = made["ffn_down"][0] = 0
        made |= {name: np.ones(width, np.float32) for name in ("attn_norm", "ffn_norm")}
        tensors |= {f"blk.{layer}.{name}.weight": tensor for name, tensor in made.items()}
    write_model(path, shape, words, tensors, template)


def build_embedding(path: Path, *, width: int = 64, seed: int = 1) -> None:
    """A model for ``/v1/embeddings`` (start the server with ``embedding=True``): equal texts get equal vectors.

    The one layer does nothing, so a text's vector is the mean of its tokens' random vectors: near-equal texts are near,
    but nothing is known of meaning. For meaning the gateway has its own embedder.
    """
    words = vocabulary([*PRINTABLE, *WORDS])
    table = np.random.default_rng(seed).standard_normal((len(words), width)).astype(np.float32)
    _write_idle_layer(path, words, table, _zeros(len(words), width), context=32768)


def build_scripted(path: Path, pieces: Sequence[str], *, template: str = PLAIN) -> None:
    """A model that answers every request with exactly ``"".join(pieces)`` and stops, one piece for each token.

    How: tokens of a prompt share one direction, which the output matrix maps to the first piece; each piece has its
    own, mapped to the piece after it. So a piece may occur only once: see ``pieces_of``, which splits any text so.

    Raises ValueError when there are no pieces, more than ``MOST_PIECES``, an empty or repeated one, or one that holds
    U+2581, which this tokenizer prints as a space.
    """
    if not 0 < len(pieces) <= MOST_PIECES:
        raise ValueError(f"a script needs 1 to {MOST_PIECES} pieces, not {len(pieces)}: use longer pieces")
    for number, piece in enumerate(pieces):
        if SPACE in piece:
            raise ValueError(f"piece {number} ({piece!r}) holds U+2581, which the tokenizer would print as a space")
    words = vocabulary(pieces)
    width, first = 256, words.first_text
    own = codes(len(pieces), width - 1, seed=3)
    table, out = _zeros(len(words), width), _zeros(len(words), width)
    table[:first, width - 1] = 1
    table[first:, : width - 1] = own
    out[first] = table[0]
    out[first + 1 :] = table[first:-1]
    out[END] = table[-1]
    # The final norm scales a unit vector to length sqrt(width) = 16; with a cosine of at most 0.3 between pieces a
    # factor of 4 leaves the right token some 45 nats ahead: certain at any temperature a client would ask for.
    _write_idle_layer(path, words, table, 4 * out, context=32768, template=template)


def _write_idle_layer(
    path: Path, words: Vocabulary, table: Array, out: Array, *, context: int, template: str = PLAIN
) -> None:
    """A model whose single layer adds nothing: token vector in, output matrix out."""
    width, head, inner = table.shape[1], 32, 32
    shape = Shape(width, layers=1, heads=1, kv_heads=1, head=head, feed_forward=inner, context=context)
    tensors = {"token_embd.weight": table, "output.weight": out, "output_norm.weight": np.ones(width, np.float32)}
    block = {"attn_q": (head, width), "attn_k": (head, width), "attn_v": (head, width), "attn_output": (width, head)}
    block |= {"ffn_gate": (inner, width), "ffn_up": (inner, width), "ffn_down": (width, inner)}
    tensors |= {f"blk.0.{name}.weight": _zeros(*size) for name, size in block.items()}
    tensors |= {f"blk.0.{name}.weight": np.ones(width, np.float32) for name in ("attn_norm", "ffn_norm")}
    write_model(path, shape, words, tensors, template)
