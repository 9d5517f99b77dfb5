"""Moderation services over real sockets: their forms, and everything else that may come back instead."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.core.exchange import Exchange
from gateway.core.secret import Secret
from gateway.providers.http_client import HttpClient
from gateway.providers.post import Poster
from guardrails.asked.looking import FAILURES
from guardrails.asked.screen import CLEAN
from guardrails.asking.not_scanned import NotScanned
from guardrails.asking.remote import MOST_CHARS, MOST_TEXTS, OpenAIForm, PlainForm, Remote, RemoteRules
from guardrails.build import build, tools_alone
from guardrails.config import GuardrailConfig
from guardrails.kind import Tools
from tests.fixtures.guard_world import answer, blocked, exchange_of, text_of, through
from tests.fixtures.upstream_server import Peer, RawServer, until, whole

Behave = Callable[[Peer], Awaitable[None]]


def moderated(body: Any) -> bytes:
    """OpenAI's answer: what says "bomb" is violence, what says "fool" is harassment."""
    results = []
    for text in body["input"]:
        scores = {"violence": 0.9 if "bomb" in text else 0.01, "harassment": 0.6 if "fool" in text else 0.02}
        results.append({"flagged": "bomb" in text, "categories": {}, "category_scores": scores})
    return json.dumps({"id": "m", "model": "omni", "results": results}).encode()


async def openai(peer: Peer) -> None:
    await peer.send(whole(moderated(peer.json)))


async def plain(peer: Peer) -> None:
    results = [
        {"flagged": "bomb" in t, "score": 0.8 if "bomb" in t else 0.1, "category": "weapons"}
        for t in peer.json["texts"]
    ]
    await peer.send(whole(json.dumps({"results": results}).encode()))


def says(data: bytes) -> Behave:
    async def behave(peer: Peer) -> None:
        await peer.send(data)

    return behave


async def hangs(peer: Peer) -> None:
    await peer.gone()


async def aborts(peer: Peer) -> None:
    peer.abort()


async def floods(peer: Peer) -> None:
    await peer.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + b"10000\r\n" + b" " * 65536 + b"\r\n")
    try:
        while True:
            await peer.send(b"10000\r\n" + b" " * 65536 + b"\r\n")
    except ConnectionError:
        pass


@asynccontextmanager
async def service(behave: Behave) -> AsyncIterator[tuple[RawServer, Poster]]:
    http = HttpClient()
    try:
        async with RawServer(behave) as server:
            yield server, Poster(http)
    finally:
        await http.aclose()


def exchange() -> Exchange:
    return exchange_of(("user", "hi"))


async def rate(behave: Behave, *texts: str, seconds: float = 5.0, form: Any = None, **rules: Any) -> Any:
    async with service(behave) as (server, post):
        remote = Remote(RemoteRules(url=server.url + "/v1/moderations", **rules), form or OpenAIForm(None), post)
        return await remote.ask(exchange(), texts, [CLEAN] * len(texts), seconds)


async def test_openais_form_is_spoken() -> None:
    """All texts in one call, with the key and the model; its verdict is the finding."""
    async with service(openai) as (server, post):
        rules = RemoteRules(url=server.url + "/v1/moderations", api_key=Secret("sk-1"))
        remote = Remote(rules, OpenAIForm("omni"), post)
        found = await remote.ask(exchange(), ["a bomb", "", "a cake"], [CLEAN] * 3, 5.0)
        assert [(finding.hit, finding.score) for finding in found] == [(True, 0.9), (False, None), (False, 0.02)]
        (asked,) = server.requests
        assert asked.line == "POST /v1/moderations HTTP/1.1"
        assert asked.headers["authorization"] == "Bearer sk-1"
        assert asked.headers["content-type"] == "application/json"
        assert asked.json == {"input": ["a bomb", "a cake"], "model": "omni"}


async def test_our_own_form_is_spoken() -> None:
    """Texts, side and the check's name; no key unless there is one."""
    async with service(plain) as (server, post):
        remote = Remote(RemoteRules(url=server.url + "/hook"), PlainForm("weapons", "output"), post)
        found = await remote.ask(exchange(), ["a bomb", "a cake"], [CLEAN] * 2, 5.0)
        assert [(finding.hit, finding.score) for finding in found] == [(True, 0.8), (False, 0.1)]
        (asked,) = server.requests
        assert asked.json == {"texts": ["a bomb", "a cake"], "side": "output", "check": "weapons"}
        assert "authorization" not in asked.headers


async def test_a_hit_may_be_a_matter_of_score_and_category() -> None:
    """With a threshold the scores count, with categories only theirs."""
    texts = ("a bomb", "a fool", "a cake")
    found = await rate(openai, *texts, threshold=0.5)
    assert [finding.hit for finding in found] == [True, True, False]
    found = await rate(openai, *texts, threshold=0.5, categories=frozenset({"harassment"}))
    assert [finding.hit for finding in found] == [False, True, False]
    found = await rate(openai, *texts)
    assert [finding.hit for finding in found] == [True, False, False]


async def test_a_category_that_the_service_does_not_know_was_not_looked_at() -> None:
    """A slip in its name must not turn the check off in silence."""
    with pytest.raises(NotScanned, match="category_missing"):
        await rate(openai, "a bomb", threshold=0.5, categories=frozenset({"violense"}))


async def test_a_service_without_scores_cannot_meet_a_threshold() -> None:
    """Ours may leave the score out, but then it must not be needed."""
    bare = says(whole(b'{"results": [{"flagged": true}]}'))
    (finding,) = await rate(bare, "x", form=PlainForm("c", "input"))
    assert (finding.hit, finding.score) == (True, 1.0)
    with pytest.raises(NotScanned, match="score_missing"):
        await rate(bare, "x", form=PlainForm("c", "input"), threshold=0.5)


@pytest.mark.parametrize(
    ("behave", "reason"),
    [
        (says(whole(b"so sorry")), "garbage"),
        (says(whole(b"[" * 100_000)), "garbage"),
        (says(whole(b"{}")), "garbage"),
        (says(whole(b'{"results": []}')), "garbage"),
        (says(whole(b'{"results": [{"flagged": "no", "category_scores": {}}]}')), "garbage"),
        (says(whole(b'{"results": [{"flagged": false, "category_scores": {"a": 7.5}}]}')), "garbage"),
        (says(whole(b'{"results": [{"flagged": false}]}')), "garbage"),
        (says(whole(b"\xff\xfe")), "garbage"),
        (says(whole(b"", "500 Internal Server Error")), "status_500"),
        (says(whole(b"", "429 Too Many Requests")), "status_429"),
        (says(whole(b"", "401 Unauthorized")), "status_401"),
        (says(whole(b"", "302 Found", extra="location: http://127.0.0.1:1/\r\n")), "status_302"),
        (says(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\nshort"), None),
        (aborts, "unavailable"),
        (floods, "unavailable"),
        (says(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"), "unavailable"),
    ],
)  # fmt: skip
async def test_whatever_else_comes_back_is_not_scanned(behave: Behave, reason: str | None) -> None:
    """Never taken for "nothing found"; no redirect is followed; what is read is bounded."""
    with pytest.raises((NotScanned, TimeoutError)) as raised:
        await rate(behave, "a bomb", seconds=1.0)
    if reason is not None:
        assert isinstance(raised.value, NotScanned)
        assert raised.value.reason == reason


async def test_a_service_that_hangs_is_a_time_out() -> None:
    """And its connection is dropped, so that it stops working for nobody."""
    async with service(hangs) as (server, post):
        remote = Remote(RemoteRules(url=server.url + "/"), OpenAIForm(None), post)
        with pytest.raises(TimeoutError):
            await remote.ask(exchange(), ["x"], [CLEAN], 0.05)
        await server.all_gone()


async def test_nobody_listens() -> None:
    """A refused connection is not scanned, and the reason names no address."""
    async with service(openai) as (server, post):
        url = server.url
    with pytest.raises(NotScanned, match="unavailable"):
        await Remote(RemoteRules(url=url), OpenAIForm(None), post).ask(exchange(), ["x"], [CLEAN], 1.0)


async def test_more_than_one_call_may_ask_is_not_scanned() -> None:
    """Bounded in texts, characters and calls under way; nothing is sent."""
    async with service(hangs) as (server, post):
        remote = Remote(RemoteRules(url=server.url), OpenAIForm(None), post, at_once=1)
        many = ["x"] * (MOST_TEXTS + 1)
        with pytest.raises(NotScanned, match="too_many"):
            await remote.ask(exchange(), many, [CLEAN] * len(many), 1.0)
        with pytest.raises(NotScanned, match="too_long"):
            await remote.ask(exchange(), ["x" * (MOST_CHARS + 1)], [CLEAN], 1.0)
        assert server.requests == []
        first = asyncio.create_task(remote.ask(exchange(), ["x"], [CLEAN], 30.0))
        await until(lambda: server.requests)
        with pytest.raises(NotScanned, match="busy"):
            await remote.ask(exchange(), ["y"], [CLEAN], 1.0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first


# --- as a configured check


def tools(post: Poster) -> Tools:
    alone = tools_alone()
    return Tools(pool=alone.pool, post=post)


def config(url: str, **fields: Any) -> dict[str, GuardrailConfig]:
    given = {"use": "remote", "on": ["input", "output"], "url": url, "form": "openai_moderation", "on_error": "open",
             "deadline": 5.0, **fields}  # fmt: skip
    return {"mod": GuardrailConfig(**given)}


async def said(behave: Behave, chunks: Sequence[str], **fields: Any) -> tuple[Any, Exchange]:
    async with service(behave) as (server, post):
        guards = build(config(server.url, **fields), ["mod"], tools(post))
        what = exchange()
        return await through(what, guards.checks, answer(chunks)), what


async def test_answers_are_stopped_in_sentence_windows() -> None:
    """What was cleared is out before the rest is said; of the rest nothing is."""
    calm = "The weather is fine today, and it will be fine tomorrow, and after that nobody knows what it will be like at all, or when. "
    out, what = await said(openai, [calm, "Now build ", "a bomb. ", "It is easy."], stream="window")
    assert text_of(out) == calm.rstrip()
    stopped = blocked(out)
    assert stopped is not None
    assert stopped.category == "moderation"
    assert what.verdicts[0].action == "block"


async def test_an_answer_passes_unscanned_only_where_that_is_written() -> None:
    """`on_error: open` lets go and says so."""
    out, what = await said(says(whole(b"no")), ["fine"])
    assert text_of(out) == "fine"
    assert (what.verdicts[0].action, what.verdicts[0].reason) == ("not_scanned", "garbage")
    assert what.degraded == ["guardrail:mod"]


async def test_requests_are_stopped_and_a_dead_service_is_left_alone() -> None:
    """The screen's breaker stands before the service; after a while one request tries it again."""
    from gateway.core.clock import ManualClock

    clock = ManualClock()
    well = False

    async def sometimes(peer: Peer) -> None:
        await (openai(peer) if well else peer.send(whole(b"", "500 Internal Server Error")))

    async with service(sometimes) as (server, post):
        made = Tools(pool=tools_alone().pool, post=post, clock=clock)
        guards = build(config(server.url), ["mod"], made)
        assert guards.inspect is not None

        async def one() -> tuple[str, str]:
            what = exchange_of(("user", "a bomb"))
            await guards.inspect.decide(what)  # type: ignore[union-attr]
            return what.verdicts[0].action, what.verdicts[0].reason

        seen = [await one() for _ in range(FAILURES + 2)]
        assert seen == [("not_scanned", "status_500")] * FAILURES + [("not_scanned", "breaker_open")] * 2
        assert len(server.requests) == FAILURES
        well = True
        clock.advance(3600)
        assert await one() == ("block", "remote")
        assert await one() == ("block", "remote")
