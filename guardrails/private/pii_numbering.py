"""Which digits are a telephone number: Google's numbering plans (`phonenumbers`), compiled once.

`phonenumbers.parse` and `is_valid_number` take 30 to 60 microseconds for each region asked, all of it Python; a page
of numbers, or of digits that look like some, took half a second. The plans themselves are plain patterns and lengths:
here those of all regions that are understood become one RE2 pattern, and asking is one match.

The answers are those of `phonenumbers` (tested against it), but for these: a number may be dialled with or without its
national prefix wherever either way is valid, and numbers dialled abroad by `011` are taken by their length."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import phonenumbers
import re2
from phonenumbers import PhoneMetadata

_KINDS = (
    "fixed_line", "mobile", "toll_free", "premium_rate", "shared_cost", "voip", "personal_number", "pager", "uan",
    "voicemail",
)  # fmt: skip
_ABROAD = "011"


class _Plan:
    """One region's numbers."""

    def __init__(self, region: str, code: int = 0) -> None:
        plan = PhoneMetadata.metadata_for_region_or_calling_code(code, region)
        general = plan.general_desc if plan is not None else None
        if plan is None or general is None:
            raise ValueError(f"no numbering plan for the region {region!r}")
        self.code: int = plan.country_code or 0
        self._whole = frozenset(general.possible_length)
        self.lengths = self._whole | frozenset(general.possible_length_local_only)
        self.prefix: str = plan.national_prefix_for_parsing or ""
        self.rule: str = (plan.national_prefix_transform_rule or "").replace("$", "\\")
        self._prefix = re.compile(self.prefix or "(?!)")

    def possible(self, digits: str) -> bool:
        """Could it be one, by its length? With its prefix or without."""
        if len(digits) in self.lengths:
            return True
        bare = self.bare(digits)
        return bare is not None and len(bare) in self._whole

    def bare(self, digits: str) -> str | None:
        """Without the national prefix; None if it has none."""
        match = self._prefix.match(digits)
        if match is None or not match.end():
            return None
        if self.rule and match.lastindex and match[match.lastindex]:
            return match.expand(self.rule) + digits[match.end() :]
        return digits[match.end() :]


def _patterns(code: int) -> Iterator[str]:
    """Every kind of number of every region that shares a calling code."""
    for region in phonenumbers.COUNTRY_CODE_TO_REGION_CODE[code]:
        plan = PhoneMetadata.metadata_for_region_or_calling_code(code, region)
        for kind in _KINDS:
            numbers = getattr(plan, kind, None)
            if numbers is not None and numbers.national_number_pattern:
                yield numbers.national_number_pattern


class Numbering:
    """The plans of `regions` (ISO 3166) for national numbers, and of the whole world for international ones."""

    def __init__(self, regions: Sequence[str]) -> None:
        self._plans = [_Plan(region) for region in regions]
        self._world = {
            str(code): _Plan(main[0], code) for code, main in phonenumbers.COUNTRY_CODE_TO_REGION_CODE.items()
        }
        self._lengths: frozenset[int] = frozenset().union(*(plan.lengths for plan in self._plans))
        self._ruled = [plan for plan in self._plans if plan.rule]
        options = re2.Options()
        options.max_mem = 32 << 20
        options.log_errors = False
        # A set of one: matching it is one call into C++, where `re2.fullmatch` is 3 microseconds of Python.
        self._valid = re2.Set.FullMatchSet(options)
        self._valid.Add("|".join(map(self._one, self._plans)))
        self._valid.Compile()
        self._valid.Match(b"0201234567")

    @staticmethod
    def _one(plan: _Plan) -> str:
        before = f"(?:{plan.code}|{plan.prefix})?" if plan.prefix and not plan.rule else f"(?:{plan.code})?"
        return f"{before}(?:{'|'.join(_patterns(plan.code))})"

    def international(self, digits: str) -> bool:
        """Could the digits after the `+` be a number somewhere?"""
        for size in (1, 2, 3):
            plan = self._world.get(digits[:size])
            if plan is not None:
                return plan.possible(digits[size:])
        return False

    def possible(self, digits: str) -> bool:
        """Could it be a number in one of the regions?"""
        return len(digits) in self._lengths or any(plan.possible(digits) for plan in self._plans)

    def valid(self, digits: str) -> bool:
        """Is it one that one of the regions gives out?"""
        if digits.startswith("00"):
            return self.international(digits[2:])
        if self._valid.Match(digits.encode()):
            return True
        if digits.startswith(_ABROAD) and self.international(digits[len(_ABROAD) :]):
            return True
        for plan in self._ruled:
            bare = plan.bare(digits)
            if bare is not None and self._valid.Match(bare.encode()):
                return True
        return False
