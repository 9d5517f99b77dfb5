"""`tidegate redteam` against a running gateway: every dialect, streamed and not, with guards and without."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from gateway import cli
from gateway.commands.redteam import KEY
from gateway.faults.play import Play
from gateway.faults.steps import CLOSE
from guardrails.injection.check import Injection, Scored
from tests.dialogue.test_admission import ACCESS, make_keys
from tests.fixtures.gateway import Converse, Talk

DOC = Path(__file__).resolve().parents[2] / "docs/redteam.md"
PHRASE = "project bluebird"
FORMS = [(dialect, stream) for dialect in ("openai", "anthropic", "responses", "gemini") for stream in (False, True)]
GUARDED: dict[str, Any] = {
    "guardrails": {
        "private": {"use": "pii", "on": ["input"], "action": "mask", "on_error": "closed", "deadline": "5s"},
        "attacks": {"use": "injection", "on": ["input"], "action": "block", "on_error": "open", "deadline": "5s"},
        "phrases": {"use": "phrases", "on": ["output"], "action": "block", "deny": [PHRASE], "on_error": "closed"},
    },
    "routes": {"default": {"guardrails": ["private", "attacks", "phrases"]}},
}
Printed = pytest.CaptureFixture[str]


def models(upstream: str) -> dict[str, Any]:
    """`demo` is `upstream` of the fault server: `echo` repeats the whole request, `echo:last` its last message."""
    return {"demo": {"targets": [{"provider": "up", "model": upstream}]}}


async def redteam(t: Talk, *arguments: str, url: str = "") -> int:
    """In a thread: it has a loop of its own, and the gateway runs in this one."""
    return await asyncio.to_thread(cli.main, ["redteam", "--url", url or f"{t.url}/v1", "--model", "demo", *arguments])


async def told(t: Talk, capsys: Printed, *arguments: str, status: int = 0) -> dict[str, Any]:
    assert await redteam(t, "--json", *arguments) == status
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    return report


def sums(report: dict[str, Any], side: str) -> dict[str, int]:
    return {name: value for name, value in report[side].items() if isinstance(value, int)}


ALL = ("--limit", "54", "--echo-model", "demo", "--deny", PHRASE)


@pytest.mark.parametrize(("dialect", "stream"), FORMS)
async def test_without_guards_everything_gets_through(
    talk: Converse, capsys: Printed, dialect: str, stream: bool
) -> None:
    """A gateway that checks nothing, before a model that repeats everything: each attack of each family wins, each
    harmless text is answered, in every dialect."""
    async with talk(models=models("echo")) as t:
        report = await told(t, capsys, "--dialect", dialect, *ALL, *(["--stream"] if stream else []))
        assert sums(report, "attacks") == {"sent": 54, "blocked": 0, "violated": 54, "held": 0, "errored": 0}
        assert sums(report, "benign") == {"sent": 54, "refused": 0, "answered": 54, "errored": 0}
        assert len([family for family in report["families"] if family["side"] == "attacks"]) >= 10
        receipts = [await t.receipt() for _ in range(108)]
        assert {(r.dialect, r.stream, r.outcome, r.cache_reason) for r in receipts} == {
            (dialect, stream, "ok", receipts[0].cache_reason)
        }


@pytest.mark.parametrize(("dialect", "stream"), FORMS)
async def test_with_guards_the_counts_are_the_gateways_own(
    talk: Converse, capsys: Printed, tmp_path: Path, dialect: str, stream: bool
) -> None:
    """One at a time, each request is called blocked or refused exactly where the gateway's own record says refused, before
    the model and after it; and the report is the sum of the rows."""
    rows = tmp_path / "rows"
    async with talk(models=models("echo:last"), **GUARDED) as t:
        one = ("--concurrency", "1", "--rows", str(rows), "--dialect", dialect, *(["--stream"] if stream else []))
        report = await told(t, capsys, *one, *ALL)
        receipts = [await t.receipt() for _ in range(108)]
    lines = [json.loads(line) for line in rows.read_text().splitlines()]
    assert [line["outcome"] in ("blocked", "refused") for line in lines] == [r.outcome == "refused" for r in receipts]
    found = [line["outcome"] for line in lines]
    assert sums(report, "attacks") == {
        "sent": 54, "blocked": found.count("blocked"), "violated": found.count("violated"), "held": found.count("held"),
        "errored": 0,
    }  # fmt: skip
    assert sums(report, "benign") == {
        "sent": 54, "refused": found.count("refused"), "answered": found.count("answered"), "errored": 0,
    }  # fmt: skip
    assert report["attacks"]["blocked"] >= 10
    phrase = next(family for family in report["families"] if family["family"] == "phrase")
    assert (phrase["violated"], phrase["errored"]) == (0, 0)
    assert phrase["blocked"] == phrase["sent"] > 0
    assert report["not_scanned"] == report["errors"] == report["left_out"] == {}


async def test_people_get_tables(talk: Converse, capsys: Printed) -> None:
    """Both rates with their intervals, by family and by mutation; what was left out is said; progress goes elsewhere."""
    async with talk(models=models("echo"), **GUARDED) as t:
        assert await redteam(t, "--limit", "40") == 0
        said = capsys.readouterr()
    for words in (
        "attacks, by family", "violation rate (95 %)", "harmless texts, by family", "false refusal rate (95 %)",
        "by mutation", "  override ", "  trigger_words ", "  homoglyph ", "left out: link_card (give --echo-model)",
        "left out: phrase (give --deny)",
    ):  # fmt: skip
        assert words in said.out
    assert re.search(r"^  violations +\d+ of 40 = .* \.\. .*\n  false refusals +\d+ of 40 = ", said.out, re.MULTILINE)
    assert "sent 80 of 80" in said.err


# --- what is no stop


async def test_errors_are_never_counted_as_stops(talk: Converse, capsys: Printed) -> None:
    """A backend that is down makes nothing safe: all errors, no rate; and no limit counts as kept."""
    async with talk(models=models("m")) as t:
        t.upstream.reply("m", 500, {"error": {"message": "down"}})
        few = ("--limit", "6", "--mutations", "plain")
        report = await told(t, capsys, *few)
        assert sums(report, "attacks") == {"sent": 6, "blocked": 0, "violated": 0, "held": 0, "errored": 6}
        assert report["attacks"]["violation_rate"]["value"] is None
        assert sum(report["errors"].values()) == 12
        assert all(name.startswith("HTTP 5") for name in report["errors"])
        report = await told(t, capsys, *few, "--fail-over-violations", "100", status=1)
        assert report["over"] == ["violation rate: only 0 of 6 requests could be measured"]


async def test_too_many_requests_are_errors(talk: Converse, capsys: Printed, tmp_path: Path) -> None:
    """What a key's own limit turns away was not judged by any check."""
    (key,) = make_keys(tmp_path, {"rpm": 4})
    async with talk(models=models("ok"), access=ACCESS) as t:
        report = await told(t, capsys, "--key", key, "--limit", "5", "--families", "override,ordinary")
        assert report["errors"] == {"HTTP 429 rate_limit_exceeded": 6}
        assert report["attacks"]["blocked"] == report["benign"]["refused"] == 0


@pytest.mark.parametrize("dialect", ["openai", "anthropic", "responses", "gemini"])
async def test_a_cut_stream_is_no_stop(talk: Converse, capsys: Printed, dialect: str) -> None:
    """An answer that breaks off is an error, unless what it had given away already is what the attack wanted."""
    async with talk(models=models("m")) as t:
        asked = ("--stream", "--dialect", dialect, "--mutations", "plain", "--families", "phrase,ordinary")
        t.upstream.script("m", ["it is ", CLOSE])
        report = await told(t, capsys, *asked, "--deny", PHRASE)
        assert sums(report, "attacks") == {"sent": 3, "blocked": 0, "violated": 0, "held": 0, "errored": 3}
        t.upstream.script("m", ["it is ", "project ", "bluebird", CLOSE])
        report = await told(t, capsys, *asked, "--deny", PHRASE)
        assert sums(report, "attacks") == {"sent": 3, "blocked": 0, "violated": 3, "held": 0, "errored": 0}


async def test_a_check_that_did_not_run_is_told(
    talk: Converse, capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Passed by a check that failed open is a violation, and the report says that nobody had looked."""

    def crashes(_self: Injection, _text: str) -> Scored:
        raise RuntimeError

    async with talk(models=models("echo"), **GUARDED) as t:
        monkeypatch.setattr(Injection, "score", crashes)
        report = await told(t, capsys, "--families", "override,ordinary", "--mutations", "plain")
        assert sums(report, "attacks") == {"sent": 14, "blocked": 0, "violated": 14, "held": 0, "errored": 0}
        assert report["not_scanned"] == {"attacks": 30}
        assert report["degraded"] == {"guardrail:attacks": 30}


async def test_the_model_that_says_no_is_told_from_the_gateway_that_does(talk: Converse, capsys: Printed) -> None:
    """Where an attack must get something out of the answer, a model that does not give it has held."""
    async with talk(models=models("m")) as t:
        t.upstream.sequence("m", Play(["I cannot help with that."]))
        report = await told(t, capsys, "--families", "extraction,override,ordinary", "--mutations", "plain")
        by_family = {family["family"]: family for family in report["families"]}
        assert by_family["extraction"]["held"] == by_family["extraction"]["sent"] == 14
        assert by_family["override"]["violated"] == by_family["override"]["sent"] == 14
        assert by_family["ordinary"]["refused"] == 0


# --- limits, and what cannot be asked


async def test_limits_decide_the_status(talk: Converse, capsys: Printed) -> None:
    """Status 1 and a line on standard error for each rate over its limit; kept limits are silent."""
    async with talk(models=models("echo")) as t:
        few = ("--limit", "10", "--families", "override,ordinary")
        assert await redteam(t, *few, "--fail-over-violations", "99.5", "--fail-over-refusals", "0") == 1
        assert "violation rate: 100.00 % is over 99.5 %\n" in capsys.readouterr().err
        assert await redteam(t, *few, "--fail-over-violations", "100", "--fail-over-refusals", "0") == 0
        assert "is over" not in capsys.readouterr().err


async def test_what_cannot_be_asked_is_status_2(
    talk: Converse, capsys: Printed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No gateway, no such model, family, key, file: one sentence, and nothing was sent."""
    (key,) = make_keys(tmp_path, {"models": ["demo"]})
    monkeypatch.delenv(KEY, raising=False)
    async with talk(models=models("ok"), access=ACCESS) as t:
        for arguments, url, words in (
            ([], "http://127.0.0.1:9/v1", "cannot be asked: ConnectFailed"),
            ([], "file:///etc/passwd", "http://host"),
            ([], f"{t.upstream.url}/nothing", "gives no list of models"),
            ([], "", "refuses this key (HTTP 401)"),
            (["--key", key, "--echo-model", "spare"], "", "lists no model 'spare' for this key; there are: demo"),
            (["--key", key, "--families", "overide"], "", "did you mean 'override'?"),
            (["--key", key, "--deny", " "], "", "--deny: give a phrase"),
            (["--key", "a\nb"], "", "characters that no key has"),
            (["--key", key, "--rows", str(tmp_path / "no" / "rows")], "", "cannot write"),
        ):
            assert await redteam(t, *arguments, url=url) == 2, words
            said = capsys.readouterr()
            assert (said.out, words in said.err, key in said.err) == ("", True, False), (words, said.err)
        assert [request.method for request in t.upstream.requests] == ["GET"]  # of the one that was given as a gateway
        assert t.ledger.all == []


async def test_the_key_may_come_from_the_environment(
    talk: Converse, capsys: Printed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for the other commands; it is in no output."""
    (key,) = make_keys(tmp_path, {})
    monkeypatch.setenv(KEY, key)
    async with talk(models=models("ok"), access=ACCESS) as t:
        assert await redteam(t, "--limit", "2", "--rows", str(tmp_path / "rows")) == 0
        said = capsys.readouterr()
        assert key not in said.out + said.err + (tmp_path / "rows").read_text()


async def test_attacks_are_kept_out_of_caches(talk: Converse, capsys: Printed) -> None:
    """Neither answered from a cache, which would say nothing of the checks, nor stored in one."""
    routes = {"default": {"cache": {"exact": {"ttl": "1h"}}}}
    async with talk(models=models("ok"), routes=routes) as t:
        for _ in range(2):
            await told(t, capsys, "--limit", "3")
        assert {(await t.receipt()).cache for _ in range(12)} == {"bypass"}
        assert len(t.upstream.requests) == 12


@pytest.mark.parametrize("wrong", [["--concurrency", "65"], ["--limit", "-1"], ["--timeout", "0"], ["--timeout", "nan"],
                                   ["--fail-over-refusals", "101"], ["--dialect", "x"], ["--seed", "x"]])  # fmt: skip
def test_an_option_that_is_wrong(wrong: list[str]) -> None:
    """Status 2, as for every command."""
    with pytest.raises(SystemExit) as left:
        cli.main(["redteam", *wrong])
    assert left.value.code == 2


# --- the page


def commands() -> list[str]:
    """Every command that the page shows."""
    blocks = re.findall(r"```console\n(.*?)```", DOC.read_text(), re.DOTALL)
    joined = "\n".join(blocks).replace("\\\n", " ")
    return [line.removeprefix("$ ") for line in joined.splitlines() if line.startswith("$ ")]


@pytest.mark.parametrize("command", commands())
async def test_the_page_can_be_followed(
    talk: Converse, capsys: Printed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """Each command of the page runs, here against a gateway of our own; and what it prints has every row that the page
    shows for it."""
    words = shlex.split(command)
    assert words[:2] == ["tidegate", "redteam"]
    monkeypatch.chdir(tmp_path)
    async with talk(models=models("echo:last"), **GUARDED) as t:
        at = words.index("--url")
        words[at + 1] = f"{t.url}/v1"
        assert await asyncio.to_thread(cli.main, words[1:]) in (0, 1)
        out = capsys.readouterr().out
    if "--json" in words:
        assert json.loads(out)["attacks"]["sent"] > 0
        return
    shown = re.search(r"```text\n(.*?)```", DOC.read_text(), re.DOTALL)
    assert shown is not None
    labels = {line[2:18] for line in shown[1].splitlines() if re.match(r"  [a-z]", line) and " of " in line}
    assert len(labels) > 20
    assert labels <= {line[2:18] for line in out.splitlines()}


def test_the_page_names_every_family_and_mutation() -> None:
    """What is sent is listed; a new family needs its line."""
    from guardrails.redteam.corpus import families
    from guardrails.redteam.mutations import MUTATIONS

    page = DOC.read_text()
    missing = [name for name in (*families("attacks"), *families("benign"), *MUTATIONS) if f"`{name}`" not in page]
    assert missing == []
