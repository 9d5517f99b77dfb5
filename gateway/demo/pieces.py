"""Splitting a text into pieces that are all different, as a scripted model needs."""

from __future__ import annotations


def pieces_of(text: str, size: int = 4, longest: int = 64) -> list[str]:
    """Split ``text`` into unique pieces of about ``size`` characters; joined, they are ``text`` again.

    A piece that has occurred grows until it is new; a tail that has occurred joins the piece before it.
    Raises ValueError when ``text`` is empty, or when a piece would need more than ``longest`` characters,
    which only happens to long runs of one repeated phrase.
    """
    if not text:
        raise ValueError("nothing to split: the text is empty")
    if not 0 < size <= longest:
        raise ValueError(f"size {size}: must be 1 to {longest}")
    pieces: list[str] = []
    used: set[str] = set()
    start = 0
    while start < len(text):
        end = start + size
        while text[start:end] in used and end < len(text) and end - start < longest:
            end += 1
        piece = text[start:end]
        while piece in used and pieces and end >= len(text):  # a tail that is not new: give it to the one before
            used.discard(pieces[-1])
            piece = pieces.pop() + piece
        if piece in used or len(piece) > longest:
            raise ValueError(
                f"character {start}: {piece[:20]!r}... repeats an earlier piece up to {longest} characters long; "
                "choose another size or a text that repeats itself less"
            )
        pieces.append(piece)
        used.add(piece)
        start = end
    return pieces
