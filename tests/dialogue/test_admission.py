"""Who may ask, for what, how often: one clear answer in the client's dialect, and no key in any of it."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from gateway import cli
from gateway import config as configuration
from gateway.admission.config import KeyEntry, KeyFile
from gateway.admission.keyring import hash_of, new_key, read_key_file, write_key_file
from gateway.app import Gateway
from gateway.configuring.problems import ConfigError
from gateway.core.clock import ManualClock
from gateway.faults.play import Play
from gateway.telemetry import logs
from tests.fixtures.gateway import Converse, Reply, Talk
from tests.fixtures.raw_client import CHAT, MESSAGES, Left, RawClient, asking, post, until
from tests.fixtures.redis import RedisServer

DIALECTS = {"openai": CHAT, "anthropic": MESSAGES}
ACCESS = {"keys": "keys.yaml"}


def make_keys(base: Path, *entries: dict[str, Any]) -> list[str]:
    """A key file with a fresh key for each entry; the keys."""
    keys, rows = [], []
    for entry in entries:
        key, id = new_key()
        keys.append(key)
        rows.append(KeyEntry(**{"id": id, "hash": hash_of(key), **entry}))
    write_key_file(base / "keys.yaml", KeyFile(keys=rows))
    return keys


async def ask(t: Talk, key: str | None, *, path: str = CHAT, model: str = "m", **headers: str) -> Reply:
    given = {"authorization": f"Bearer {key}"} if key is not None else {}
    return await t.send(asking(model=model), path, **given, **headers)


def told(reply: Reply) -> tuple[int, str, str | None]:
    """Status, the dialect's word for the kind of error, and the code where the dialect has one."""
    return reply.status, reply.error["type"], reply.error.get("code")


# --- who


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_bad_key_is_refused_in_the_same_words_whatever_is_wrong(
    talk: Converse, tmp_path: Path, dialect: str
) -> None:
    """Unknown, damaged, revoked, expired: nobody learns which keys exist. 401 before the body is looked at."""
    good, revoked, expired = make_keys(tmp_path, {}, {"revoked": True}, {"expires": "2001-01-01"})
    other = good[:-1] + ("A" if good[-1] != "A" else "B")
    bad = [
        revoked,
        expired,
        other,
        good[:-1],
        good + "x",
        "sk-" + good,
        good.upper(),
        "x",
        "tg__",
        "a" * 8000,
    ]
    async with talk(access=ACCESS) as t, Left(t):
        t.upstream.script("m", ["fine"])
        replies = [await ask(t, key, path=DIALECTS[dialect]) for key in bad]
        assert {told(reply)[:2] for reply in replies} == {(401, "authentication_error")}
        assert {reply.error["message"] for reply in replies} == {"The API key is not valid."}
        missing = await ask(t, None, path=DIALECTS[dialect])
        assert told(missing)[:2] == (401, "authentication_error")
        assert "Authorization" in missing.error["message"]
        async with RawClient(t.url) as client:
            odd = post(asking(), DIALECTS[dialect], authorization="Bearer KEY").replace(b"KEY", b"\xe9\xff" * 20)
            await client.send(odd)
            assert (await client.answer()).json["error"]["message"] == "The API key is not valid."
        assert t.upstream.requests == []
        assert (await ask(t, good, path=DIALECTS[dialect])).status == 200


@pytest.mark.parametrize("form", ["authorization", "lower", "bare", "x-api-key", "api-key"])
async def test_a_key_may_come_in_any_of_the_sdks_headers(talk: Converse, tmp_path: Path, form: str) -> None:
    """OpenAI's, Anthropic's and Azure's habit; it never goes upstream."""
    (key,) = make_keys(tmp_path, {"tenant": "acme"})
    headers = {
        "authorization": {"authorization": f"Bearer {key}"},
        "lower": {"authorization": f"bearer  {key}"},
        "bare": {"authorization": key},
        "x-api-key": {"x_api_key": key},
        "api-key": {"api_key": key},
    }[form]
    async with talk(access=ACCESS) as t:
        t.upstream.script("m", ["fine"])
        assert (await t.send(asking(), **headers)).status == 200
        receipt = await t.receipt()
        assert (receipt.tenant, receipt.key_id) == ("acme", key.split("_")[1])
        assert key not in str(t.upstream.requests[0].headers)


async def test_a_key_says_on_whose_behalf_only_if_it_may(talk: Converse, tmp_path: Path) -> None:
    """`x-tidegate-user` names the user for a key that may name users; else the key itself is the user."""
    names, silent = make_keys(tmp_path, {}, {"names_users": False})
    async with talk(access=ACCESS) as t:
        t.upstream.script("m", ["fine"])
        for key, user in ((names, "ann"), (silent, silent.split("_")[1])):
            await ask(t, key, x_tidegate_user="ann")
            assert (await t.receipt()).user == user


async def test_a_revoked_key_stops_working_within_two_seconds(
    talk: Converse, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The running gateway reads the key file again; a new key works as soon, and so does a rotated one."""
    clock = ManualClock()
    (key,) = make_keys(tmp_path, {})
    file = str(tmp_path / "keys.yaml")
    async with talk(access=ACCESS, clock=clock) as t:
        t.upstream.script("m", ["fine"])
        assert (await ask(t, key)).status == 200
        assert cli.main(["keys", "revoke", "--file", file, key.split("_")[1]]) == 0
        assert cli.main(["keys", "create", "--file", file]) == 0
        fresh = capsys.readouterr().out.split()[-1]
        clock.advance(2)
        assert [(await ask(t, k)).status for k in (key, fresh)] == [401, 200]
        assert cli.main(["keys", "rotate", "--file", file, fresh.split("_")[1]]) == 0
        rotated = capsys.readouterr().out.strip()
        clock.advance(2)
        assert [(await ask(t, k)).status for k in (fresh, rotated)] == [401, 200]


@pytest.mark.parametrize("harm", ["gone", "not yaml", "wrong"])
async def test_a_broken_key_file_changes_nothing(talk: Converse, tmp_path: Path, harm: str) -> None:
    """While the file cannot be read the keys known before stay in force: a slip locks nobody out, and lets nobody in."""
    clock = ManualClock()
    (key,) = make_keys(tmp_path, {})
    path = tmp_path / "keys.yaml"
    good = path.read_text()
    async with talk(access=ACCESS, clock=clock) as t:
        t.upstream.script("m", ["fine"])
        if harm == "gone":
            path.unlink()
        else:
            path.write_text("{ [" if harm == "not yaml" else "keys: [{id: 5}]")
        clock.advance(2)
        assert [(await ask(t, k)).status for k in (key, "x")] == [200, 401]
        path.write_text(good.replace("revoked: false", "revoked: true"))
        clock.advance(2)
        assert (await ask(t, key)).status == 401


# --- what


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_key_asks_for_its_models_only(talk: Converse, tmp_path: Path, dialect: str) -> None:
    """403 for a model that is there but not for this key, 404 for one that is not, with hints of its own models only."""
    (key,) = make_keys(tmp_path, {"models": ["m"]})
    async with talk(access=ACCESS) as t, Left(t):
        t.upstream.script("m", ["fine"])
        path = DIALECTS[dialect]
        assert (await ask(t, key, path=path)).status == 200
        forbidden = await ask(t, key, path=path, model="spare")
        assert told(forbidden)[:2] == (403, "permission_error")
        unknown = await ask(t, key, path=path, model="spar")
        assert (unknown.status, "spare" in unknown.error["message"]) == (404, False)
        assert t.spare.requests == []
        listed = await t.http.get("/v1/models", headers={"authorization": f"Bearer {key}"})
        assert [model["id"] for model in listed.json()["data"]] == ["m"]
        hidden = await t.http.get("/v1/models/spare", headers={"authorization": f"Bearer {key}"})
        assert hidden.status_code == 404
        assert (await t.http.get("/v1/models")).status_code == 401


# --- how often


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_requests_a_minute_of_a_key(talk: Converse, tmp_path: Path, dialect: str) -> None:
    """429 with the seconds to wait, in both headers that SDKs read; after them there is room. Other keys are free."""
    clock = ManualClock()
    key, other = make_keys(tmp_path, {"rpm": 3}, {})
    async with talk(access=ACCESS, clock=clock) as t, Left(t):
        t.upstream.script("m", ["fine"])
        path = DIALECTS[dialect]
        clock.advance(10)
        assert [(await ask(t, key, path=path)).status for _ in range(3)] == [200] * 3
        refused = await ask(t, key, path=path)
        assert told(refused)[:2] == (429, "rate_limit_error")
        if dialect == "openai":
            assert refused.error["code"] == "rate_limit_exceeded"
        assert refused.headers["x-ratelimit-limit-requests"] == "3"
        # 50 s of this minute, and a third of the next, until one of three has left the sliding window; told 60 at most.
        assert (refused.headers["retry-after"], refused.headers["retry-after-ms"]) == ("60", "60000")
        assert "70.0 s" in refused.error["message"]
        clock.advance(69.9)
        early = await ask(t, key, path=path)
        assert (early.status, early.headers["retry-after"]) == (429, "1")
        assert 0 < int(early.headers["retry-after-ms"]) <= 101
        clock.advance(int(early.headers["retry-after-ms"]) / 1000)
        assert (await ask(t, key, path=path)).status == 200
        assert (await ask(t, other, path=path)).status == 200
        assert len(t.upstream.requests) == 5


async def test_requests_a_minute_of_a_route(talk: Converse, tmp_path: Path) -> None:
    """A route's limit is counted for each key, and says which route it is."""
    one, two = make_keys(tmp_path, {}, {})
    async with talk(access=ACCESS, clock=ManualClock(), routes={"default": {"limits": {"rpm": 2}}}) as t:
        t.upstream.script("m", ["fine"])
        assert [(await ask(t, one)).status for _ in range(3)] == [200, 200, 429]
        assert "default" in (await ask(t, one)).error["message"]
        assert (await ask(t, two)).status == 200


async def test_a_wrong_request_counts_but_a_wrong_key_does_not(talk: Converse, tmp_path: Path) -> None:
    """The limit protects the gateway, so bad bodies count against their key; and nobody can use up another's limit."""
    (key,) = make_keys(tmp_path, {"rpm": 2})
    async with talk(access=ACCESS, clock=ManualClock()) as t:
        t.upstream.script("m", ["fine"])
        for _ in range(5):
            await ask(t, key[:-1] + "!")
        assert (await t.send(b"not json", authorization=f"Bearer {key}")).status == 400
        assert [(await ask(t, key)).status for _ in range(2)] == [200, 429]


async def test_tokens_a_minute(talk: Converse, tmp_path: Path) -> None:
    """Tokens are charged when an answer's usage is known: the one that passes the limit is the last for a while."""
    clock = ManualClock()
    (key,) = make_keys(tmp_path, {"tpm": 30})
    async with talk(access=ACCESS, clock=clock) as t, Left(t):
        t.upstream.script("m", ["fine"])  # 11 + 7 tokens each
        for _ in range(2):
            assert (await ask(t, key)).status == 200
            await t.receipt()
        refused = await ask(t, key)
        assert told(refused) == (429, "rate_limit_error", "rate_limit_exceeded")
        assert "tokens" in refused.error["message"]
        assert "retry-after" in refused.headers
        await t.receipt()
        clock.advance(120)
        assert (await ask(t, key)).status == 200


@pytest.mark.parametrize("where", ["key", "route"])
async def test_a_place_is_given_back_however_a_call_ends(talk: Converse, tmp_path: Path, where: str) -> None:
    """Whole, failed, left by the client, past its deadline: the next one gets in. While one is under way: 429."""
    (key,) = make_keys(tmp_path, {"concurrency": 1} if where == "key" else {})
    routes = {"routes": {"default": {"limits": {"concurrency": 1}}}} if where == "route" else {}
    async with talk(access=ACCESS, **routes) as t, Left(t):
        given = {"authorization": f"Bearer {key}"}
        t.upstream.sequence("m", "500", "hang-before-headers", "hang-midway", Play(["fine"]))
        assert (await ask(t, key, x_stainless_retry_count="1")).status == 502
        assert (await ask(t, key, x_tidegate_timeout_ms="100")).status == 504
        async with RawClient(t.url) as client:
            await client.send(post(asking(stream=True), **given))
            await client.until(b"Hello")
            refused = await ask(t, key)
            assert told(refused) == (429, "rate_limit_error", "rate_limit_exceeded")
            assert refused.headers["retry-after"] == "1"
            client.reset()
            for _ in range(4):
                receipt = await t.receipt()
            assert receipt.outcome == "client_gone"
        t.upstream.script("m", ["fine"])
        assert (await ask(t, key)).status == 200


async def test_many_at_once_never_pass_the_concurrency_limit(talk: Converse, tmp_path: Path) -> None:
    """Of thirty at one time, four are let in; when they have ended none is counted any more."""
    (key,) = make_keys(tmp_path, {"concurrency": 4})
    gate = asyncio.Event()
    async with talk(access=ACCESS) as t, Left(t):
        t.upstream.script("m", [gate, "fine"])
        asked = [asyncio.create_task(ask(t, key)) for _ in range(30)]
        refused = [await t.receipt() for _ in range(26)]
        assert {receipt.status for receipt in refused} == {429}
        assert len(await t.upstream.received(4)) == 4
        gate.set()
        assert sorted([reply.status for reply in await asyncio.gather(*asked)]) == [200] * 4 + [429] * 26
        assert (await ask(t, key)).status == 200


# --- shared limits


async def test_gateways_that_share_redis_share_limits(talk: Converse, tmp_path: Path, redis_url: str) -> None:
    """Two replicas, one limit of ten: of forty asked at once at both, ten are answered."""
    (key,) = make_keys(tmp_path, {"rpm": 10})
    async with AsyncExitStack() as stack:
        both = [await stack.enter_async_context(talk(access=ACCESS, redis=redis_url)) for _ in range(2)]
        for t in both:
            t.upstream.script("m", ["fine"])
            assert (await t.http.get("/readyz")).json() == {"status": "ready", "degraded": {}}
        replies = await asyncio.gather(*(ask(both[n % 2], key) for n in range(40)))
        assert sorted(reply.status for reply in replies) == [200] * 10 + [429] * 30
        refused = next(reply for reply in replies if reply.status == 429)
        assert 0 < int(refused.headers["retry-after"]) <= 60
        assert sum(len(t.upstream.requests) for t in both) == 10


async def test_tokens_are_shared_too(talk: Converse, tmp_path: Path, redis_url: str) -> None:
    """What one replica's answer cost is charged at the other."""
    (key,) = make_keys(tmp_path, {"tpm": 15})
    async with talk(access=ACCESS, redis=redis_url) as one, talk(access=ACCESS, redis=redis_url) as two:
        for t in (one, two):
            t.upstream.script("m", ["fine"])
        assert (await ask(one, key)).status == 200
        await one.receipt()
        assert (await ask(two, key)).status == 429


async def test_without_redis_limits_go_on_and_say_so(
    talk: Converse, tmp_path: Path, own_redis: Callable[[], RedisServer]
) -> None:
    """Redis dies: answers go on, limited in this process, with a header, a metric and a word in /readyz."""
    server = own_redis()
    (key,) = make_keys(tmp_path, {"rpm": 3})
    async with talk(access=ACCESS, redis=server.url) as t, Left(t):
        t.upstream.script("m", ["fine"])
        assert (await ask(t, key)).header("degraded") is None
        server.kill()
        replies = [await ask(t, key) for _ in range(4)]
        assert [reply.status for reply in replies] == [200, 200, 200, 429]
        assert {reply.header("degraded") for reply in replies} == {"limits"}
        ready = await t.http.get("/readyz")
        assert (ready.status_code, "limits" in ready.json()["degraded"]) == (200, True)
        for _ in range(5):
            receipt = await t.receipt()
        assert receipt.degraded == ("limits",)
        assert b'tidegate_degraded_total{what="limits"} 4.0' in (await t.http.get("/metrics")).content


# --- open access


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "example.com"])
def test_without_keys_only_loopback_is_served(talk: Converse, tmp_path: Path, host: str) -> None:
    """Whether the address is in the configuration or on the command line: refused at start, with what to do."""
    value = {
        "version": 1,
        "providers": {"up": {"type": "openai-compatible", "base_url": "http://127.0.0.1:9/v1"}},
        "models": {"m": {"targets": [{"provider": "up", "model": "m"}]}},
    }
    with pytest.raises(ConfigError, match=r"access\.keys.*tidegate keys create"):
        configuration.of_value({**value, "server": {"host": host}}, tmp_path)
    with pytest.raises(ConfigError, match=r"access\.keys"):
        Gateway(configuration.of_value(value, tmp_path), tmp_path, host=host)


def test_the_command_refuses_an_open_door(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`tidegate serve --host 0.0.0.0` without keys ends with status 2 and one sentence."""
    path = tmp_path / "tidegate.yaml"
    path.write_text(
        "version: 1\n"
        "providers: {up: {type: openai-compatible, base_url: 'http://127.0.0.1:9/v1'}}\n"
        "models: {m: {targets: [{provider: up, model: m}]}}\n"
    )
    assert cli.main(["serve", "--config", str(path), "--host", "0.0.0.0", "--port", "0"]) == 2
    said = capsys.readouterr().err
    assert "access.keys" in said
    assert "Traceback" not in said


# --- the command


def test_keys_are_shown_once_and_kept_as_hashes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """create prints the key; list and the file never hold it; revoke and rotate say what they did."""
    file = tmp_path / "keys.yaml"
    arguments = ["--name", "ci", "--tenant", "acme", "--models", "m, spare", "--rpm", "5", "--expires", "2099-01-01"]
    assert cli.main(["keys", "create", "--file", str(file), *arguments]) == 0
    key = capsys.readouterr().out.strip()
    id, secret = key.removeprefix("tg_").split("_", 1)
    assert secret not in file.read_text()
    assert file.stat().st_mode & 0o077 == 0
    (entry,) = read_key_file(file).keys
    assert (entry.id, entry.hash, entry.tenant, entry.models, entry.rpm) == (
        id,
        hash_of(key),
        "acme",
        ["m", "spare"],
        5,
    )
    assert cli.main(["keys", "list", "--file", str(file)]) == 0
    listed = capsys.readouterr().out
    assert id in listed
    assert "active" in listed
    assert secret not in listed
    assert cli.main(["keys", "rotate", "--file", str(file), id]) == 0
    rotated = capsys.readouterr().out.strip()
    old, new = read_key_file(file).keys
    assert (old.revoked, new.revoked, new.hash) == (True, False, hash_of(rotated))
    assert (new.tenant, new.models, new.rpm, new.expires) == ("acme", ["m", "spare"], 5, "2099-01-01")
    assert cli.main(["keys", "revoke", "--file", str(file), new.id]) == 0
    assert all(entry.revoked for entry in read_key_file(file).keys)


@pytest.mark.parametrize("action", ["revoke", "rotate"])
def test_a_key_that_is_not_there_is_said_to_be_missing(tmp_path: Path, action: str) -> None:
    """The command ends with a sentence that names the file and the id."""
    write_key_file(tmp_path / "keys.yaml", KeyFile())
    with pytest.raises(SystemExit, match=r"keys\.yaml has no key with the id 'abc'"):
        cli.main(["keys", action, "--file", str(tmp_path / "keys.yaml"), "abc"])


def test_an_expiry_that_is_no_date_is_refused_when_the_key_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not at the next start of the gateway."""
    file = tmp_path / "keys.yaml"
    assert cli.main(["keys", "create", "--file", str(file), "--expires", "tomorrow"]) == 2
    assert "tomorrow" in capsys.readouterr().err
    assert not file.exists()


@pytest.mark.parametrize("content", ["{ [", "keys: [{id: 5}]", "nonsense: 1", "[]"])
def test_a_key_file_that_cannot_be_read_is_not_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    """The command says what is wrong with it, without a stack trace, and leaves it as it is."""
    file = tmp_path / "keys.yaml"
    file.write_text(content)
    assert cli.main(["keys", "create", "--file", str(file)]) == 2
    assert "keys.yaml" in capsys.readouterr().err
    assert file.read_text() == content


# --- nothing leaks


async def test_no_key_is_in_anything_that_is_told_or_kept(talk: Converse, tmp_path: Path) -> None:
    """Good and bad keys, in every place a client may put one: not in answers, logs, metrics, receipts, the console, or
    what goes upstream."""
    good, limited = make_keys(tmp_path, {}, {"rpm": 1, "models": ["m"]})
    planted = "sk-PLANTED-" + uuid4().hex
    out = io.TextIOWrapper(io.BytesIO(), write_through=True)
    async with talk(access=ACCESS, logger=logs.setup("json", out)) as t:
        t.upstream.sequence("m", "401", "500", Play(["fine"]))
        said = b""
        for headers in (
            {"authorization": f"Bearer {planted}"},
            {"authorization": f"Basic {planted}"},
            {"x_api_key": planted},
            {"api_key": planted, "x_request_id": planted},
            {"authorization": f"Bearer {good}"},
            {
                "authorization": f"Bearer {good}",
                "x_api_key": planted,
                "cookie": planted,
                "proxy_authorization": planted,
            },
            {"authorization": f"Bearer {limited}"},
            {"authorization": f"Bearer {limited}"},
        ):
            for path in (CHAT, MESSAGES, "/v1/models", "/v1/nothing", f"/v1/chat/completions?api_key={planted}"):
                reply = await t.send(asking(), path, **headers)
                body = reply.raw if "x_request_id" not in headers else reply.raw.replace(planted.encode(), b"")
                said += body + str([v for k, v in reply.headers.items() if "request-id" not in k]).encode()
        count = len(t.ledger.all)
        await until(lambda: len(t.gateway.aftermath) == 0)
        kept = msgspec.json.encode([r for r in t.ledger.all if r.id != planted])
        assert count > 0
        said += (await t.http.get("/metrics")).content + kept
        said += json.dumps([dict(request.headers) for request in t.upstream.requests]).encode()
        said += b"".join(request.body for request in t.upstream.requests)
        out.flush()
        log = out.buffer.getvalue()  # type: ignore[attr-defined]
        assert log.count(b'"event":"exchange"') >= 20
        said += b"\n".join(line for line in log.split(b"\n") if b'"id":"' + planted.encode() not in line)
    for key in (good, limited, planted):
        secret = key.split("_")[-1] if key.startswith("tg_") else key
        assert secret.encode() not in said
        assert hash_of(key).encode() not in said
