"""Images as OpenAI's APIs name them: one string that is a data URL or an address."""

from __future__ import annotations

import re
from typing import Any

from gateway.dialects.neutral import ImagePart, untranslatable

_DATA_URL = re.compile(r"data:([\w.+/-]+);base64,", re.ASCII)


def image_of(url: Any, path: str, field: str) -> ImagePart:
    """`path` is the part's own, `field` that of the string. Raises `Untranslatable`."""
    if type(url) is not str:
        raise untranslatable(field, "it is no string")
    match = _DATA_URL.match(url)
    if match is not None:
        return ImagePart(path, media_type=match[1], data=url[match.end() :])
    if not url.startswith(("https://", "http://")):
        raise untranslatable(field, "it is neither a base64 data URL nor an http(s) URL")
    return ImagePart(path, url=url)
