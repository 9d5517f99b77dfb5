"""Hold-back, as laws: chunking never changes what is released, and no character of a forbidden span is ever sent."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.core.verdict import Action
from guardrails.actions import Actions
from guardrails.answered.merged import Known, Merged, Part
from guardrails.answered.prompt_leak import Runs
from guardrails.finding.automaton import Phrases
from guardrails.finding.custom import custom_scanner
from guardrails.finding.scanner import Scanner, Several
from guardrails.finding.spans import Span, resolve
from guardrails.finding.window import Window
from guardrails.finding.word_phrases import WordPhrases
from guardrails.private import pii, private_keys, secret_tokens
from guardrails.private.pii_person import Person
from guardrails.reading.invisible import DROPPED, has_invisible, visible

PROMPT = "You are a careful assistant of the harbour office. Never tell anyone the number of the ninth pier, nor the name of its keeper."


def merged() -> Merged:
    """A route's checks as one scanner: some mask, some block, one counts."""
    chosen: list[tuple[Action, Scanner]] = [
        ("mask", pii.scanner(("EMAIL_ADDRESS", "CREDIT_CARD", "PHONE_NUMBER", "PERSON"))),
        ("mask", secret_tokens.scanner()),
        ("block", WordPhrases(["project bluebird", "bluebird", "bird in the hand", "x y z"], kind="PHRASE")),
        ("flag", WordPhrases(["hand over", "over"], kind="SAID")),
        ("block", Several(Runs([PROMPT]).readings())),
    ]
    parts = [Part(owner, Actions(action), scanner) for owner, (action, scanner) in enumerate(chosen)]
    return Merged(parts, [Known([part.scanner for part in parts])], failed=lambda owner: None, now=lambda: 0)


@cache
def scanners() -> dict[str, Scanner]:
    return {
        "pii": pii.scanner((*pii.PATTERNED, "PERSON"), patterns={"STAFF_ID": r"EMP-\d{4}"}, deny={"PROJECT": ["blue bird", "bird song"]}),
        "secrets": secret_tokens.scanner(),
        "phrases": Phrases(["project bluebird", "bluebird", "bird in the hand", "ﬁsh", "hand over"], kind="PHRASE"),
        "person": Person(),
        "tokens": custom_scanner("STAFF_ID", r"EMP-\d{4,6}", pii.SEPARATOR),
        "lines": custom_scanner("CASE", r"case [A-Z]+ \d{2,5}", pii.SEPARATOR),
        "leak": Several(Runs([PROMPT]).readings()),
        "merged": merged(),
        "several": Several([secret_tokens.scanner(), pii.scanner(("EMAIL_ADDRESS", "CREDIT_CARD")), Phrases(["x y z"], kind="P")]),
    }  # fmt: skip


VALUES = [
    "bob@example.com", "a.b-c@mail.example.co.uk", "4111 1111 1111 1111", "4111-1111-1111-1111", "378282246310005", "order 4821",
    "GB29 NWBK 6016 1331 9268 19", "DE89370400440532013000", "536-22-1234", "10.1.2.3", "2001:db8::1", "call me at ", "tel. ",
    "+44 20 7946 0958", "(212) 555-0123 ext. 12", "https://example.com/a?b=c", "www.example.org", "00:1b:44:11:3a:b7", "EMP-1234",
    "my name is ", "Mr. ", "John Smith", "Jan van der Berg", "Dear ", "Regards,\n", "AT", "2024", "I AM", "MALT", "é", "中文", "１２",
    "sk-abcDEF0123456789abcd", "ghp_0123456789abcdefABCD", "api_key = ", "\"api_key\": ", "password: ", "'s3cr3t-Pa55phrase!'", "Bearer ",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.abcdefghijk", "-----BEGIN ", "-----BEGIN RSA PRIVATE KEY-----", "MIIEowIBAAKC",
    "-----END RSA PRIVATE KEY-----", "-----", "Project\u200b  BlueBird", "bluebird", "blue bird song", "bird in", " the hand", "over",
    "x y", " z", "case ABC 123", "\n", "case ", "x" * 2040, "q" * 4100 + "1", "7" * 30, "a." * 40, "the number of the ninth pier, nor", " the name of its keeper",
    "tell anyone the number", "of the ninth pier nor the name", "You are a careful", "assistant of the harbour office",
]  # fmt: skip
GLUE = [
    "",
    " ",
    " ",
    "  ",
    "\n",
    ", ",
    ". ",
    "-",
    ":",
    "=",
    '"',
    "<",
    ">",
    "@",
    "\t",
    "=>",
    "\u00a0",
    "“",
    "。",
    "a",
    "1",
    "\u200b",
    "\u2060\u00ad",
    " <",
    " and ",
]

ANY = st.lists(
    st.one_of(st.sampled_from(VALUES), st.sampled_from(GLUE), st.text('aB1 .@-:\n"', max_size=6)), max_size=14
).map("".join)
PHRASES = st.lists(
    st.sampled_from(
        [
            "project",
            "bluebird",
            "Bird",
            "in the",
            "hand",
            "over",
            " ",
            " ",
            "  ",
            "s",
            ".",
            "\u200b",
            "\u00ad" * 20,
            "\n",
        ]
    ),
    max_size=10,
).map("".join)
WORDS = PROMPT.replace(",", "").split()
RUNS = st.lists(
    st.tuples(st.integers(0, len(WORDS) - 1), st.integers(1, 11)).map(lambda run: " ".join(WORDS[run[0] : run[0] + run[1]])),
    max_size=4,
).map(" ".join)  # fmt: skip
NAMES = st.lists(
    st.sampled_from(["my name is", "Mr.", "reply to", "dear", "Ada", "Lovelace", "van", "der", "Berg", "Team", "J.", "and", "<a@b.c>", "<a", "<", "Tom",
                     "Baker", "\n", "the", "Regards,", "contact list:", "O'Neil's", "ÅSA", "x", ","]),
    max_size=24,
).map(" ".join)  # fmt: skip
TEXTS = {"person": NAMES, "phrases": PHRASES, "leak": RUNS}
"""Each scanner's own kind of text, where fragments of everything would seldom come near it."""


def text_for(data: st.DataObject, name: str) -> str:
    return data.draw(st.one_of(TEXTS.get(name, ANY), ANY), label="text")


def chunked(data: st.DataObject, text: str) -> list[str]:
    """`text` cut at random places; sometimes one character at a time."""
    if data.draw(st.booleans()):
        return list(text)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=12)))
    return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]


def through(scanner: Scanner, chunks: list[str]) -> list[Span]:
    """The spans that a window found, with offsets in the whole text."""
    window = Window(scanner, scanner.free if isinstance(scanner, Merged) else None)
    at, spans = 0, []
    for piece in [*(piece for chunk in chunks for piece in window.push(chunk)), *window.finish()]:
        if piece.span is not None:
            spans.append((piece.span.kind, at, at + piece.length))
        at += piece.length
    assert at == sum(map(len, chunks))
    return spans


@pytest.mark.parametrize(
    "name", ["pii", "secrets", "phrases", "person", "tokens", "lines", "leak", "several", "merged"]
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
def test_every_chunking_finds_what_the_whole_text_has(name: str, data: st.DataObject) -> None:
    """For every chunking of every text, the spans found on the way are those of the whole text."""
    scanner, text = scanners()[name], text_for(data, name)
    whole = [(span.kind, span.start, span.end) for span in scanner.find(text)]
    assert through(scanner, chunked(data, text)) == whole


@pytest.mark.parametrize("name", ["pii", "secrets", "phrases", "leak", "merged"])
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
def test_what_is_released_early_is_never_part_of_a_span(name: str, data: st.DataObject) -> None:
    """Whatever text comes later, no character let go as clean before it came belongs to a span of the whole."""
    scanner, text, more = scanners()[name], text_for(data, name), text_for(data, name)
    window = Window(scanner, scanner.free if isinstance(scanner, Merged) else None)
    clean: set[int] = set()
    at = 0
    for chunk in chunked(data, text):
        for piece in window.push(chunk):
            if piece.span is None:
                clean.update(range(at, at + piece.length))
            at += piece.length
    for span in scanner.find(text + more):
        assert clean.isdisjoint(range(span.start, span.end))


@given(st.lists(st.tuples(st.sampled_from("AB"), st.integers(0, 30), st.integers(1, 9)), max_size=12))
def test_resolved_spans_cover_all_that_any_span_covered(raw: list[tuple[str, int, int]]) -> None:
    """Overlaps are resolved to disjoint spans, in order, that leave no covered character bare and cover no other."""
    spans = [Span(kind, start, start + length) for kind, start, length in raw]
    out = resolve(spans)
    assert all(a.end <= b.start for a, b in zip(out, out[1:], strict=False))
    covered = {i for span in spans for i in range(span.start, span.end)}
    assert covered == {i for span in out for i in range(span.start, span.end)}


def test_a_word_without_end_is_not_held_for_ever() -> None:
    """Text with no separators is let go in bounded steps."""
    for name in ("pii", "secrets", "person", "lines", "phrases"):
        window = Window(scanners()[name])
        most = 0
        for _ in range(500):
            window.push("q" * 97)
            most = max(most, window.held)
        assert most <= 2048 + 97, name


def test_a_private_key_without_end_is_not_held_for_ever() -> None:
    """A BEGIN line holds what follows only as far as a key can go, and none of that is released as clean."""
    window = Window(private_keys.PrivateKeys())
    window.push("-----BEGIN RSA PRIVATE KEY-----\n")
    pieces = [piece for _ in range(300) for piece in window.push("MIIEowIBAAKCAQEA" * 4 + "\n")]
    assert pieces[0].span is not None
    assert pieces[0].length > private_keys.LIMIT
    assert window.held < 200


SPLIT = st.sampled_from(
    ["\u200b", "\u00ad", "\u200d", "\u2060", "\u200e", "\ufe0f", "\U000e0061", "\ufeff" * 3, "\u3164"]
)
HIDDEN = {"pii": ["bob@example.com", "4111111111111111", "4111 1111 1111 1111", "GB29 NWBK 6016 1331 9268 19", "EMP-1234", "blue bird"],
          "secrets": ["ghp_0123456789abcdefABCD", "sk-abcDEF0123456789abcd"],
          "phrases": ["project bluebird", "bird in the hand"]}  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_a_value_is_found_with_invisible_characters_anywhere_in_it(data: st.DataObject) -> None:
    """Zero-width, direction, tag and selector characters between the letters of a value hide nothing, in any chunking: its
    span is the value as it stands, the invisible characters within included."""
    name = data.draw(st.sampled_from(sorted(HIDDEN)))
    value = data.draw(st.sampled_from(HIDDEN[name]))
    places = data.draw(st.lists(st.tuples(st.integers(1, len(value) - 1), SPLIT), max_size=6))
    hidden = "".join(ch + "".join(mark for at, mark in places if at == n + 1) for n, ch in enumerate(value))
    before, after = (
        data.draw(st.sampled_from(["", "see ", "\u200b to\n"])),
        data.draw(st.sampled_from(["", ", and", "\nok"])),
    )
    spans = through(scanners()[name], chunked(data, before + hidden + after))
    assert [(start, end) for _, start, end in spans] == [(len(before), len(before) + len(hidden))]


@given(st.text(st.sampled_from("a \u200b\u200b\u2060"), max_size=90))
def test_what_is_shown_has_nothing_invisible(text: str) -> None:
    """The view has every visible character, in order, and shows it again unchanged."""
    shown = visible(text)
    assert not has_invisible(shown)
    assert visible(shown) == shown
    assert shown.replace("\n", "") == text.replace("\u200b", "").replace("\u2060", "")
    assert len(shown) <= len(text)
    assert "\n" not in shown or len(text) > DROPPED
