"""The clarifying question: asked once in a conversation, recognised when it comes back, its reply understood."""

from __future__ import annotations

import re
from collections.abc import Iterable

from routing.conversation import normal

_LONGEST = 1000
_FIRST = frozenset(["first", "former", "1"])
_SECOND = frozenset(["second", "latter", "2"])
_BARE = {"one": 0, "a": 0, "two": 1, "b": 1}
"""Replies of one word; in a sentence they mean too many other things."""
_NEITHER = frozenset(["neither", "none", "nor", "not", "no", "don't", "both"])
_REPLY_WORDS = 8


def title(intent: str) -> str:
    """An intent's name as words: `reset_password` -> `reset password`."""
    return " ".join(intent.replace("_", " ").replace("-", " ").split())


class Clarify:
    """One template over the intents' names. Holds no state: the conversation itself says what was asked."""

    def __init__(self, template: str, intents: Iterable[str]) -> None:
        """`template`: with `{first}` and `{second}`, or neither."""
        self._template = template = template.strip()
        self._by_title = {title(name): name for name in intents}
        names = "|".join(sorted(map(re.escape, self._by_title), key=len, reverse=True))
        pattern = re.escape(template.format(first="\0first\0", second="\0second\0"))
        for field in ("first", "second"):
            mark = re.escape(f"\0{field}\0")
            pattern = pattern.replace(mark, f"(?P<{field}>{names})", 1).replace(mark, f"(?:{names})")
        self._question = re.compile(pattern)

    def ask(self, first: str, second: str) -> str:
        return self._template.format(first=title(first), second=title(second))

    def asked(self, said: Iterable[str]) -> bool:
        """Whether any of these assistant texts is our question."""
        return any(self._match(text) is not None for text in said)

    def options(self, text: str) -> tuple[str, str] | None:
        """The two intents that `text` offered, if it is our question and named two."""
        match = self._match(text)
        if match is None:
            return None
        names = match.groupdict()
        if names.keys() < {"first", "second"}:
            return None
        return self._by_title[names["first"]], self._by_title[names["second"]]

    def _match(self, text: str) -> re.Match[str] | None:
        text = text.strip()
        return self._question.fullmatch(text) if len(text) <= _LONGEST else None


def chosen(reply: str, first: str, second: str) -> str | None:
    """Which of the two a short reply picks: by place (`the second one`) or by its name's words. None if it is neither
    or both, or long enough to be read as a question of its own."""
    words = normal(reply).split()
    said = set(words)
    if not words or len(words) > _REPLY_WORDS or not said.isdisjoint(_NEITHER):
        return None
    if len(words) == 1 and words[0] in _BARE:
        return (first, second)[_BARE[words[0]]]
    of_first, of_second = set(normal(title(first)).split()), set(normal(title(second)).split())
    by_name = bool(said & (of_first - of_second)), bool(said & (of_second - of_first))
    by_place = bool(said & _FIRST), bool(said & _SECOND)
    for is_first, is_second in (by_name, by_place):
        if is_first != is_second:
            return first if is_first else second
    return None
