"""The conversation both ends of the bench know: what the load asks, and what the mock upstream must answer.

Every prompt carries a marker, ``[nonce-abcdefgh chunks-200 gap-0]``. The upstream answers with the nonce and a text
both sides can compute, so the load generator can tell a complete answer from a cut, swapped or cached one, and no
gateway needs to pass on anything but the message itself. Nonces are letters only: a digit run could look like a card
number to a gateway that masks private data, and a masked nonce would be counted as a wrong answer.
"""

from __future__ import annotations

import itertools
import json
import random
import re
from collections.abc import Iterator

MODEL = "bench"
MARKER = re.compile(rb"\[nonce-([a-z]{4,32}) chunks-(\d{1,4}) gap-(\d{1,3})\]")
CONTENT = re.compile(rb'"content"\s*:\s*"([^"]*)"')

_TEXT = (
    "the tide gate opens when the river stands above the sea and closes before the water turns so that the "
    "fields behind the dike stay dry while the boats that wait outside can still be let through one after another"
)
_WORDS = _TEXT.split()

_SENTENCES = (
    "Please read the notes below and tell me what the team should do first, and why.",
    "The invoice of 14 March lists 3 items, one of which was delivered twice and returned once.",
    "Our pump station reported a level of 2.41 m at 06:15 and of 2.38 m half an hour later.",
    "Nobody has answered the question about who pays for the second inspection this year.",
    "The contractor wrote that the part is out of stock until the end of next month.",
    "Ticket 48213 was closed by mistake; its follow-up, ticket 48877, is still open.",
    "A customer asked twice whether the discount of 12.5 percent also holds for renewals.",
    "In the meeting we agreed to move the deadline, but the calendar still shows the old date.",
    "If the answer depends on something that is not in these notes, say which fact is missing.",
    "Write no more than five sentences, and keep the tone friendly but to the point.",
)
_PRIVATE = "You can reach the site manager at jan.devries@example.com or under +31 20 624 1111 on weekdays."

_VARIANTS = 16
PRIVATE_EVERY = 8
"""One prompt in this many holds an e-mail address and a phone number, so that masking does some real work."""


def piece(index: int) -> str:
    """The text of content chunk `index` (from 1; chunk 0 is the nonce)."""
    return f" {_WORDS[index % len(_WORDS)]}"


def answer_text(nonce: str, chunks: int) -> str:
    """The whole answer to a prompt with this nonce: the nonce, then ``chunks - 1`` words."""
    return nonce + "".join(piece(i) for i in range(1, chunks))


def contents(body: bytes) -> bytes:
    """All content of an OpenAI reply or event stream, joined. Good for this bench's texts only: letters and spaces."""
    return b"".join(CONTENT.findall(body))


def nonces(seed: int | None = None) -> Iterator[str]:
    """Endless distinct lower-case nonces; the first six letters differ from run to run, so no cache survives a run."""
    rng = random.Random(seed)
    prefix = "".join(rng.choices("bcdfghjklmnpqrstvwxz", k=6))
    return (prefix + _letters(i) for i in itertools.count())


def _letters(number: int) -> str:
    out = ""
    for _ in range(6):
        number, digit = divmod(number, 26)
        out += chr(97 + digit)
    return out


class Prompts:
    """Chat bodies of about 1 KB, each unique; `next` returns ``(body, expected answer)`` as bytes."""

    def __init__(self, *, stream: bool = False, chunks: int = 190, gap_ms: int = 0, seed: int | None = None) -> None:
        self._nonces = nonces(seed)
        self._marker = f"chunks-{chunks} gap-{gap_ms}"
        self._tail = answer_text("", chunks).encode()
        self._templates = [self._template(i, stream) for i in range(_VARIANTS)]
        self._turn = itertools.cycle(self._templates)

    def _template(self, variant: int, stream: bool) -> tuple[bytes, bytes]:
        start = variant % len(_SENTENCES)
        lines = [*_SENTENCES[start:], *_SENTENCES[:start]]
        if variant % PRIVATE_EVERY == 0:
            lines[5] = _PRIVATE
        body = {
            "model": MODEL,
            "messages": [
                {"role": "system", "content": "You are a careful assistant of a water board."},
                {"role": "user", "content": f"[nonce-@@ {self._marker}] " + " ".join(lines)},
            ],
            "temperature": 0.2,
            "max_tokens": 256,
        }
        if stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        head, tail = json.dumps(body).encode().split(b"@@")
        return head, tail

    def next(self) -> tuple[bytes, bytes]:
        head, tail = next(self._turn)
        nonce = next(self._nonces).encode()
        return head + nonce + tail, nonce + self._tail
