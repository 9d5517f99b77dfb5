"""Originals back into what the model wrote: pure, a piece at a time.

Holds only the longest suffix that can still become a placeholder issued in this exchange. Models bend what they
copy, so a placeholder is also known in any letter case, with up to two spaces beside its brackets, with escaped
underscores (Markdown), and with all its opening brackets escaped. Anything else, and any placeholder not issued
here, is left as it stands; so is one in a link to a host that is not allowed (see `links.py`)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from guardrails.hiding.link_hosts import Allowed
from guardrails.hiding.links import Links, host_ahead, host_of
from guardrails.hiding.vault import escaped

_EXACT = re.compile(r"\[\[[A-Z][A-Z0-9_]*_[0-9]+\]\]")
_MAX_SPACES = 2
_UNDECIDED = -1
_NO = -2


class Placeholders:
    """What may be restored in one exchange, ready for matching. Made once for all the texts of an answer."""

    __slots__ = ("allowed", "json", "plain", "prefixes", "refused")

    def __init__(self, values: Mapping[str, str], allowed: Allowed | None = None) -> None:
        """`allowed`: the hosts whose links may have originals in them; by default none."""
        self.plain: dict[str, str] = {}
        self.json: dict[str, str] = {}
        self.prefixes: set[str] = set()
        self.allowed = allowed or Allowed()
        self.refused = 0
        """Placeholders that were left in links."""
        self.learn(values)

    def learn(self, values: Mapping[str, str]) -> None:
        """Takes in what was issued since, also for the texts that are under way."""
        for placeholder, value in values.items():
            if placeholder not in self.plain:
                self.plain[placeholder] = value
                self.json[placeholder] = escaped(value)
                self.prefixes.update(placeholder[:n] for n in range(1, len(placeholder)))

    def authority(self, said: str, value: str, rest: str) -> tuple[str, str]:
        """What of a link's `name:secret@host:port` will read, of which `said` is said, and what the placeholder between that
        and `rest` adds to it. In the part before the `@` that is not the value, whose slashes would seem to end it."""
        user, sign, host = rest.rpartition("@")
        shown = "x" if sign else value
        host = _EXACT.sub(lambda match: self.plain.get(match[0], match[0]), host)
        return said + shown + _EXACT.sub("x", user) + sign + host, shown


class Restorer:
    """One text on its way back. `as_json`: the text is raw JSON, so originals are escaped to stand inside a string.
    `links`: where that text is, if it goes on after what another restorer had of it."""

    __slots__ = ("_known", "_links", "_values", "held")

    def __init__(self, known: Placeholders, as_json: bool = False, links: Links | None = None) -> None:
        self._known = known
        self._values = known.json if as_json else known.plain
        self._links = links or Links(as_json)
        self.held = ""

    def push(self, chunk: str) -> str:
        """What can be sent now."""
        if not self.held and "[" not in chunk and "\\" not in chunk:
            self._links.feed(chunk)
            return chunk
        return self._scan(self.held + chunk, final=False)

    def finish(self) -> str:
        """What is still held: a beginning that never became a placeholder, as it stands."""
        return self._scan(self.held, final=True) if self.held else ""

    def _scan(self, text: str, final: bool) -> str:
        out: list[str] = []
        done = 0
        at = _next_start(text, 0)
        while at >= 0:
            end, placeholder = self._match(text, at)
            if end == _UNDECIDED and not final:
                break
            if end < 0:
                at = _next_start(text, at + 1)
                continue
            out.append(self._as_it_stands(text[done:at]))
            done = at
            restored = self._original(placeholder, text, at, end, final)
            if restored is None:
                break
            out.append(restored)
            done = end
            at = _next_start(text, end)
        stop = at if at >= 0 else len(text)
        self.held = text[stop:]
        out.append(self._as_it_stands(text[done:stop]))
        return "".join(out)

    def _as_it_stands(self, text: str) -> str:
        self._links.feed(text)
        return text

    def _original(self, placeholder: str, text: str, at: int, end: int, final: bool) -> str | None:
        """The value for the placeholder at `text[at:end]`, or what the model wrote, where it is in a link that is not the
        client's own. None if that is not to be seen yet. A value that is the whole host of a link is told to nobody else."""
        links, allowed = self._links, self._known.allowed
        value = self._known.plain[placeholder]
        if links.in_host:
            rest = host_ahead(text, end, final)
            if rest is None:
                return None
            whole, shown = self._known.authority(links.said(), value, rest)
            host = host_of(whole)
            if links.within(allowed) and host and (allowed(host) or (host == value.lower() and "." in host)):
                links.say(shown)
                return self._values[placeholder]
        if links.refuses(allowed):
            self._known.refused += 1
            return self._as_it_stands(text[at:end])
        links.say(value)
        return self._values[placeholder]

    def _match(self, text: str, at: int) -> tuple[int, str]:
        """Tries one start: (end, placeholder), or `_NO`, or `_UNDECIDED` when the text ends first."""
        plain = ""
        spaces = 0
        escapes = text[at] == "\\"
        end = len(text)
        while at < end:
            ch = text[at]
            if ch == "\\":
                if at + 1 == end:
                    return _UNDECIDED, ""
                if text[at + 1] not in "[]_" or (text[at + 1] == "[" and not escapes):
                    return _NO, ""
                at += 1
                ch = text[at]
            elif ch == "[" and escapes:
                return _NO, ""
            elif ch in " \t\n":
                spaces += 1
                if spaces > _MAX_SPACES or not (plain.endswith("[") or _complete(plain, self._known.plain)):
                    return _NO, ""
                at += 1
                continue
            spaces = 0
            plain += ch.upper() if ch.isascii() else ch
            at += 1
            if plain in self._known.plain:
                return at, plain
            if plain not in self._known.prefixes:
                return _NO, ""
        return _UNDECIDED, ""


def _complete(plain: str, known: Mapping[str, str]) -> bool:
    """Only brackets are missing."""
    return plain + "]]" in known or plain + "]" in known


def _next_start(text: str, at: int) -> int:
    """The next place where a placeholder may begin: a bracket, or a backslash before one (or at the very end)."""
    bracket = text.find("[", at)
    backslash = text.find("\\", at)
    while backslash >= 0 and (bracket < 0 or backslash < bracket):
        if backslash + 1 == len(text) or text[backslash + 1] == "[":
            return backslash
        backslash = text.find("\\", backslash + 1)
    return bracket


def restore(text: str, values: Mapping[str, str], as_json: bool = False, allowed: Allowed | None = None) -> str:
    """The whole text at once."""
    restorer = Restorer(Placeholders(values, allowed), as_json)
    return restorer.push(text) + restorer.finish()
