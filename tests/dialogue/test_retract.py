"""Streams that may be taken back, over real sockets: only for clients that ask, and never without the mark."""

from __future__ import annotations

import pytest

from tests.fixtures.gateway import Converse

SECTIONS = {
    "guardrails": {
        "words": {
            "use": "phrases", "on": ["output"], "action": "block", "deny": ["secret sauce"], "on_error": "closed",
            "stream": "retract",
        }
    },
    "routes": {"default": {"guardrails": ["words"]}},
}  # fmt: skip
ANSWER = ["Well, the ", "secret ", "sauce ", "is salt"]


@pytest.mark.parametrize("opted", [True, False])
async def test_only_a_client_that_asks_sees_what_it_takes_back(talk: Converse, opted: bool) -> None:
    """With the header the words come at once and the end says to take them back; without it they are held. The receipt
    tells which it was, and the header goes no further."""
    async with talk(**SECTIONS) as t:
        t.upstream.script("m", ANSWER)
        reply = await t.ask("hi", stream=True, headers={"x-tidegate-stream": "retract"} if opted else {})
        assert reply.text == ("Well, the secret " if opted else "Well, the ")
        assert (reply.finish, reply.done) == ("content_filter", True)
        marks = [event["tidegate"] for event in reply.events if "tidegate" in event]
        assert marks == ([{"retract": True, "check": "words", "category": "denied_phrase"}] if opted else [])
        assert "x-tidegate-stream" not in {name.lower() for name, _ in t.upstream.requests[0].headers}
        receipt = await t.receipt()
        assert [(verdict.header, verdict.reason) for verdict in receipt.verdicts] == [
            ("words=block:1", "retract" if opted else "")
        ]
        assert (receipt.held_chars > 0) is not opted


async def test_an_answer_that_is_not_streamed_is_refused_as_ever(talk: Converse) -> None:
    """Of it nothing is out before its end, so there is nothing to take back."""
    async with talk(**SECTIONS) as t:
        t.upstream.script("m", ANSWER)
        reply = await t.ask("hi", headers={"x-tidegate-stream": "retract"})
        assert (reply.status, reply.error["code"]) == (400, "content_filter")
        assert "secret" not in reply.raw.decode()
