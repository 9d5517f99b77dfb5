"""Names in running text, by any token classification model exported to ONNX: `ner: "onnx:DIR"`.

DIR has what an export of a Hugging Face model has: `model.onnx`, `tokenizer.json`, and `config.json` with `id2label`.
No torch and no transformers: onnxruntime and tokenizers run it, one session, one thread. Nothing is downloaded.

Labels may be in BIO, BILOU or plain form. What they name is mapped to our entities (PER -> PERSON; LOC, GPE ->
LOCATION; ORG -> ORGANIZATION); anything else, such as MISC, is dropped. A word's label is that of its first piece. Text
longer than the model takes is read in windows that overlap by a quarter; a piece that several have counts as the one
sees it that has most text around it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from guardrails.finding.spans import Span

PREFIX = "onnx:"
FILES = ("model.onnx", "tokenizer.json", "config.json")
MIN_SCORE = 0.4
MAX_TOKENS = 512
MIN_TOKENS = 8
_ENTITIES = {
    "PER": "PERSON", "PERSON": "PERSON", "PERS": "PERSON", "LOC": "LOCATION", "LOCATION": "LOCATION", "GPE": "LOCATION",
    "FAC": "LOCATION", "ORG": "ORGANIZATION", "ORGANIZATION": "ORGANIZATION", "ORGANISATION": "ORGANIZATION",
}  # fmt: skip
_INPUTS = frozenset({"input_ids", "attention_mask", "token_type_ids"})


class _Config(msgspec.Struct):
    """What we need of a model's `config.json`."""

    id2label: dict[str, str]
    max_position_embeddings: int = MAX_TOKENS


class _Label(msgspec.Struct, frozen=True):
    """`B-PER`, taken apart."""

    entity: str
    begins: bool
    ends: bool


_OUTSIDE = _Label("", True, True)


class _Word(msgspec.Struct):
    """Where a word is, what it is, and how surely."""

    start: int
    end: int
    label: _Label
    score: float


class _Piece(msgspec.Struct, frozen=True):
    """A token as one window sees it. `margin`: tokens between it and the nearer edge of its window."""

    end: int
    word: int | None
    label: int
    score: float
    margin: int


def fault(directory: str) -> str:
    """What is wrong with the model, or "". Loads it, which the check then need not do again."""
    try:
        _load(directory)
    except ValueError as error:
        return str(error)
    return ""


class OnnxNer:
    """Finds the names in one line."""

    def __init__(self, directory: str, entities: Sequence[str]) -> None:
        """Raises ValueError for a model that does not fit."""
        self._model = _load(directory)
        known = {label.entity for label in self._model.labels}
        self._entities = frozenset(entities) & frozenset(_ENTITIES.values()) or frozenset({"PERSON"})
        if not known & self._entities:
            raise ValueError(f"the model {directory!r} has no label for {', '.join(sorted(self._entities))}")

    def quiet(self, text: str) -> bool:
        return not text.strip()

    def spans(self, line: str) -> list[Span]:
        if not line.strip():
            return []
        return [
            Span(name[0].label.entity, name[0].start, name[-1].end, score)
            for name in _names(self._model.words(line))
            if name[0].label.entity in self._entities
            and (score := sum(word.score for word in name) / len(name)) >= MIN_SCORE
        ]


class _Model:
    """Session and tokenizer. Stateless between calls, so checks and threads share it."""

    def __init__(self, session: Any, tokenizer: Any, labels: Sequence[_Label]) -> None:
        self._session = session
        self._tokenizer = tokenizer
        self._inputs = [given.name for given in session.get_inputs()]
        self.labels = labels

    def words(self, line: str) -> list[_Word]:
        """The words of the line, in order."""
        whole = self._tokenizer.encode(line)
        pieces: dict[int, _Piece] = {}
        for window in (whole, *whole.overflowing):
            for start, piece in self._read(window):
                known = pieces.get(start)
                if known is None or piece.margin > known.margin:
                    pieces[start] = piece
        words: list[_Word] = []
        last: int | None = None
        for start, piece in sorted(pieces.items()):
            if words and piece.word is not None and piece.word == last:
                words[-1].end = max(words[-1].end, piece.end)
            else:
                words.append(_Word(start, piece.end, self.labels[piece.label], piece.score))
            last = piece.word
        return words

    def _read(self, window: Any) -> Iterator[tuple[int, _Piece]]:
        scores = self.scores(window.ids, window.attention_mask, window.type_ids)
        best, sure = scores.argmax(axis=-1), scores.max(axis=-1)
        size = len(window.ids)
        for at, (start, end) in enumerate(window.offsets):
            if end > start and not window.special_tokens_mask[at]:
                margin = min(at, size - 1 - at)
                yield start, _Piece(end, window.word_ids[at], int(best[at]), float(sure[at]), margin)

    def scores(self, ids: Sequence[int], mask: Sequence[int], types: Sequence[int]) -> NDArray[np.float32]:
        """Tokens x labels, each row a distribution."""
        given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
        feed = {name: np.asarray([given[name]], dtype=np.int64) for name in self._inputs}
        logits = self._session.run(None, feed)[0]
        if logits.ndim != 3 or logits.shape[0] != 1 or logits.shape[2] != len(self.labels):
            raise ValueError(
                f"its first output has the shape {' x '.join(map(str, logits.shape))}; a token classifier's is "
                f"1 x tokens x {len(self.labels)}, the number of labels in config.json"
            )
        raised: NDArray[np.float32] = np.exp(logits[0] - logits[0].max(axis=-1, keepdims=True))
        shares: NDArray[np.float32] = raised / raised.sum(axis=-1, keepdims=True)
        return shares


def _names(words: Sequence[_Word]) -> Iterator[list[_Word]]:
    """Runs of words that are one name each."""
    name: list[_Word] = []
    for word in words:
        goes_on = name and word.label.entity == name[-1].label.entity
        if name and not (goes_on and not word.label.begins and not name[-1].label.ends):
            yield name
            name = []
        if word.label.entity:
            name.append(word)
    if name:
        yield name


@lru_cache(maxsize=4)
def _load(directory: str) -> _Model:
    home = Path(directory)
    absent = [name for name in FILES if not (home / name).is_file()]
    if absent:
        raise ValueError(
            f"{directory!r} has no {absent[0]}; an exported model has {', '.join(FILES)}, and nothing is downloaded"
        )
    config = _config(home)
    labels = _labels(config.id2label, directory)
    size = max(MIN_TOKENS, min(MAX_TOKENS, config.max_position_embeddings))
    model = _Model(_session(home), _tokenizer(home, size), labels)
    try:
        model.words("Ada Lovelace wrote this.")
    except ValueError as error:
        raise ValueError(f"{directory!r} is no token classifier: {error}") from None
    except Exception as error:  # the runtime raises classes of its own
        raise ValueError(f"the model in {directory!r} cannot run: {type(error).__name__}") from None
    return model


def _config(home: Path) -> _Config:
    try:
        return msgspec.json.decode((home / "config.json").read_bytes(), type=_Config)
    except msgspec.DecodeError as error:
        raise ValueError(f"config.json in {str(home)!r} has no usable `id2label`: {error}") from None


def _labels(named: Mapping[str, str], directory: str) -> list[_Label]:
    labels = [_label(named.get(str(at), "")) for at in range(len(named))]
    if not any(label.entity for label in labels):
        raise ValueError(f"`id2label` in {directory!r} names none of {', '.join(sorted({*_ENTITIES.values()}))}")
    return labels


def _label(name: str) -> _Label:
    mark, _, rest = name.partition("-")
    if not rest:
        mark, rest = "I", name
    entity = _ENTITIES.get(rest.upper())
    if entity is None:
        return _OUTSIDE
    return _Label(entity, mark in "BUS", mark in "LUSE")


def _session(home: Path) -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = ort.InferenceSession(str(home / "model.onnx"), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # as above
        raise ValueError(f"model.onnx in {str(home)!r} cannot be loaded: {type(error).__name__}") from None
    wanted = {given.name: given.type for given in session.get_inputs()}
    strange = sorted(name for name, kind in wanted.items() if name not in _INPUTS or kind != "tensor(int64)")
    if strange or "input_ids" not in wanted:
        raise ValueError(
            f"model.onnx in {str(home)!r} takes {', '.join(sorted(wanted)) or 'nothing'}; expected int64 input_ids and, "
            "if any, attention_mask and token_type_ids"
        )
    return session


def _tokenizer(home: Path, size: int) -> Any:
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(home / "tokenizer.json"))
    except Exception as error:  # as above
        raise ValueError(f"tokenizer.json in {str(home)!r} cannot be read: {type(error).__name__}") from None
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length=size, stride=size // 4)
    return tokenizer
