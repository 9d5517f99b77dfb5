"""What the PII scanner finds, what it leaves alone, and what it costs to have Presidio behind it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from guardrails.finding.zones import Gate
from guardrails.private import pii, pii_import
from guardrails.private.pii_ner import missing, ner_scanner
from guardrails.private.pii_presidio import known_ending, tlds
from guardrails.private.pii_url import Url


def found(text: str, *entities: str) -> list[tuple[str, str]]:
    return [(span.kind, text[span.start : span.end]) for span in pii.find(text, entities or pii.ENTITIES)]


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("write to bob.o'neil+x@mail.example.co.uk, please", "EMAIL_ADDRESS", "bob.o'neil+x@mail.example.co.uk"),
        ("<jörg@straße.de>", "EMAIL_ADDRESS", "jörg@straße.de"),
        ("root@db.internal", "EMAIL_ADDRESS", "root@db.internal"),
        ("请联系bob@example.com。", "EMAIL_ADDRESS", "bob@example.com"),
        ("ｂｏｂ＠example.com", "EMAIL_ADDRESS", "ｂｏｂ＠example.com"),
        ('{"mail":"bob@example.com"}', "EMAIL_ADDRESS", "bob@example.com"),
        ("card 4111 1111 1111 1111, exp", "CREDIT_CARD", "4111 1111 1111 1111"),
        ("card 4111-1111-1111-1111.", "CREDIT_CARD", "4111-1111-1111-1111"),
        ("amex 3782 822463 10005", "CREDIT_CARD", "3782 822463 10005"),
        ("order 4821 4111 1111 1111 1111", "CREDIT_CARD", "4111 1111 1111 1111"),
        ("IBAN GB29 NWBK 6016 1331 9268 19 thanks", "IBAN_CODE", "GB29 NWBK 6016 1331 9268 19"),
        ("MT84 MALT 0110 0001 2345 MTLC AST0 01S", "IBAN_CODE", "MT84 MALT 0110 0001 2345 MTLC AST0 01S"),
        ("ssn 536-22-1234 ok", "US_SSN", "536-22-1234"),
        ("from 10.0.0.12: refused", "IP_ADDRESS", "10.0.0.12"),
        ("host 2001:db8::8a2e:370:7334 up", "IP_ADDRESS", "2001:db8::8a2e:370:7334"),
        ("mac 00:1b:44:11:3a:b7", "MAC_ADDRESS", "00:1b:44:11:3a:b7"),
        ("see https://example.com/a?b=c(1).", "URL", "https://example.com/a?b=c"),
        ("see www.example.org, ok", "URL", "www.example.org"),
        ("ring +44 20 7946 0958 now", "PHONE_NUMBER", "+44 20 7946 0958"),
        ("(212) 555-0123 ext. 12", "PHONE_NUMBER", "(212) 555-0123 ext. 12"),
        ("Call me at 0301234567.", "PHONE_NUMBER", "0301234567"),
        ("Tel: 001-438-317-0897x380", "PHONE_NUMBER", "001-438-317-0897x380"),
        ("Hi, my name is Jan van der Berg and", "PERSON", "Jan van der Berg"),
        ("Kind regards,\nAnna Müller", "PERSON", "Anna Müller"),
        ("Dr. Smith will see you", "PERSON", "Smith"),
        ("Please reply to Tammy Stone today", "PERSON", "Tammy Stone"),
        ("and copy Maria Alice Borges.", "PERSON", "Maria Alice Borges"),
        ("Ada Lovelace <ada@example.com>", "PERSON", "Ada Lovelace"),
        ("Dear Ada Lovelace <ada@example.com>", "PERSON", "Ada Lovelace"),
        ("Mr. Jan Kowalski and Ewa Nowak came", "PERSON", "Ewa Nowak"),
        ("Regards,\nAnna Müller\nSenior Engineer", "PERSON", "Anna Müller"),
        ("customer Jeffrey Bradley's order", "PERSON", "Jeffrey Bradley"),
        ("Mein Name ist Jörg Weiß.", "PERSON", "Jörg Weiß"),
        ("Je m'appelle Chloé Dubois", "PERSON", "Chloé Dubois"),
        ("Full name: O'Brien, age 3", "PERSON", "O'Brien"),
        ("my number is 02074960482", "PHONE_NUMBER", "02074960482"),
        ("IBAN PT50 0002 0123 1234 5678 9015 4", "IBAN_CODE", "PT50 0002 0123 1234 5678 9015 4"),
        ("iban gb29nwbk60161331926819.", "IBAN_CODE", "gb29nwbk60161331926819"),
        ("net 10.0.0.0/24 is up", "IP_ADDRESS", "10.0.0.0/24"),
        ("at http://10.0.0.12:8080/x", "URL", "http://10.0.0.12:8080/x"),
        ("ping 2001:db8::1: ok", "IP_ADDRESS", "2001:db8::1"),
        ("card ٤١١١ ١١١١ ١١١١ ١١١١ ok", "CREDIT_CARD", "٤١١١ ١١١١ ١١١١ ١١١١"),
        ("write to bob@exa\u200bmple.com", "EMAIL_ADDRESS", "bob@exa\u200bmple.com"),
        ("card 4111\u200b1111\u00ad1111\u20601111 ok", "CREDIT_CARD", "4111\u200b1111\u00ad1111\u20601111"),
    ],
)  # fmt: skip
def test_finds(text: str, kind: str, value: str) -> None:
    """Each entity in the ways people write it, to the character."""
    assert (kind, value) in found(text)


@pytest.mark.parametrize(
    "text",
    [
        "The bus 42 leaves at 10:30, build 2026.11.3 fixed issue 1063.",
        "uuid 550e8400-e29b-41d4-a716-446655440000 is not personal",
        "Is order 4821 5523 shipped? Version 10.4.2, price 1,299.00.",
        "card 4111 1111 1111 1112 fails its check digit",
        "GB29 NWBK 6016 1331 9268 18 fails its check digits",
        "import foo.bar; foo.bar(main.py, README.md, a::b)",
        "foo@2x.png and @decorator and user@ and a@b",
        "000-12-3456 was never issued",
        "From 2024-01-31 to 31.12.2024, 12/31/2024",
        "sha 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "order 123456789012",
        "I am happy. This is Great. Dear Sir or Madam,",
        "Mr. I mean, hello There",
        "timestamp 1700000000000",
        "Dear Customer Support, please contact Human Resources or the Client Portal",
        "OID 1.3.6.1.4.1, version 1.2.3.4.5, at 12:30:45",
        "I met The Team; meet New York; ask Microsoft",
    ],
)
def test_leaves_alone(text: str) -> None:
    """Numbers, versions, code and near misses are not private."""
    assert found(text) == []


def test_only_what_was_asked_for_is_found() -> None:
    """Entities that are not listed are not looked for."""
    assert found("bob@example.com 10.0.0.12", "IP_ADDRESS") == [("IP_ADDRESS", "10.0.0.12")]


def test_own_words_and_patterns_are_entities_too() -> None:
    """Operators name what is private to them: RE2 patterns, and words in any case."""
    scanner = pii.scanner(("EMAIL_ADDRESS",), patterns={"STAFF_ID": r"EMP-\d{4}"}, deny={"PROJECT": ["Blue Bird"]})
    text = "EMP-1234 told a@b.example about BLUE  bird"
    assert [(s.kind, text[s.start : s.end]) for s in scanner.find(text)] == [
        ("STAFF_ID", "EMP-1234"), ("EMAIL_ADDRESS", "a@b.example"), ("PROJECT", "BLUE  bird"),
    ]  # fmt: skip


def test_unknown_entity_is_refused_by_name() -> None:
    """A misspelt entity is an error and not a check that finds nothing."""
    with pytest.raises(ValueError, match=r"EMAIL_ADRESS.*EMAIL_ADDRESS"):
        pii.scanner(("EMAIL_ADRESS",))


def test_every_gate_opens_for_what_its_recogniser_finds() -> None:
    """A gate that stays shut for a real value would silently switch its recogniser off."""
    samples = {
        "EMAIL_ADDRESS": "a@b.example", "PHONE_NUMBER": "+44 20 7946 0958", "CREDIT_CARD": "3782 822463 10005",
        "IBAN_CODE": "GB29 NWBK 6016 1331 9268 19", "US_SSN": "536-22-1234", "IP_ADDRESS": "fe80::1", "URL": "www.example.org",
        "MAC_ADDRESS": "001b.4411.3ab7", "CRYPTO": "16Yeky6GMjeNkAiNcBY7ZhrLoMSgg1BoyZ",
    }  # fmt: skip
    assert set(samples) == set(pii.PATTERNED)
    for kind, text in samples.items():
        assert found(text, kind) == [(kind, text)]


def test_gate_names_only_those_that_must_look() -> None:
    """Clean text opens nothing; a hit opens only its own recogniser."""
    gate = Gate([Url(), *pii._presidio()["US_SSN"]])
    assert list(gate.open_for("nothing to see")) == []
    assert list(gate.open_for("536-22-1234")) == [1]


def test_endings_are_known_without_the_network() -> None:
    """The list is in the package: internationalised and internal names too, file endings not."""
    endings = tlds()
    assert known_ending("a.example", endings)
    assert known_ending("müller.рф", endings)
    assert not known_ending("foo.png", endings)


def _python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.strip()


def test_presidio_comes_without_spacy_and_leaves_no_trace() -> None:
    """After the scanner is built neither spaCy nor a half-imported Presidio is in the process, and the whole one still
    imports."""
    code = (
        "import sys; from guardrails.private import pii; pii.find('a@b.example');"
        "print([m for m in sys.modules if m.split('.')[0] in ('spacy', 'presidio_analyzer', 'pydantic')]);"
        "import presidio_analyzer as p; print(p.AnalyzerEngine.__name__, 'spacy' in sys.modules)"
    )
    assert _python(code) == "[]\nAnalyzerEngine True"


def test_presidio_that_is_already_there_is_used() -> None:
    """If the whole package was imported first, its own classes are taken and it stays as it was."""
    code = (
        "import sys, presidio_analyzer; from presidio_analyzer.predefined_recognizers import MacAddressRecognizer as E;"
        "from guardrails.private import pii_import; print(pii_import.load().mac is E, 'presidio_analyzer' in sys.modules)"
    )
    assert _python(code) == "True True"


def test_presidio_may_not_log_what_it_sees() -> None:
    """Its IBAN recogniser logs the text that failed its check; that logger is off."""
    import logging

    pii_import.load()
    assert logging.getLogger("presidio-analyzer").disabled


def test_the_real_spacy_path_finds_names_in_running_text(tmp_path: Path) -> None:
    """With `ner:`, Presidio's own spaCy engine runs, here over a model made on the spot."""
    import spacy

    model = spacy.blank("en")
    ruler = model.add_pipe("entity_ruler")
    ruler.add_patterns([{"label": "PERSON", "pattern": [{"LOWER": "ada"}, {"LOWER": "lovelace"}]}])
    model.to_disk(tmp_path / "names")
    scanner = pii.scanner(("EMAIL_ADDRESS",), ner=ner_scanner(str(tmp_path / "names"), ("PERSON",)))
    text = "Ask Ada Lovelace\nor ada@example.com"
    assert [(s.kind, text[s.start : s.end]) for s in scanner.find(text)] == [
        ("PERSON", "Ada Lovelace"), ("EMAIL_ADDRESS", "ada@example.com"),
    ]  # fmt: skip


def test_a_missing_model_is_said_and_never_downloaded() -> None:
    """Presidio would start a download; we say what is missing."""
    assert "nothing is downloaded" in missing("en_core_web_nope")
    with pytest.raises(ValueError, match="neither installed nor a path"):
        ner_scanner("en_core_web_nope", ("PERSON",))
