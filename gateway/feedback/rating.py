"""One rating, as a client sends it and as it is kept."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from gateway.core.errors import BadRequest

Word = Literal["up", "down", "neutral"]
_MOST_BODY = 16 * 1024


class Rated(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `POST /v1/feedback`. `rating`, `score` or both; a score above a half is up, below it down."""

    id: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    """`x-request-id` of the exchange."""
    rating: Word | None = None
    score: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    comment: Annotated[str, msgspec.Meta(max_length=4000)] | None = None
    tags: Annotated[list[Annotated[str, msgspec.Meta(min_length=1, max_length=64)]], msgspec.Meta(max_length=16)] = []

    @property
    def word(self) -> Word:
        if self.rating is not None:
            return self.rating
        score = 0.5 if self.score is None else self.score
        return "up" if score > 0.5 else "down" if score < 0.5 else "neutral"


class Rating(msgspec.Struct, frozen=True):
    """What is kept of one. Texts are masked."""

    rating: Word
    score: float | None
    comment: str
    tags: tuple[str, ...]
    at: int
    """Unix nanoseconds."""


_DECODER = msgspec.json.Decoder(Rated)


def read(body: bytes) -> Rated:
    """Raises `BadRequest` saying what is wrong and where; never echoes a value."""
    if len(body) > _MOST_BODY:
        raise BadRequest(f"The feedback is larger than {_MOST_BODY} bytes.")
    try:
        rated = _DECODER.decode(body)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$.")
        param = where.strip("`").split("[")[0] or None
        raise BadRequest(
            f"The feedback cannot be read: {what}{f' at {param}' if param else ''}.", param=param
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadRequest("The feedback must be a JSON object.", code="invalid_json") from None
    if rated.rating is None and rated.score is None:
        raise BadRequest("Say rating (up, down or neutral) or score (0 to 1).", param="rating")
    return rated
