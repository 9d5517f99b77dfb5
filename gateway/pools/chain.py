"""A prompt as a chain of hashes, one for each block of 256 bytes, each over its block and all before it.

Two prompts have as many hashes in common as they have whole blocks in common from the beginning on: that is what the
prefix cache of an engine can use again, and comparing two numbers tells it. No text is kept.
"""

from __future__ import annotations

import struct

import msgspec
import xxhash

BLOCK = 256
"""Bytes: about 64 tokens, four of the blocks that engines keep."""
MOST_BLOCKS = 2048
"""Of one prompt; 512 KiB. What is beyond counts as text to be read, and is never found again."""
ROOT_BLOCKS = 4
"""What a prompt is placed by where nobody has any of it: its first KiB."""


class Prefix(msgspec.Struct, frozen=True, gc=False):
    """What a pool needs to know of one prompt."""

    blocks: tuple[int, ...]
    """The chain, of whole blocks only."""
    size: int
    """Bytes of the whole prompt, also of what is beyond the chain."""
    head: int
    """Hash of its beginning up to the end of the first turn: the same for all turns of one conversation, another one for
    every other conversation, also where they share a system prompt."""
    whole: int
    """Hash of the prompt, as far as the chain may go."""

    @property
    def root(self) -> int:
        """Hash of the first KiB; of a shorter prompt, `head`."""
        return self.blocks[ROOT_BLOCKS - 1] if len(self.blocks) >= ROOT_BLOCKS else self.head


def prefix_of(text: bytes, *, head: int | None = None, size: int | None = None, salt: bytes = b"") -> Prefix:
    """`head`: bytes of `text` up to the end of the first turn; None: all of it. `size`: bytes of the prompt, where `text`
    is only its beginning. Prompts of two salts have nothing in common. 0.3 µs a block."""
    digest = xxhash.xxh3_64_intdigest
    count = min(len(text) // BLOCK, MOST_BLOCKS)
    start = last = digest(salt)
    view = memoryview(text)
    blocks = tuple([last := digest(block, last) for (block,) in struct.iter_unpack("256s", view[: count * BLOCK])])
    whole = digest(view[count * BLOCK : MOST_BLOCKS * BLOCK], last)
    if head is None or head >= len(text):
        first = whole
    else:
        head = min(head, MOST_BLOCKS * BLOCK)
        done = min(head // BLOCK, count)
        first = digest(view[done * BLOCK : head], blocks[done - 1] if done else start)
    return Prefix(blocks, len(text) if size is None else size, first, whole)
