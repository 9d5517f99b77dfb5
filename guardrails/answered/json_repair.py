"""Almost-JSON into JSON: the slips that models make, and no guessing beyond them.

Mends: text and code fences around the value, trailing commas, comments, Python's True/False/None, quotes of the
wrong kind around whole strings, line breaks inside strings, and what is left open at the end. A value is never
invented: a key without one is dropped by nobody, it stays an error."""

from __future__ import annotations

import re

FENCE = re.compile(r"```[A-Za-z0-9_-]{0,16}[ \t]*\r?\n?(.*?)(?:```|\Z)", re.DOTALL)
_WORDS = {"True": "true", "False": "false", "None": "null"}
_BARE = re.compile(r"[A-Za-z_]\w*|[-+.\w]+")
_CLOSE = {"{": "}", "[": "]"}
_CONTROL = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def repair(text: str, *, close: bool = True) -> str | None:
    """Text that should parse, or None when there is no object or array in it. The caller parses and validates it.

    `close`: what is open at the end is closed. Not for the arguments of calls: half a path is a path, and would run."""
    fenced = FENCE.search(text)
    if fenced and ("{" in fenced[1] or "[" in fenced[1]):
        text = fenced[1]
    start = min((at for at in (text.find("{"), text.find("[")) if at >= 0), default=-1)
    if start < 0:
        return None
    mender = _Mender(text, start)
    mended = mender.run()
    return mended if close or not mender.unclosed else None


class _Mender:
    """One pass over the text from its first bracket to the one that closes it."""

    def __init__(self, text: str, start: int) -> None:
        self._text = text
        self._at = start
        self._out: list[str] = []
        self._open: list[str] = []
        self._awaited = {"}": 0, "]": 0}
        """How many of each are in `_open`: looking there each time would be quadratic."""
        self.unclosed = False
        """The text ended inside a string, an object or an array."""

    def run(self) -> str:
        while self._at < len(self._text):
            ch = self._text[self._at]
            if ch in "\"'\u201c":
                self._string(ch)
            elif ch in "{[":
                self._open.append(_CLOSE[ch])
                self._awaited[_CLOSE[ch]] += 1
                self._put(ch)
            elif ch in "}]":
                self._close(ch)
                if not self._open:
                    break
            elif self._text.startswith(("//", "/*"), self._at):
                self._comment()
            elif ch.isspace() or ch in ",:":
                self._put(ch)
            else:
                self._bare()
        self.unclosed = self.unclosed or bool(self._open)
        while self._open:
            self._drop_comma()
            self._out.append(self._open.pop())
        return "".join(self._out)

    def _put(self, ch: str) -> None:
        self._out.append(ch)
        self._at += 1

    def _close(self, ch: str) -> None:
        self._drop_comma()
        self._at += 1
        if self._awaited[ch]:
            while self._open:
                wanted = self._open.pop()
                self._awaited[wanted] -= 1
                self._out.append(wanted)
                if wanted == ch:
                    break

    def _drop_comma(self) -> None:
        while self._out and (self._out[-1].isspace() or self._out[-1] == ","):
            if self._out.pop() == ",":
                return

    def _comment(self) -> None:
        end = "\n" if self._text.startswith("//", self._at) else "*/"
        found = self._text.find(end, self._at)
        self._at = len(self._text) if found < 0 else found + len(end)

    def _bare(self) -> None:
        match = _BARE.match(self._text, self._at)
        if match is None:
            self._put(self._text[self._at])
            return
        self._out.append(_WORDS.get(match[0], match[0]))
        self._at = match.end()

    def _string(self, quote: str) -> None:
        end = "\u201d" if quote == "\u201c" else quote
        self._at += 1
        piece = ['"']
        while self._at < len(self._text):
            ch = self._text[self._at]
            if ch == "\\" and self._at + 1 < len(self._text):
                following = self._text[self._at + 1]
                piece.append(following if following == "'" else ch + following)
                self._at += 2
                continue
            self._at += 1
            if ch == end:
                break
            piece.append(_CONTROL.get(ch, '\\"' if ch == '"' else ch))
        else:
            self.unclosed = True
        piece.append('"')
        self._out.append("".join(piece))
