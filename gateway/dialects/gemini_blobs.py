"""Files of plain text inside a Gemini request, which come as base64 like any other file.

While the request is here the text stands in the place of its bytes, so that checks read and mask it as they do all text.
Where it goes to a server of this API it is packed again.
"""

from __future__ import annotations

import base64
from typing import Any

from gateway.core.errors import BadRequest
from gateway.core.request import Body, Request

_TEXTUAL = frozenset({"application/json", "application/xml", "application/x-javascript", "application/javascript"})
TEXT = "text"
"""The key of an opened blob, in the place of `data`."""


def opened(blob: Any, path: str) -> bool:
    """Opens `inlineData` that is plain text in UTF-8, in place. False: it is something else, and as it was."""
    if type(blob) is not dict:
        return False
    if TEXT in blob:  # it would be taken for one of ours
        raise BadRequest(f"{path}.{TEXT} is no field of inline data; say data.", param=f"{path}.{TEXT}")
    data, mime = blob.get("data"), blob.get("mimeType")
    if type(data) is not str or type(mime) is not str or not _is_text(mime):
        return False
    try:
        plain = data.rstrip("=").replace("-", "+").replace("_", "/")
        text = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True).decode("utf-8")
    except ValueError:
        return False
    del blob["data"]
    blob[TEXT] = text
    return True


def packed(request: Request) -> Body:
    """The body as its server takes it. The request's own is not written to."""
    body = request.body
    if not any(slot.key == TEXT and slot.path.endswith(f".inlineData.{TEXT}") for slot in request.slots):
        return dict(body)
    nested = body.get("generateContentRequest")
    if type(nested) is dict:
        return {**body, "generateContentRequest": _packed_in(nested)}
    return _packed_in(body)


def _packed_in(body: Body) -> Body:
    system = body.get("systemInstruction")
    more = {"systemInstruction": _with_parts(system)} if type(system) is dict else {}
    return {**body, "contents": [_with_parts(content) for content in body["contents"]], **more}


def _with_parts(holder: Body) -> Body:
    parts = holder.get("parts")
    return {**holder, "parts": [_part(part) for part in parts]} if type(parts) is list else holder


def _part(part: Body) -> Body:
    made = dict(part)
    blob, given = part.get("inlineData"), part.get("functionResponse")
    if type(blob) is dict and TEXT in blob:
        rest = {name: value for name, value in blob.items() if name != TEXT}
        made["inlineData"] = {**rest, "data": base64.b64encode(blob[TEXT].encode("utf-8", "replace")).decode()}
    if type(given) is dict:
        made["functionResponse"] = _with_parts(given)
    return made


def _is_text(mime: str) -> bool:
    kind = mime.partition(";")[0].strip().lower()
    return kind.startswith("text/") or kind in _TEXTUAL or kind.endswith(("+json", "+xml"))
