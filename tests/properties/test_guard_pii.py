"""The checks behind the patterns, as laws: against the libraries they are taken from, and for every country."""

from __future__ import annotations

import ipaddress
import json
import re

import phonenumbers
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from presidio_analyzer.predefined_recognizers import CreditCardRecognizer, IbanRecognizer, UsSsnRecognizer

from guardrails.finding.scanner import Several
from guardrails.finding.spans import rewrite
from guardrails.hiding.link_hosts import Allowed
from guardrails.hiding.restore import Placeholders, Restorer
from guardrails.hiding.vault import Vault, blanked, unescaped
from guardrails.private import pii, pii_import, secret_tokens
from guardrails.private.pii_numbering import Numbering
from guardrails.private.pii_phone import REGIONS
from guardrails.private.pii_presidio import _IBANS, _registered, luhn

NUMBERS = Numbering(REGIONS)
FORMATS = {**pii_import.load().ibans, **{country: _registered(country, form) for country, form in _IBANS.items()}}


def found(text: str, *entities: str) -> list[str]:
    return [text[span.start : span.end] for span in pii.find(text, entities)]


@given(st.text("0123456789", min_size=8, max_size=19))
def test_the_check_digit_of_cards_is_presidios(digits: str) -> None:
    """Luhn, by a table, as Presidio computes it."""
    assert luhn(digits) == CreditCardRecognizer().validate_result(digits)


@given(st.from_regex(r"[0-9]{3}[- .][0-9]{2}[- .][0-9]{4}", fullmatch=True))
def test_social_security_numbers_are_those_presidio_takes(number: str) -> None:
    """Areas and groups that are never given out, samples and mixed separators are none."""
    assert (found(f"is {number} ok", "US_SSN") == [number]) == (not UsSsnRecognizer().invalidate_result(number))


@settings(max_examples=300)
@given(st.one_of(
    st.ip_addresses().map(str),
    st.ip_addresses(v=6).map(lambda address: address.exploded),
    st.text("0123456789abcF:", min_size=3, max_size=24).filter(lambda text: text.count(":") > 1),
    st.ip_addresses(v=4).map(lambda address: f"::ffff:{address}"),
))  # fmt: skip
def test_addresses_are_those_that_are_addresses(text: str) -> None:
    """Every form of an address is found whole; what merely has colons or dots is not, nor one without a digit."""
    try:
        ipaddress.ip_address(text)
        valid = any(map(str.isdigit, text))
    except ValueError:
        valid = False
    assert (text in found(f"from {text} to", "IP_ADDRESS")) == valid


def _body(country: str) -> st.SearchStrategy[str]:
    form = re.sub(r"\[ \]\?", "", FORMATS[country])
    return st.from_regex(form, fullmatch=True).map(str.upper)


def _with_check_digits(iban: str) -> str:
    bare = iban[4:] + iban[:2] + "00"
    value = int("".join(str(int(ch, 36)) for ch in bare))
    return f"{iban[:2]}{98 - value % 97:02}{iban[4:]}"


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(sorted(country for country, form in FORMATS.items() if form)).flatmap(_body),
    st.sampled_from(["", " ", "-", "\u00a0"]),
    st.booleans(),
)
def test_every_countrys_ibans_are_found(iban: str, gap: str, wrong: bool) -> None:
    """In groups of four or in one, with the check digits that belong to it and with no others."""
    good = _with_check_digits(iban)
    if wrong:
        good = good[:2] + f"{(int(good[2:4]) + 1) % 100:02}" + good[4:]
    written = gap.join(good[at : at + 4] for at in range(0, len(good), 4))
    assert found(f"to {written}, please", "IBAN_CODE") == ([] if wrong else [written])


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(sorted(country for country, form in FORMATS.items() if form and country not in _IBANS)).flatmap(
        _body
    )
)
def test_ibans_are_those_presidio_takes(iban: str) -> None:
    """Where Presidio knows the country, it takes what we take."""
    assert IbanRecognizer().validate_result(_with_check_digits(iban)) is True


KINDS = [
    phonenumbers.PhoneNumberType.FIXED_LINE,
    phonenumbers.PhoneNumberType.MOBILE,
    phonenumbers.PhoneNumberType.TOLL_FREE,
]


@pytest.mark.parametrize("region", REGIONS)
def test_every_regions_example_numbers_are_numbers(region: str) -> None:
    """Google's own examples, as they are dialled at home and from abroad."""
    for kind in KINDS:
        number = phonenumbers.example_number_for_type(region, kind)
        if number is None:
            continue
        at_home = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.NATIONAL)
        abroad = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.INTERNATIONAL)
        assert NUMBERS.valid(re.sub(r"\D", "", at_home)), at_home
        assert found(f"call {at_home} now", "PHONE_NUMBER") == [at_home]
        assert found(f"is {abroad} ok", "PHONE_NUMBER") == [abroad]


@settings(max_examples=400, deadline=None)
@given(st.text("0123456789", min_size=7, max_size=12))
def test_numbers_are_those_google_takes(digits: str) -> None:
    """A number with no prefix before it is valid, and any is possible, exactly if `phonenumbers` says so for one of the
    regions or, behind a `+`, for the world."""
    assume(digits[0] not in "019")
    parsed = []
    for region in REGIONS:
        try:
            parsed.append(phonenumbers.parse(digits, region))
        except phonenumbers.NumberParseException:
            continue
    assert NUMBERS.possible(digits) == any(map(phonenumbers.is_possible_number, parsed))
    if digits[:2] not in {"33", "34", "39", "31", "44", "48", "49", "55", "91", "97"}:
        assert NUMBERS.valid(digits) == any(map(phonenumbers.is_valid_number, parsed))
    try:
        possible = phonenumbers.is_possible_number(phonenumbers.parse("+" + digits))
    except phonenumbers.NumberParseException:
        possible = False
    assert NUMBERS.international(digits) == possible


SCANNER = Several([pii.scanner(pii.ENTITIES), secret_tokens.scanner()])
SAID = st.sampled_from([
    "bob@example.com", "b\u200bob@example.com", "4111 1111 1111 1111", "GB29 NWBK 6016 1331 9268 19", "10.1.2.3", "2001:db8::1", "536-22-1234",
    "+44 20 7946 0958", "https://example.com/a?b=c", "http://10.1.2.3:80/x", "my name is Ada Lovelace,", "Ada Lovelace <ada@example.com>",
    "api_key = \"9f8e7d6c5b4a39281706\"", "sk-abcDEF0123456789abcd", "postgres://app:hunter2pw@db.example/x", "-----BEGIN RSA PRIVATE KEY-----\nMIIE",
    "[[EMAIL_ADDRESS_1]]", "[[email_address_1]]", "\\[\\[EMAIL\\_ADDRESS\\_1\\]\\]", "[[", "\\", "é 中文", "and so", "\n", "\t",
])  # fmt: skip


class _Any(Allowed):
    """The client's own links, in an answer that says what the client said."""

    def __call__(self, host: str) -> bool:
        return True


@settings(max_examples=250, deadline=None)
@given(
    st.lists(SAID, max_size=8).map(" ".join), st.lists(st.integers(0, 2000), max_size=12), st.booleans(), st.booleans()
)
def test_masked_streamed_and_restored_is_the_text_itself(
    text: str, places: list[int], as_json: bool, ascii_only: bool
) -> None:
    """What the real scanners mask comes back to the character, in prose and in JSON, in any pieces."""
    sent = json.dumps({"body": text}, ensure_ascii=ascii_only) if as_json else text
    vault = Vault([sent])
    spans = SCANNER.find(blanked(sent) if as_json else sent)
    masked = rewrite(sent, spans, lambda kind, said: vault.issue(kind, unescaped(said) if as_json else said))
    known = Placeholders(vault.values, _Any())
    cuts = sorted(place % (len(masked) + 1) for place in places)
    for pieces in ([masked[a:b] for a, b in zip([0, *cuts], [*cuts, len(masked)], strict=True)], list(masked)):
        restorer = Restorer(known, as_json)
        back = "".join([*map(restorer.push, pieces), restorer.finish()])
        assert (json.loads(back)["body"] if as_json else back) == text


def _spelt(text: str, ways: list[int]) -> str:
    """A JSON string's inside, with some characters as escapes, upper case or lower."""
    forms = (str, lambda ch: f"\\u{ord(ch):04x}", lambda ch: f"\\u{ord(ch):04X}", lambda ch: "\\/" if ch == "/" else ch)
    return "".join(forms[ways[at % len(ways)]](ch) for at, ch in enumerate(text))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(["bob@example.com", "4111 1111 1111 1111", "+44 20 7946 0958"]), st.lists(st.integers(0, 3), min_size=1, max_size=20),
       st.sampled_from(["", "\\n", "\\\"", "x ", "\\u200b"]))  # fmt: skip
def test_values_spelt_with_escapes_in_json_are_masked_whole(value: str, ways: list[int], before: str) -> None:
    """However a tool call's JSON spells a value, masking takes all of it and no half of an escape: what is left is JSON,
    and the vault has the value itself."""
    raw = '{"to":"' + before + _spelt(value, ways) + '","n":1}'
    vault = Vault()
    masked = rewrite(raw, pii.find(blanked(raw)), lambda kind, spelling: vault.issue(kind, unescaped(spelling)))
    assert json.loads(masked)["to"].endswith("_1]]")
    assert list(vault.values.values()) == [value]
