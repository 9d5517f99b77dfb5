"""Checks that ask somebody else: what they show is masked, and what is said to them is in no record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.dialogue.test_nothing_leaks import (
    CLIENT_KEY,
    MARK,
    SECTIONS,
    _root_logger_as_it_was,
    check,
    exchanges,
    mark,
    world,
)
from tests.fixtures.upstream_server import RawServer, whole

__all__ = ["_root_logger_as_it_was"]
HOOK_KEY = mark("hook-key")
VALUES = (f"{MARK}@example.com", "DE89370400440532013000")


def sections(url: str) -> dict[str, Any]:
    judge = {"model": "spare"}
    guardrails = {
        "asks": {"use": "judge", "on": ["input", "output"], "question": "Is it bad?", "judge": judge,
                 "scope": ["latest_turn", "user", "tool_results"], "on_error": "open", "deadline": "5s"},
        "facts": {"use": "grounded", "on": ["output"], "judge": judge, "context": ["system", "tool_results"], "on_error": "open",
                  "deadline": "5s"},
        "hook": {"use": "remote", "on": ["input", "output"], "url": url, "form": "tidegate", "api_key": HOOK_KEY,
                 "scope": ["latest_turn", "user", "tool_results"], "on_error": "open", "deadline": "5s"},
        **SECTIONS["guardrails"],
    }  # fmt: skip
    return {"guardrails": guardrails, "routes": {"default": {"guardrails": list(guardrails)}}}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("says", ["answers", "echoes", "fails"])
async def test_nothing_of_a_question_is_told(tmp_path: Path, says: str, stream: bool) -> None:
    """Whether they answer, ramble with the user's words in it, or fail with a body: no text is in any record, and what they
    were shown holds nobody's own data and no key of the client's."""

    async def hook(peer: Any) -> None:
        if says == "answers":
            results = b",".join([b'{"flagged": false, "score": 0.1}'] * len(peer.json["texts"]))
            await peer.send(whole(b'{"results": [' + results + b"]}"))
        else:
            await peer.send(whole(mark("hook-says").encode(), "200 OK" if says == "echoes" else "500 Oh"))

    async with RawServer(hook) as service, world(tmp_path, **sections(service.url + "/hook")) as w:
        upstream, judge = w.talk.upstream, w.talk.spare
        upstream.script("m", [f"You are {VALUES[0]} and eve@example.com. ", mark("answer")])
        if says == "fails":
            judge.reply("m", 500, {"error": {"message": mark("judge-says")}})
        else:
            grounded = '{"unsupported": []}'
            judge.script("m", lambda asked: [
                mark("judge-says") if says == "echoes"
                else grounded if "unsupported" in asked.body.decode() else '{"answer": "no"}'
            ])  # fmt: skip
        reply = await w.say(expect=200, stream=stream)
        assert mark("answer") in reply.text
        shown = [request.body.decode() + repr(request.headers) for request in judge.requests]
        shown += [peer.body.decode() + repr({**peer.headers, "authorization": ""}) for peer in service.requests]
        assert len(service.requests) == 2
        for text in shown:
            assert not any(value in text for value in (*VALUES, CLIENT_KEY, "eve@example.com"))
        tries = 2 if says == "fails" else 1
        told = await w.told(1 + len(judge.requests) // tries)
        check(told)
        lines = exchanges(told["log"])
        assert {line["route"] for line in lines} == {"default", "judge"}
        (own,) = [line for line in lines if line["route"] == "default"]
        assert own["outcome"] == "ok"
        assert ("degraded" in own and bool(own["degraded"])) == (says != "answers")
