"""A hand-built two-layer transformer that repeats a marked stretch of its prompt, token by token, and stops.

The chat template lays out the answer it wants inside the prompt, so the "model" speaks whatever a template can
compose from the conversation, and a real llama.cpp server samples, streams, stops and counts it:

    <s> ...conversation... <|open|><|from|>text to say</s> <|close|><|to|>     <- the answer starts here

Layer 1 tells every token how far it is from its marker. Each of 12 heads looks at just two tokens, the marker pair
(the last one seen): an anchor, whose key turns with position (RoPE) and whose value is +1, and a reference, whose key
does not and whose value is -1. A soft choice between the two gives tanh(s cos(w d)) for distance d, nearly s cos(w d).
Six frequencies, cosine and sine, make a 12-number address, unique for any d up to 16,384.

Layer 2 asks for the address one further on than its own (a rotation, so one matrix). Only tokens of the marked stretch
can have it; their code is copied to the output. When none matches, a sink at ``<s>`` wins, which reads as "the end".

If a grammar forbids the token that is next (a JSON schema, say), the server picks the best one allowed; the readout
ranks closing characters behind the end, so documents are closed soon and stay short.

Not guaranteed: stretches longer than 16,384 tokens, and texts that hold one of the control strings.

Sizes are as small as they are because llama.cpp's attention on a CPU costs heads * head width * tokens for each token.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gateway.demo.templates import DEMO
from gateway.demo.vocabulary import (
    BEGIN,
    CLOSE,
    END,
    FROM,
    OPEN,
    PRINTABLE,
    TO,
    Array,
    Shape,
    Vocabulary,
    codes,
    vocabulary,
    write_model,
)

PAIRS = 6  # frequencies of an address; the slowest turns once in some 16,000 tokens
HEADS, KEY_HEADS, HEAD, WIDTH = 2 * PAIRS, 2, 32, 96
BASE = 20_000.0
TURN = 1.5 * BASE ** (-np.arange(PAIRS) / PAIRS)  # radians for each token; chosen by search, see NO_MATCH

# The residual stream, by dimension.
CODE = slice(0, KEY_HEADS * HEAD)  # which token; its last dimension is kept for <s>, the sink
SINK = CODE.stop - 1
ADDRESS = slice(64, 64 + 2 * PAIRS)
ONE = 80  # always 1, so that queries can have constants
MARKS = {OPEN: 81, FROM: 82, CLOSE: 83, TO: 84, BEGIN: 85}
OTHER = 86  # 1 for tokens that are no mark, so that all have the same length

# Inside a head: dimensions below 2 * PAIRS turn with position, the others do not (see _frequencies).
PLACE = slice(12, 24)  # layer 2's address
BIAS, HOME, REST = 24, 25, 26

SHARP = 40.0  # nats between a marker pair and everything else
SMALL = 0.25  # keeps tanh within 0.6 % of a straight line
PICK = 300.0  # nats for each unit of address similarity
NO_MATCH = 5.68  # similarity at which the sink wins: a match has 5.97 or more, anything else 5.40 or less
LOUD = 20.0  # how much the copied code outweighs the current token's own
CERTAIN = 60.0  # logit of the copied token; the next best is at most a third of it

#: What to say instead of the end when the end is not allowed yet, best first.
CLOSERS = {'"': 0.8, "}": 0.7, "]": 0.65, ":": 0.55, ",": 0.5, "0": 0.4}


def build_copy(path: Path, *, template: str = DEMO, context: int = 32768) -> None:
    """Write the copying model with the given Jinja chat template (see ``templates.DEMO`` for the layout it must keep)."""
    words = vocabulary(PRINTABLE)
    table = _token_vectors(words)
    tensors = {"token_embd.weight": table, "output_norm.weight": np.ones(WIDTH, np.float32)}
    tensors["output.weight"] = _readout(words, table)
    tensors["rope_freqs.weight"] = _frequencies()
    for layer, block in enumerate((_addressing_layer(), _copying_layer())):
        tensors |= {f"blk.{layer}.{name}.weight": tensor for name, tensor in block.items()}
    shape = Shape(WIDTH, layers=2, heads=HEADS, kv_heads=KEY_HEADS, head=HEAD, feed_forward=32, context=context)
    write_model(path, shape, words, tensors, template)


def _zeros(*shape: int) -> Array:
    return np.zeros(shape, np.float32)


def _gain(squared_length: float) -> float:
    """What RMS normalisation multiplies a residual vector of this squared length by."""
    return float(np.sqrt(WIDTH / squared_length))


def _token_vectors(words: Vocabulary) -> Array:
    table = _zeros(len(words), WIDTH)
    table[:, :SINK] = codes(len(words), SINK, seed=7)
    table[BEGIN, CODE] = 0
    table[BEGIN, SINK] = 1
    table[:, ONE] = 1
    table[:, OTHER] = 1
    for token, dimension in MARKS.items():
        table[token, dimension], table[token, OTHER] = 1, 0
    return table


def _frequencies() -> Array:
    """Divisors of the architecture's own frequencies: ours for the first pairs, and no turning at all for the rest."""
    pairs = HEAD // 2
    divisors = np.full(pairs, 1e30, np.float32)
    divisors[:PAIRS] = 10_000.0 ** (-np.arange(PAIRS) / pairs) / TURN
    return divisors


def _block(query: Array, key: Array, value: Array, output: Array) -> dict[str, Array]:
    """One layer's tensors; its feed-forward part adds nothing."""
    block = {"attn_q": query, "attn_k": key, "attn_v": value, "attn_output": output}
    block |= {"ffn_gate": _zeros(32, WIDTH), "ffn_up": _zeros(32, WIDTH), "ffn_down": _zeros(WIDTH, 32)}
    return block | {name: np.ones(WIDTH, np.float32) for name in ("attn_norm", "ffn_norm")}


def _addressing_layer() -> dict[str, Array]:
    """Layer 1: writes the distance to the last marker pair, as an address, into ADDRESS."""
    gain, attention = _gain(3), np.sqrt(HEAD)  # attention divides scores by sqrt(HEAD)
    key, value = _zeros(HEAD, WIDTH), _zeros(HEAD, WIDTH)
    for anchor, reference, rank in ((OPEN, FROM, 1.0), (CLOSE, TO, 2.0)):  # the answer's pair outranks the source's
        key[0 : 2 * PAIRS : 2, MARKS[anchor]] = 1
        key[BIAS, [MARKS[anchor], MARKS[reference]]] = rank
        value[0, MARKS[anchor]], value[0, MARKS[reference]] = 1, -1
    key[BIAS, MARKS[BEGIN]] = 0.5  # before any pair: <s>, whose value is 0
    key[HOME, MARKS[BEGIN]] = 1
    query, output = _zeros(HEADS * HEAD, WIDTH), _zeros(WIDTH, HEADS * HEAD)
    for head in range(HEADS):
        at = head * HEAD
        query[at + head, ONE] = SMALL * attention  # even heads read the cosine, odd ones the sine, of one pair
        query[at + BIAS, ONE] = SHARP * attention
        for anchor in (OPEN, CLOSE):  # an anchor cannot see its reference yet: send it home, or its address is noise
            query[at + BIAS, MARKS[anchor]] = -SHARP * attention
            query[at + HOME, MARKS[anchor]] = SHARP * attention
        output[ADDRESS.start + head, at] = 2 / SMALL
    alike = (KEY_HEADS, 1)
    return _block(query / gain, np.tile(key / gain, alike), np.tile(value / gain, alike), output)


def _copying_layer() -> dict[str, Array]:
    """Layer 2: copies the code of the token whose address is one further than this token's own.

    All heads look at the same token; the first head of each group carries its half of the code.
    """
    gain, gain_home = _gain(3 + PAIRS), _gain(3)  # <s> has no address, so its vector is shorter
    key, query = _zeros(HEAD, WIDTH), _zeros(HEAD, WIDTH)
    key[PLACE, ADDRESS] = np.eye(2 * PAIRS) / gain
    key[REST, MARKS[BEGIN]] = 1 / gain_home
    query[REST, ONE] = NO_MATCH
    for pair, turn in enumerate(TURN):
        # An address holds (cos, -sin) of the distance; one token further on is a turn by -turn.
        own, wanted = ADDRESS.start + 2 * pair, PLACE.start + 2 * pair
        cos, sin = np.cos(turn), np.sin(turn)
        query[wanted, [own, own + 1]] = cos, sin
        query[wanted + 1, [own, own + 1]] = -sin, cos
    query *= PICK * np.sqrt(HEAD) / gain
    value, output = _zeros(KEY_HEADS * HEAD, WIDTH), _zeros(WIDTH, HEADS * HEAD)
    value[:, CODE] = np.eye(KEY_HEADS * HEAD) / gain
    for group in range(KEY_HEADS):
        first = group * (HEADS // KEY_HEADS) * HEAD
        output[group * HEAD : (group + 1) * HEAD, first : first + HEAD] = LOUD * np.eye(HEAD)
    return _block(np.tile(query, (HEADS, 1)), np.tile(key, (KEY_HEADS, 1)), value, output)


def _readout(words: Vocabulary, table: Array) -> Array:
    out = _zeros(len(words), WIDTH)
    out[:, CODE] = table[:, CODE]
    the_end = table[END, CODE] + table[BEGIN, CODE]
    out[END, CODE] = the_end
    for character, preference in CLOSERS.items():
        out[words.id_of(character), CODE] += preference * the_end
    return out * np.float32(CERTAIN / (LOUD * _gain(LOUD**2 + 3 + PAIRS)))
