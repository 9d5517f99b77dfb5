"""`tidegate explain` and `tidegate faults`, against running servers: what they print, and their exit status."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path

import httpx
import pytest

from gateway import cli
from gateway.commands.explain import KEY
from gateway.faults import FAULTS
from gateway.faults.steps import CLOSE, Finish
from tests.dialogue.test_admission import ACCESS, make_keys
from tests.fixtures.gateway import Converse, Talk

TWO = {"m": {"targets": [{"provider": "up", "model": "m"}], "on_failure": ["spare"], "retry": {"attempts": 1}}}


async def explain(t: Talk, *arguments: str, url: str = "") -> int:
    """In a thread: it is a client that blocks, and the gateway runs in this one."""
    return await asyncio.to_thread(cli.main, ["explain", *arguments, "--url", url or t.url])


Printed = pytest.CaptureFixture[str]


async def test_a_rescued_request_is_explained(talk: Converse, capsys: Printed) -> None:
    """Who, which stages, which calls, why each was made and what came of it: from the running gateway, status 0."""
    async with talk(models=TWO) as t:
        t.upstream.reply("m", 503, {"error": {"message": "PLANTED"}})
        t.spare.script("m", ["from spare"])
        reply = await t.ask("my own words", stream=True, headers={"x-tidegate-user": "ann"})
        await t.receipt()
        assert await explain(t, reply.headers["x-request-id"]) == 0
        told = capsys.readouterr().out
        assert told.startswith(reply.headers["x-request-id"])
        for words in (
            "chat, streamed, of model 'm'",
            "user 'ann'",
            f"1. up / m at {t.upstream.url[7:]}: the plan's first choice",
            "upstream_failed, HTTP 503",
            f"2. two / m at {t.spare.url[7:]}: the model before could not answer",
            "answered (ok), HTTP 200",
        ):
            assert words in told
        assert "PLANTED" not in told
        assert "my own words" not in told


async def test_a_cut_answer_is_explained_as_cut(talk: Converse, capsys: Printed) -> None:
    """Its status was 200; the story says how it really ended."""
    async with talk() as t:
        t.upstream.script("m", ["Hel", CLOSE])
        reply = await t.ask("hi", stream=True)
        await t.receipt()
        assert await explain(t, reply.headers["x-request-id"]) == 0
        assert "the answer broke off, and the client was told so (cut: stream_cut), HTTP 200" in capsys.readouterr().out


async def test_the_record_itself_can_be_had(talk: Converse, capsys: Printed) -> None:
    """`--json`: every field, for programs."""
    async with talk() as t:
        t.upstream.script("m", ["fine"])
        reply = await t.ask("hi")
        receipt = await t.receipt()
        assert await explain(t, reply.headers["x-request-id"], "--json") == 0
        record = json.loads(capsys.readouterr().out)
        assert (record["id"], record["outcome"]) == (receipt.id, "ok")
        assert [call["provider"] for call in record["attempts"]] == ["up"]


async def test_an_id_that_nobody_knows(talk: Converse, capsys: Printed) -> None:
    """Status 1 and a sentence, nothing on standard output; also for an id that is no id."""
    async with talk() as t:
        for id in ("tg-none", "../../metrics", "a b?c#d", "é"):
            assert await explain(t, id) == 1
            said = capsys.readouterr()
            assert said.out == ""
            assert "no record" in said.err


async def test_a_gateway_that_cannot_be_asked(talk: Converse, capsys: Printed) -> None:
    """Nobody there, another kind of server, not even an address: status 2 and what is wrong."""
    async with talk() as t:
        for url, words in (
            ("http://127.0.0.1:9", "cannot be asked"),
            (t.upstream.url, "is it a Tidegate"),
            ("file:///etc/passwd", "give the gateway's address"),
            ("http://[", "give the gateway's address"),
            ("http://127.0.0.1:8 0", "give the gateway's address"),
            ("http://", "give the gateway's address"),
        ):
            assert await explain(t, "tg-1", url=url) == 2, url
            said = capsys.readouterr()
            assert (said.out, words in said.err) == ("", True), (url, said.err)


async def test_records_are_for_admin_keys(
    talk: Converse, tmp_path: Path, capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where keys are in force, an ordinary key and none are refused with a clear error, over HTTP and here."""
    plain, admin = make_keys(tmp_path, {}, {"admin": True})
    async with talk(access=ACCESS) as t:
        t.upstream.script("m", ["fine"])
        reply = await t.ask("hi", headers={"authorization": f"Bearer {plain}"})
        await t.receipt()
        id = reply.headers["x-request-id"]
        monkeypatch.delenv(KEY, raising=False)
        for key in ("", plain):
            monkeypatch.setenv(KEY, key)
            assert await explain(t, id) == 2
            assert f"set {KEY}" in capsys.readouterr().err
            given = {"authorization": f"Bearer {key}"} if key else {}
            refused = await t.http.get(f"/admin/v1/receipts/{id}", headers=given)
            assert (refused.status_code, refused.json()["error"]["code"]) == (401, "invalid_api_key")
        monkeypatch.setenv(KEY, admin)
        assert await explain(t, id) == 0
        assert f"key {plain.split('_')[1]}" in capsys.readouterr().out


async def test_what_others_named_does_not_steer_the_terminal(talk: Converse, capsys: Printed) -> None:
    """A reason to finish is an upstream's word, a session a client's; control characters in them are not passed on."""
    async with talk() as t:
        t.upstream.script("m", ["fine", Finish("\x1b[2J\x9b2J")])
        reply = await t.ask("hi", headers={"x-tidegate-session": "s"})
        await t.receipt()
        assert await explain(t, reply.headers["x-request-id"]) == 0
        told = capsys.readouterr().out
        assert "finish \ufffd[2J" in told
        assert not {"\x1b", "\x9b"} & set(told)


# --- tidegate faults


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "gateway.cli", "faults", *arguments]


async def test_the_fault_server_is_a_command() -> None:
    """It prints its URL, does what the model's name says, and ends with status 0 when told to."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command("--port", "0", "--pause", "0.001"), stdout=pipe)
    assert process.stdout is not None
    try:
        url = (await asyncio.wait_for(process.stdout.readline(), 20)).decode().strip()
        async with httpx.AsyncClient(base_url=url) as http:
            body = {"model": "fault:503", "messages": [{"role": "user", "content": "hi"}]}
            assert (await http.post("/v1/chat/completions", json=body)).status_code == 503
    finally:
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 10) == 0


def test_every_fault_is_listed(capsys: Printed) -> None:
    """`--list` shows each by name with what a client sees of it, and starts nothing."""
    assert cli.main(["faults", "--list"]) == 0
    listed = {line.split()[0] for line in capsys.readouterr().out.splitlines()[2:]}
    assert listed == FAULTS.keys()


def test_an_address_that_is_taken(capsys: Printed) -> None:
    """Status 1 and a sentence, no traceback."""
    assert cli.main(["faults", "--host", "203.0.113.1", "--port", "1"]) == 1
    assert "cannot listen on 203.0.113.1:1" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [["--port", "70000"], ["--port", "x"], ["--pause", "nan"], ["--limit", "-1"], ["x"]])
def test_an_option_that_is_wrong(wrong: list[str]) -> None:
    """Status 2, as for every command."""
    with pytest.raises(SystemExit) as left:
        cli.main(["faults", *wrong])
    assert left.value.code == 2


async def test_a_record_is_put_to_another_configuration(talk: Converse, capsys: Printed, tmp_path: Path) -> None:
    """`--config`: the story, then what would be decided now and what nobody can know; a file that is wrong is told as
    `tidegate check` tells it, with status 2."""
    other = tmp_path / "other.yaml"
    other.write_text(
        'version: 1\nproviders: {new: {type: openai-compatible, base_url: "http://127.0.0.1:9/v1"}}\n'
        "models: {m: {targets: [{provider: new, model: big}]}}\n"
    )
    async with talk(models=TWO) as t:
        t.upstream.script("m", ["fine"])
        id = (await t.ask("my own words")).headers["x-request-id"]
        await t.receipt()
        assert await explain(t, id, "--config", str(other)) == 0
        told = capsys.readouterr().out
        assert f"replayed against {other}" in told
        assert "1. m: new/big" in told
        assert "the record holds no text to ask with" in told
        assert await explain(t, id, "--config", str(other), "--json") == 0
        both = json.loads(capsys.readouterr().out)
        assert (both["record"]["id"], both["replay"]["plan"]) == (id, ["m: new/big"])
        other.write_text("version: 1\nproviders: {}\nmodels: {}\n")
        assert await explain(t, id, "--config", str(other)) == 2
        assert "models" in capsys.readouterr().err
