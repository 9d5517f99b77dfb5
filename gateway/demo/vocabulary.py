"""Token tables for the model files that are built on the spot, and the one writer that makes a GGUF of them.

All our models use llama.cpp's ``llama`` architecture with a SentencePiece-like tokenizer: 256 byte tokens, so every
text can be tokenized, plus whatever strings a model wants as tokens of their own.

The control tokens never appear in text a client sees: llama.cpp renders them as nothing, and text on either side of
one is tokenized on its own, so a prompt that ends in ``TO`` always ends in the same token whatever came before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

UNKNOWN, BEGIN, END = 0, 1, 2
END_TEXT = "</s>"
#: Control tokens. OPEN and FROM start the text a copying model repeats; CLOSE and TO start its answer.
CONTROLS = ("<|open|>", "<|from|>", "<|close|>", "<|to|>")
OPEN, FROM, CLOSE, TO = range(3 + 256, 3 + 256 + len(CONTROLS))
SPACE = "\u2581"  # how this tokenizer family spells a space inside a token
PRINTABLE = (SPACE, *map(chr, range(33, 127)))


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Token strings with their kinds, and the id of the first token that is plain text."""

    strings: tuple[bytes, ...]
    kinds: tuple[int, ...]
    first_text: int

    def __len__(self) -> int:
        return len(self.strings)

    def id_of(self, text: str) -> int:
        """The id of a text token. Raises ValueError when there is none."""
        return self.strings.index(text.replace(" ", SPACE).encode())


def vocabulary(texts: Iterable[str]) -> Vocabulary:
    """Unknown, begin, end, 256 bytes and the controls, then ``texts`` in order, one token each.

    Raises ValueError when two tokens would have the same string: llama.cpp aborts the whole process on that.
    """
    kind = gguf.TokenType
    table = [(b"<unk>", kind.UNKNOWN), (b"<s>", kind.CONTROL), (END_TEXT.encode(), kind.CONTROL)]
    table += [(f"<0x{value:02X}>".encode(), kind.BYTE) for value in range(256)]
    table += [(name.encode(), kind.CONTROL) for name in CONTROLS]
    first_text = len(table)
    seen = {string: number for number, (string, _) in enumerate(table)}
    for text in texts:
        string = text.replace(" ", SPACE).encode()
        if not string:
            raise ValueError(f"token {len(table) - first_text} is empty: a token must be at least one character")
        if string in seen:
            raise ValueError(
                f"token {len(table) - first_text} ({text!r}) repeats token {seen[string] - first_text}: "
                "token strings must be unique, split the text at other places"
            )
        seen[string] = len(table)
        table.append((string, kind.NORMAL))
    return Vocabulary(tuple(s for s, _ in table), tuple(int(k) for _, k in table), first_text)


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of a llama model: residual width, layers, query heads, key/value heads, width of one head, feed-forward."""

    width: int
    layers: int
    heads: int
    kv_heads: int
    head: int
    feed_forward: int
    context: int


def write_model(path: Path, shape: Shape, words: Vocabulary, tensors: Mapping[str, Array], template: str) -> None:
    """Write a complete GGUF file to ``path`` (float32). Tensor names are llama.cpp's; matrices are (out, in)."""
    out = gguf.GGUFWriter(path, "llama")
    out.add_context_length(shape.context)
    out.add_embedding_length(shape.width)
    out.add_block_count(shape.layers)
    out.add_feed_forward_length(shape.feed_forward)
    out.add_head_count(shape.heads)
    out.add_head_count_kv(shape.kv_heads)
    out.add_key_length(shape.head)
    out.add_value_length(shape.head)
    out.add_rope_dimension_count(shape.head)  # this architecture refuses to rotate only part of a head
    out.add_layer_norm_rms_eps(1e-6)
    out.add_file_type(gguf.LlamaFileType.ALL_F32)
    out.add_vocab_size(len(words))
    out.add_tokenizer_model("llama")
    out.add_tokenizer_pre("default")
    out.add_token_list(list(words.strings))
    out.add_token_types(list(words.kinds))
    out.add_token_scores([-float(number) for number in range(len(words))])
    out.add_unk_token_id(UNKNOWN)
    out.add_bos_token_id(BEGIN)
    out.add_eos_token_id(END)
    out.add_add_bos_token(True)
    out.add_add_space_prefix(False)
    out.add_chat_template(template)
    for name, tensor in tensors.items():
        out.add_tensor(name, np.ascontiguousarray(tensor, dtype=np.float32))
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


def codes(count: int, width: int, seed: int) -> Array:
    """``count`` unit vectors of ``width`` numbers, pushed apart until no two have a cosine above about 0.3.

    Far fewer numbers than one-hot vectors, and still far enough apart to be read back without a mistake.
    """
    vectors = np.random.default_rng(seed).standard_normal((count, width))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    for _ in range(200):
        close = vectors @ vectors.T
        np.fill_diagonal(close, 0)
        close[np.abs(close) < 0.3] = 0
        if not close.any():
            break
        vectors -= 0.1 * close @ vectors
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32)
