"""What an encoder is given of a text: bounded, and well-formed."""

from __future__ import annotations

import hashlib

MOST_CHARS = 2048
"""Text an encoder sees at most. 128 tokens of English are about 600 characters; of other scripts, fewer."""
_MOST_LOOKED_AT = 4 * MOST_CHARS


def shortened(text: str) -> str:
    """At most 2,048 characters, runs of white space taken out of long texts first: a megabyte costs no megabyte."""
    if len(text) <= MOST_CHARS:
        return text
    return " ".join(text[:_MOST_LOOKED_AT].split())[:MOST_CHARS]


def well_formed(text: str) -> str:
    """Without lone surrogates, which JSON can hold and UTF-8 cannot."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode("utf-8")
    return text


def key_of(text: str) -> bytes:
    """Names a text in the memory of recent ones, which then holds no text."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
