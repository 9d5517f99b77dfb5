"""Reads a `multipart/form-data` body while it passes, in pieces of any size: where its fields are, never what its files
hold. Strict in what it takes, because the provider's own reader must not see another field than we do."""

from __future__ import annotations

import re

import msgspec

from gateway.core.errors import BadRequest

MOST_PARTS = 128
MOST_HEAD = 8 * 1024
"""Bytes of one part's headers."""
MOST_VALUE = 64 * 1024
"""Bytes of a field that is read."""
_TYPE = re.compile(r'multipart/form-data\s*;(?:.*;)?\s*boundary=(?:"([^"\\]{1,70})"|([^\s";,]{1,70}))\s*(?:;.*)?', re.I)
_DISPOSITION = re.compile(
    rb'content-disposition:[ \t]*form-data((?:[ \t]*;[ \t]*[A-Za-z0-9*_-]+=(?:"[^"\r\n]*"|[^\s;"]+))*)[ \t]*', re.I
)
_PARAMETER = re.compile(rb';[ \t]*([A-Za-z0-9*_-]+)=(?:"([^"\r\n]*)"|([^\s;"]+))')


class Part(msgspec.Struct):
    """One part. Places are offsets from the body's first byte."""

    name: str
    start: int
    """Of the value."""
    filenames: tuple[int, ...] = ()
    """Where the file's name begins, each time that it is told; none for a plain field."""
    end: int | None = None
    """Of the value; None while it has not been seen."""
    value: str | None = None
    """Of the fields that were asked for."""


def boundary_of(content_type: str) -> bytes:
    """Raises `BadRequest` for what is no form with files."""
    match = _TYPE.fullmatch(content_type.strip())
    if match is None:
        raise BadRequest("The body must be a form: content-type multipart/form-data with a boundary.")
    return (match[1] or match[2]).encode("latin-1", "replace")


class Scan:
    """Fed a body, it finds parts. Holds only what is not read yet: the end of a piece, a head, a field's value."""

    def __init__(self, boundary: bytes, fields: frozenset[str]) -> None:
        """`fields`: names whose values are read; they may be there once."""
        self._mark = b"\r\n--" + boundary
        self._fields = fields
        self._data = bytearray(b"\r\n")  # the first boundary begins the body, or follows a line break like the others
        self._base = -2
        """Offset in the body of the first byte held."""
        self._part: Part | None = None
        self._head = False
        self.parts: list[Part] = []
        self.over = False
        """The closing boundary was seen."""

    def feed(self, data: bytes) -> None:
        """Raises `BadRequest` for what is no such form, or says one of the fields twice."""
        if self.over:
            return
        self._data += data
        while not self.over and (self._in_head() if self._head else self._in_value()):
            pass

    def field(self, name: str) -> Part | None:
        """A field that was read to its end."""
        return next((part for part in self.parts if part.name == name and part.value is not None), None)

    def close(self) -> None:
        """At the end of the body. Raises `BadRequest` if it is not whole."""
        if not self.over:
            raise BadRequest("The form breaks off before its closing boundary.")

    def _in_value(self) -> bool:
        """Up to the next boundary; whether there may be more to find in what is held."""
        data, part = self._data, self._part
        if part is not None and part.start == self._base and data.startswith(self._mark[2:]):
            raise BadRequest("A part of the form has no value.")  # readers differ in where it would end
        at = data.find(self._mark)
        after = at + len(self._mark)
        if at >= 0 and len(data) >= after + 2:
            tail = bytes(data[after : after + 2])
            if tail not in (b"\r\n", b"--"):
                raise BadRequest("The form's boundary is followed by something else than a line break.")
            if part is not None:
                self._ended(part, at)
            self._part, self._head, self.over = None, tail == b"\r\n", tail == b"--"
            self._drop(after + 2)
            return True
        if part is not None and part.name in self._fields and not part.filenames:
            if len(data) > MOST_VALUE + len(self._mark):
                raise BadRequest(f"{part.name} is longer than {MOST_VALUE} bytes.", param=part.name)
        elif at < 0:
            if not self.parts and len(data) > MOST_HEAD:
                raise BadRequest("The form does not begin with its boundary.")
            self._drop(max(0, len(data) - len(self._mark) - 1))
        return False

    def _ended(self, part: Part, at: int) -> None:
        part.end = self._base + at
        if part.name in self._fields and not part.filenames:
            try:
                part.value = self._data[:at].decode()
            except UnicodeDecodeError:
                raise BadRequest(f"{part.name} is not valid UTF-8.", param=part.name) from None

    def _in_head(self) -> bool:
        end = self._data.find(b"\r\n\r\n")
        if end < 0 and len(self._data) <= MOST_HEAD:
            return False
        if end < 0 or end > MOST_HEAD:
            raise BadRequest(f"A part of the form has more than {MOST_HEAD} bytes of headers.")
        part = self._part_of(bytes(self._data[:end]), self._base + end + 4)
        if part.name in self._fields and any(other.name == part.name for other in self.parts):
            raise BadRequest(f"{part.name} is in the form twice.", param=part.name)
        self.parts.append(part)
        if len(self.parts) > MOST_PARTS:
            raise BadRequest(f"The form has more than {MOST_PARTS} parts.")
        self._part, self._head = part, False
        self._drop(end + 4)
        return True

    def _part_of(self, head: bytes, start: int) -> Part:
        for line in head.split(b"\r\n"):
            if not line.lower().startswith(b"content-disposition"):
                continue
            match = _DISPOSITION.fullmatch(line)
            if match is None:
                break
            told: dict[bytes, re.Match[bytes]] = {}
            for one in _PARAMETER.finditer(match[1]):
                if told.setdefault(one[1].lower(), one) is not one:
                    raise BadRequest("A part of the form names itself twice.")
            name = told.get(b"name")
            if name is None or b"name*" in told:
                break
            line_at = self._base + head.find(line) + match.start(1)
            where = [line_at + _begins(told[key]) for key in (b"filename", b"filename*") if key in told]
            return Part((name[2] if name[2] is not None else name[3]).decode("utf-8", "replace"), start, tuple(where))
        raise BadRequest("A part of the form has no Content-Disposition that says form-data and a name.")

    def _drop(self, count: int) -> None:
        del self._data[:count]
        self._base += count


def _begins(parameter: re.Match[bytes]) -> int:
    """Where the value of `filename="..."` begins, or of `filename*=UTF-8''...` (RFC 5987)."""
    group = 2 if parameter[2] is not None else 3
    coded = parameter[group].rfind(b"'") + 1 if parameter[1].endswith(b"*") else 0
    return parameter.start(group) + coded
