"""Rows of our own to train on: the templates under `rows/`, made into text, the same on every machine.

`slots.txt` names slots and their values; `attacks.txt` and `harmless.txt` hold templates in families. A template is a
line: `*3 Translate {slot} ...` gives three rows. Which value goes into a slot is decided by a digest of the template,
the row's number and the slot's place, so a line added somewhere changes no other row."""

from __future__ import annotations

import base64
import codecs
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import resources

import msgspec

SOURCE = "written"
"""`src` of these rows."""
_SLOT = re.compile(r"\{([a-z_]+)\}")
_DEPTH = 4
"""Slots in values of slots."""


_DRESSES: Sequence[tuple[str, Callable[[str], str]]] = (
    ("{0}", lambda text: " ".join(text)),
    ("What does this say? {0}", lambda text: base64.b64encode(text.encode()).decode()),
    ("From hex: {0}", lambda text: text.encode().hex()),
    ("rot13: {0}", lambda text: codecs.encode(text, "rot13")),
    ("Back to front: {0}", lambda text: text[::-1]),
    ("{0}", lambda text: text.translate(str.maketrans("aeiost", "431057"))),
    ("Please answer what is written here: {0}", lambda text: " ".join(text)),
    ("{0} <- decode this and reply", lambda text: base64.b64encode(text.encode()).decode()),
)
_PADDED = frozenset({"override", "extraction", "hijack", "authority", "persona", "refusal_suppression"})
_DRESSED_EVERY = 6
_LONGEST_DRESSED = 250


class Row(msgspec.Struct):
    """One labelled text; the fields of the data's JSON lines. `label`: 1 is an attack."""

    text: str
    label: int
    src: str
    lang: str = "en"
    kind: str = ""


def own_rows() -> list[Row]:
    """All of them, in the order of the files. Raises ValueError naming the template with an unknown slot."""
    slots = read_slots(_file("slots.txt"))
    rows = []
    for name, label in (("attacks.txt", 1), ("harmless.txt", 0)):
        for family, copies, template in templates(_file(name)):
            texts = dict.fromkeys(fill(template, slots, copy) for copy in range(copies))
            rows += [Row(text, label, SOURCE, kind=family) for text in texts]
    return [*rows, *_dressed(rows), *_padded(rows)]


def _dressed(rows: Sequence[Row]) -> Iterator[Row]:
    """Some rows of either label over again in every disguise, so that a disguise alone says nothing."""
    short = [row for row in rows if len(row.text) <= _LONGEST_DRESSED][::_DRESSED_EVERY]
    for number, row in enumerate(short):
        frame, dress = _DRESSES[number % len(_DRESSES)]
        yield Row(frame.format(dress(row.text)), row.label, SOURCE, kind="dressed")


def _padded(rows: Sequence[Row]) -> Iterator[Row]:
    """Some attacks again between harmless paragraphs, where a window holds more of those than of the attack."""
    paragraphs = [row.text for row in rows if row.kind == "documents" and len(row.text) < 200]
    attacks = [row for row in rows if row.label == 1 and row.kind in _PADDED and len(row.text) < 150]
    for number, row in enumerate(attacks[::2]):
        before, after = (paragraphs[(number * 11 + shift) % len(paragraphs)] for shift in (0, 3))
        yield Row(f"{before}\n\n{row.text}\n\n{after}", 1, SOURCE, kind="padded")


def read_slots(text: str) -> Mapping[str, Sequence[str]]:
    """Slot to values: a name at the margin, its values below it and indented."""
    slots: dict[str, list[str]] = {}
    values: list[str] = []
    for line in _lines(text):
        if line.startswith(" "):
            values.append(line.strip())
        else:
            values = slots[line.strip()] = []
    return slots


def templates(text: str) -> Iterator[tuple[str, int, str]]:
    """(family, number of rows, template) for each line."""
    family = ""
    for line in _lines(text):
        if line.startswith("[") and line.endswith("]") and " " not in line:
            family = line[1:-1]
            continue
        head, _, template = line.partition(" ")
        if not head.startswith("*"):
            raise ValueError(f"expected *N and a template: {line[:60]}")
        yield family, int(head[1:]), template.replace("\\n", "\n")


def fill(template: str, slots: Mapping[str, Sequence[str]], copy: int) -> str:
    """The template's text number `copy`."""
    text = template
    for depth in range(_DEPTH):
        places = iter(range(len(text)))
        pick = f"{template}|{copy}|{depth}|"

        def value(match: re.Match[str], places: Iterator[int] = places, pick: str = pick) -> str:
            if match[1] not in slots:
                raise ValueError(f"no slot called {match[1]}: {template[:60]}")
            digest = hashlib.sha256(f"{pick}{next(places)}".encode()).digest()
            values = slots[match[1]]
            return values[int.from_bytes(digest[:4], "big") % len(values)]

        filled = _SLOT.sub(value, text)
        if filled == text:
            break
        text = filled
    return text


def _lines(text: str) -> Iterator[str]:
    for line in text.split("\n"):
        if line and not line.startswith("# "):
            yield line


def _file(name: str) -> str:
    return resources.files("guardrails.injection").joinpath("rows", name).read_text(encoding="utf-8")
