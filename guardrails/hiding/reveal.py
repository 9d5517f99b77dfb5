"""What a mask has hidden, put back for one call of a target that may see it (`internal: original`).

A value that any check with `internal: mask` has hidden stays hidden, whoever else found it. What is put back in a place
is the spelling that stood there (JSON escapes in tool arguments), so such a call says exactly what the client said."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import msgspec

from gateway.core.copying import copied
from gateway.core.facts import Key
from gateway.core.request import Request, Slot
from guardrails.finding.spans import Span
from guardrails.hiding.vault import Vault, unescaped

_PLACEHOLDER = re.compile(r"\[\[[A-Z][A-Z0-9_]*\]\]")


class Revealing:
    """A `core.reveal.Reveal`. Lives in one exchange's facts, like its vault. Not thread-safe."""

    __slots__ = ("_hidden", "_spelled", "shown")

    def __init__(self) -> None:
        self.shown: dict[str, str] = {}
        """Placeholder -> original, for those that trusted targets may see."""
        self._hidden: set[str] = set()
        self._spelled: dict[str, dict[str, list[str]]] = {}
        """Place -> placeholder -> how the original was written there each time, for raw JSON."""

    def note(self, slot: Slot, spans: Sequence[Span], vault: Vault, shown: bool) -> None:
        """One mask at work: `slot` as it was before, `vault` as it is after."""
        for span in spans:
            spelling = slot.text[span.start : span.end]
            value = unescaped(spelling) if slot.kind == "tool_arguments" else spelling
            placeholder = vault.known(span.kind, value)
            if placeholder is None:
                continue
            if not shown:
                self._hidden.add(placeholder)
                self.shown.pop(placeholder, None)
            elif placeholder not in self._hidden:
                self.shown[placeholder] = value
                if slot.kind == "tool_arguments":
                    self._spelled.setdefault(slot.path, {}).setdefault(placeholder, []).append(spelling)

    def request(self, masked: Request) -> Request:
        """See `core.reveal.Reveal`. Shares every string with `masked`, and no list or object."""
        texts = {at: text for at, slot in enumerate(masked.slots) if (text := self._text(slot)) is not None}
        if not texts:
            return masked
        body, copies = copied(masked.body)
        slots = [
            msgspec.structs.replace(slot, holder=copies.get(id(slot.holder), slot.holder)) for slot in masked.slots
        ]
        for at, text in texts.items():
            if slots[at].holder is not masked.slots[at].holder:
                slots[at].replace(text)
        return Request(
            dialect=masked.dialect,
            operation=masked.operation,
            body=body,
            model=masked.model,
            stream=masked.stream,
            include_usage=masked.include_usage,
            slots=slots,
        )

    def originals(self) -> Mapping[str, str]:
        """Placeholder -> original in full: one that was masked in two steps is put together again."""
        return {placeholder: self._filled(value, "") for placeholder, value in self.shown.items()}

    def _text(self, slot: Slot) -> str | None:
        """The slot's text with originals; None if it has none to show."""
        text = slot.text
        if not self.shown or "[[" not in text:
            return None
        filled = self._filled(text, slot.path)
        return filled if filled != text else None

    def _filled(self, text: str, path: str) -> str:
        """A placeholder inside an original was issued before that one, so this ends."""
        spelled = {name: iter(found) for name, found in self._spelled.get(path, {}).items()}

        def original(match: re.Match[str]) -> str:
            placeholder = match[0]
            value = self.shown.get(placeholder)
            if value is None:
                return placeholder
            written = next(spelled[placeholder], value) if placeholder in spelled else value
            return self._filled(written, "")

        return _PLACEHOLDER.sub(original, text) if "[[" in text else text

    def __repr__(self) -> str:
        """Counts only."""
        return f"Revealing(shown={len(self.shown)}, hidden={len(self._hidden)})"


REVEALING: Key[Revealing] = Key("revealing")
"""The same object as `core.reveal.REVEAL` there, for this package, and from the first mask on."""
