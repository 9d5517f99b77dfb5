"""What is wrong with a JSON text, in a small fixed vocabulary that verdicts and metrics can count.

`ok`; of the text: `empty`, `not_json`, `fenced`, `prose_around`, `trailing`, `malformed`, `unclosed`, `too_deep`,
`truncated` (cut by the token limit), `refused` (said in the dialect's own field for refusals); of the value:
`missing_key`, `extra_key`, `wrong_type`, `enum`, `rule` (any other keyword); of a call: `unknown_tool`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from guardrails.answered.json_repair import FENCE, repair
from guardrails.answered.json_validate import Validators

FLAWS = frozenset({
    "ok", "empty", "not_json", "fenced", "prose_around", "trailing", "malformed", "unclosed", "too_deep", "truncated",
    "refused", "missing_key", "extra_key", "wrong_type", "enum", "rule", "unknown_tool",
})  # fmt: skip
_KEYWORDS = {
    "required": "missing_key",
    "dependentRequired": "missing_key",
    "type": "wrong_type",
    "not an object": "wrong_type",
    "additionalProperties": "extra_key",
    "unevaluatedProperties": "extra_key",
    "propertyNames": "extra_key",
    "enum": "enum",
    "const": "enum",
}
_DECODER = json.JSONDecoder(strict=True)


class Shape(msgspec.Struct, frozen=True):
    """One JSON text, judged. `mended` is what may go out instead; None: as it came, if `after` is `ok`."""

    before: str
    after: str
    mended: str | None = None
    where: str = ""
    """For the client: a path in the value and a keyword, or a few words. Never the value."""

    @property
    def fits(self) -> bool:
        return self.after == "ok"

    @property
    def change(self) -> str:
        """`fenced>ok`; empty where nothing was wrong."""
        return "" if self.before == "ok" else f"{self.before}>{self.after}"


def shaped(
    text: str, schema: Mapping[str, Any] | None, validators: Validators, *, mend: bool, cut: bool, close: bool = True
) -> Shape:
    """Judges `text`, and mends it if `mend`. `cut`: it ran into the token limit, so a flaw is that and is not mended.
    `close`: what is left open at the end may be closed. Raises `Unusable` for a schema that cannot be applied."""
    before, where = flaw(text, schema, validators)
    if before == "ok":
        return Shape("ok", "ok")
    if cut:
        return Shape("truncated", "truncated", None, "it was cut off by the token limit")
    mended = repair(text, close=close) if mend else None
    if mended is None:
        return Shape(before, before, None, where)
    after, left = flaw(mended, schema, validators)
    return Shape(before, after, mended if after == "ok" else None, left)


def flaw(text: str, schema: Mapping[str, Any] | None, validators: Validators) -> tuple[str, str]:
    """(what, where) is wrong: the first thing that is. ("ok", "") if nothing."""
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return _flaw_of_text(text), "$: not JSON"
    except RecursionError:
        return "too_deep", "$: nested too deeply"
    where = validators.error(schema, value)
    return (_KEYWORDS.get(where.rpartition(": ")[2], "rule"), where) if where else ("ok", "")


def _flaw_of_text(text: str) -> str:
    bare = text.strip()
    if not bare:
        return "empty"
    start = min((at for at in (bare.find("{"), bare.find("[")) if at >= 0), default=-1)
    if start < 0:
        return "not_json"
    fence = FENCE.search(bare)
    if fence and _value_at(fence[1].strip(), 0) == "ok":
        return "fenced"
    found = _value_at(bare, start)
    if found in ("ok", "trailing"):
        return "prose_around" if start else "trailing"
    return found


def _value_at(text: str, start: int) -> str:
    try:
        _, end = _DECODER.raw_decode(text, start)
    except json.JSONDecodeError as error:
        return "unclosed" if error.pos >= len(text) or error.msg.startswith("Unterminated string") else "malformed"
    except RecursionError:
        return "too_deep"
    return "ok" if not text[end:].strip() else "trailing"
