"""Telephone numbers: one candidate pattern, then Google's numbering rules, then the words around it.

Presidio's own recogniser runs `PhoneNumberMatcher` once for each of eight regions: 49 ms for 1,000 PII-dense tokens,
80 % of the whole analysis. One candidate pattern and the plans of `pii_numbering` give the same hits in 0.2 ms. What
they cannot know is whether a bare run of digits is a number to call or an order number; a cue word to the left
decides."""

from __future__ import annotations

import re
from collections.abc import Sequence

import re2

from guardrails.finding.spans import Span
from guardrails.finding.zones import Left
from guardrails.private.pii_numbering import Numbering

REGIONS = ("US", "GB", "DE", "FR", "ES", "IT", "NL", "PL", "BR", "CA", "IN", "IL")
"""Whose national forms are understood without a country code."""

MAX_GROUPS = 8
"""Parts a number may be written in. More is a table of digits."""

_CANDIDATE = re.compile(
    r"(?<![\w@/:=&%.#-])(?:\+ ?|\(\+|00)?\(?[0-9](?:[0-9().\u2013/-]| {1,2}(?=[0-9(+x/\u2013-])){5,26}[0-9]"
    r"(?P<ext> ?(?:ext\.?|x|#) ?[0-9]{1,6})?(?![\w@]|[.:/-][0-9])"
)
_CUE = (
    r"(?i)(?:\b(?:phone|tel|telephone|call(?:ed|ing)?|mobile|mob|cell|cellphone|fax|whatsapp|sms|text|dial|ring|reach|"
    r"contact|hotline|handy|telefon|t[ée]l[ée]phone|tel[ée]fono|telefone|m[óo]vil|cellulare|portable|kom[óo]rka|"
    r"rufnummer|num[ée]ro|(?:my|our|your|his|her) (?:new )?number)\b|[☎📞📱])[^\n;]{0,24}$"
)
_NOT = (
    r"(?i)(?:\b(?:order|invoice|ticket|ref|reference|case|account|acct|version|build|id|isbn|sku|tracking|uuid|issue|"
    r"port|line|lot|serial|part|policy|price|total|amount)\b|[#$€£№])[^\n;]{0,12}$"
)


def _words() -> re2.Set:
    """What the words before a number say: 0 for a cue that it is one to call, 1 for one that it is not, or both."""
    both = re2.Set.SearchSet()
    both.Add(_CUE)
    both.Add(_NOT)
    both.Compile()
    return both


_WORDS = _words()
_SHAPE = re.compile(
    r"(?:19|20)[0-9]{2}[-./](?:0?[1-9]|1[0-2])[-./][0-9]{1,2}|[0-9]{1,2}[-./][0-9]{1,2}[-./](?:19|20)?[0-9]{2}"  # a date
    r"|[0-9]{3}[- .][0-9]{2}[- .][0-9]{4}"  # a social security number
)
_MARKS = str.maketrans("", "", "+ ().-/\u2013\u00a0")


class Phone:
    """PHONE_NUMBER. `regions` are ISO 3166 codes, for numbers without a country code."""

    kind = "PHONE_NUMBER"
    gates: Sequence[str] = (r"\d(?:[^\n0-9A-Za-z]{0,3}\d){6}",)

    def __init__(self, regions: Sequence[str] = REGIONS) -> None:
        self._numbers = Numbering(regions)

    def find(self, zones: str, left: Left) -> list[Span]:
        spans = []
        for match in _CANDIDATE.finditer(zones):
            start, end = match.span()
            score = self._score(match[0], match["ext"] or "", start, left)
            if score:
                spans.append(Span(self.kind, start, end, score))
        return spans

    def _score(self, text: str, extension: str, start: int, left: Left) -> float:
        """0 if this is not a number to call. International form needs no cue; national form needs a valid number and
        separators; bare digits need a cue."""
        number = text[: len(text) - len(extension)] if extension else text
        digits = number.translate(_MARKS)
        size = len(digits)
        if not 7 <= size <= 17 or (number.count(" ") >= MAX_GROUPS and len(number.split()) > MAX_GROUPS):
            return 0.0
        if _SHAPE.fullmatch(number):
            return 0.0
        international = number.startswith(("+", "(+", "00"))
        if international and self._numbers.international(digits[2:] if number[0] == "0" else digits):
            return 0.75
        said = _WORDS.Match(left(start).encode("utf-8", "replace")) or ()
        if 0 in said:
            return 0.6 if international or self._numbers.possible(digits) else 0.0
        if said or size < 9 or size == len(number):
            return 0.0
        return 0.5 if self._numbers.valid(digits) else 0.0
