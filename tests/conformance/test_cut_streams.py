"""Answers cut at any byte, in any chunking, from each kind of upstream to each kind of client: none looks whole.

Ten thousand go through inlet, sessions and outlet in process; a few hundred through the whole gateway on real sockets.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.core.errors import GatewayFault
from gateway.core.events import Event, Finished, Text
from gateway.core.exchange import Exchange
from gateway.core.facts import Key
from gateway.core.ports import Session, Transform
from gateway.core.request import Request
from gateway.faults.play import JSON
from gateway.faults.record import Received
from gateway.faults.steps import CLOSE, END, HEAD, RESET, Data, Head, Item
from gateway.pipeline.delivery import Delivery
from tests.conformance.world import PATHS, PATIENCE, Saw, World, gathered, of_reply, world
from tests.fixtures.dialects import DIALECTS, chat, chunk, content, delta, dumps, exchange_of, message, named, sse
from tests.fixtures.raw_client import Left

CUTS = 10_000
CUTS_ON_SOCKETS = 400
SEED = 20261124
WORDS = "Zoë 🙂 said: 日本語, “naïve” \\ \n data: [DONE]\n\n event: message_stop\n — e\u0301nd"


@dataclass(frozen=True)
class Whole:
    """A whole answer as an upstream sends it. `enough`: the bytes without which nobody can know that it is whole; `last`:
    what must have come when it is taken for whole."""

    dialect: str
    stream: bool
    body: bytes
    last: bytes

    @property
    def enough(self) -> int:
        return self.body.rindex(self.last) + len(self.last)


def _openai(pieces: Sequence[dict[str, Any]], reason: str, after: Sequence[Any] = ()) -> Whole:
    stop = chunk([delta({}, finish=reason)])
    body = sse(*(chunk([delta(piece)]) for piece in ({"role": "assistant", "content": ""}, *pieces)), stop, *after)
    return Whole("openai", True, body, dumps(stop))


def _anthropic(blocks: Sequence[tuple[dict[str, Any], Sequence[dict[str, Any]]]], reason: str) -> Whole:
    counts = {"input_tokens": 3, "output_tokens": 1}
    start: dict[str, Any] = {"id": "msg_1", "type": "message", "role": "assistant", "model": "upstream-model", "content": [], "stop_reason": None, "stop_sequence": None, "usage": counts}  # fmt: skip
    events: list[dict[str, Any]] = [{"type": "message_start", "message": start}, {"type": "ping"}]
    for index, (block, deltas) in enumerate(blocks):
        events.append({"type": "content_block_start", "index": index, "content_block": block})
        events += [{"type": "content_block_delta", "index": index, "delta": one} for one in deltas]
        events.append({"type": "content_block_stop", "index": index})
    stop = {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None}, "usage": counts}
    return Whole("anthropic", True, named(*events, stop, {"type": "message_stop"}), dumps(stop))


def _gemini(parts: Sequence[dict[str, Any]], reason: str) -> Whole:
    """After the event with the finish reason comes the usage, in one of its own, as some servers send it; and then nothing but
    the end of the body."""
    head = {"modelVersion": "upstream-model", "responseId": "r"}
    counts = {"promptTokenCount": 3, "candidatesTokenCount": 9, "totalTokenCount": 12}
    events = [{"candidates": [{"content": {"parts": [part], "role": "model"}, "index": 0}], **head} for part in parts]
    stop = {"candidates": [{"content": {}, "finishReason": reason, "index": 0}], **head}
    return Whole("gemini", True, sse(*events, stop, {"usageMetadata": counts, **head}, done=False), dumps(stop))


def _answers() -> list[Whole]:
    words = [WORDS[at : at + 5] for at in range(0, len(WORDS), 5)]
    said = [{"content": word} for word in words]
    call = {"index": 0, "id": "c1", "type": "function", "function": {"name": "look", "arguments": ""}}
    args = [{"tool_calls": [{"index": 0, "function": {"arguments": word}}]} for word in ('{"a": "', "é🙂", '"}')]
    usage = chunk([], usage={"prompt_tokens": 3, "completion_tokens": 9, "total_tokens": 12})
    text = ({"type": "text", "text": ""}, [{"type": "text_delta", "text": word} for word in words])
    thought = ({"type": "thinking", "thinking": "", "signature": ""}, [{"type": "thinking_delta", "thinking": "so 🙂"}, {"type": "signature_delta", "signature": "c2ln"}])  # fmt: skip
    tool = ({"type": "tool_use", "id": "t1", "name": "look", "input": {}}, [{"type": "input_json_delta", "partial_json": word} for word in ('{"a": "', "é🙂", '"}')])  # fmt: skip
    choice = {"index": 0, "message": {"role": "assistant", "content": WORDS}, "finish_reason": "stop"}
    head = {"id": "c", "object": "chat.completion", "created": 1, "model": "upstream-model"}
    plain = dumps({**head, "choices": [choice]})
    told = {"id": "msg_1", "type": "message", "role": "assistant", "model": "upstream-model", "content": [{"type": "text", "text": WORDS}], "stop_reason": "end_turn", "stop_sequence": None, "usage": {"input_tokens": 3, "output_tokens": 9}}  # fmt: skip
    parts = [{"text": word} for word in words]
    held = {"candidates": [{"content": {"parts": [{"text": WORDS}], "role": "model"}, "finishReason": "STOP"}]}
    return [
        _openai(said, "stop"),
        _openai(said, "length", [usage]),
        _openai([{"reasoning_content": "so 🙂"}, *said], "stop", [usage]),
        _openai([said[0], {"tool_calls": [call]}, *args], "tool_calls", [usage]),
        _anthropic([text], "end_turn"),
        _anthropic([thought, text], "max_tokens"),
        _anthropic([text, tool], "tool_use"),
        _gemini(parts, "STOP"),
        _gemini([{"text": "so 🙂", "thought": True}, *parts], "MAX_TOKENS"),
        _gemini(
            [parts[0], {"functionCall": {"name": "look", "args": {"a": "é🙂"}}, "thoughtSignature": "c2ln"}], "STOP"
        ),
        Whole("gemini", False, dumps(held), dumps(held)),
        Whole("openai", False, plain, plain),
        Whole("anthropic", False, dumps(told), dumps(told)),
    ]


def spelled(answer: Whole, line_end: bytes) -> Whole:
    if not answer.stream:
        return answer
    return Whole(answer.dialect, True, answer.body.replace(b"\n", line_end), answer.last)


ANSWERS = [spelled(answer, line_end) for answer in _answers() for line_end in (b"\n", b"\r\n", b"\r")]


def pieces_of(body: bytes, rng: random.Random) -> list[bytes]:
    """Cut into reads at random: single bytes, middling pieces, or all at once."""
    most = rng.choice((1, 7, 60, 1000, len(body) + 1))
    found, at = [], 0
    while at < len(body):
        size = rng.randint(1, most)
        found.append(body[at : at + size])
        at += size
    return found


def cut_at(answer: Whole, rng: random.Random) -> int:
    """Anywhere; every third one near the end, where what is missing is least."""
    size = len(answer.body)
    return rng.randint(max(0, size - 300), size) if rng.random() < 0.3 else rng.randint(0, size)


# --- in process


class Behind:
    """A session that keeps back the newest piece of text, as checks that look ahead do."""

    waiting = False

    def __init__(self) -> None:
        self._held: list[Event] = []

    def push(self, event: Event) -> Sequence[Event]:
        if type(event) is Finished:
            return (event,)
        if type(event) is not Text:
            return (*self.finish(), event)
        out, self._held = self._held, [event]
        return out

    def finish(self) -> Sequence[Event]:
        out, self._held = self._held, []
        return out

    async def settle(self) -> Sequence[Event]:
        return ()


class KeepsBack:
    name = "behind"
    consumes: tuple[Key[object], ...] = ()
    produces: tuple[Key[object], ...] = ()

    def open(self, exchange: Exchange) -> Session | None:
        return Behind()


@dataclass
class Socket:
    """What the client's end of the connection got: a spine's `Client` that keeps what is written."""

    committed: bool = False
    sent: list[bytes] = field(default_factory=list)
    content_type: str = ""
    last: bool = False

    async def write(self, data: bytes, content_type: str, *, last: bool, streaming: bool) -> None:
        assert not self.last, "nothing may follow the last write"
        self.committed = True
        self.sent.append(data)
        self.content_type, self.last = content_type, last


async def delivered(request: Request, answer: Whole, pieces: Sequence[bytes], held: bool) -> Saw:
    """The reply of an upstream that says `pieces` and then ends as a whole body ends, through the real response side."""
    exchange = exchange_of(request)
    client = Socket()
    transforms: list[Transform] = [KeepsBack()] if held else []
    delivery = Delivery(exchange, client, transforms, DIALECTS[request.dialect].outlet, lambda *_: None)
    inlet = DIALECTS[answer.dialect].inlet(request, answer.stream)
    try:
        for piece in pieces:
            await delivery.push(inlet.feed(piece))
            if delivery.over:
                break
        else:
            await delivery.push(inlet.close())
        delivery.end()
    except GatewayFault as fault:
        if not client.committed:
            return Saw(fault.wire.status, "", {"type": fault.name}, (), b"", "")
        await delivery.fail(fault)
    assert client.last
    headers = {"content-type": client.content_type, "x-request-id": exchange.id}
    return of_reply(request.dialect, httpx.Response(200, headers=headers, content=b"".join(client.sent)))


def asked() -> Iterator[Request]:
    """Each kind of client, streamed and not."""
    while True:
        yield from (make(stream=stream) for make in (chat, message, content) for stream in (True, False))


def check(answer: Whole, cut: int, saw: Saw, whole: str) -> bool:
    """Holds one answer to the laws; gives whether it was taken for whole. `whole`: the text of the answer uncut."""
    if saw.error is None:
        assert cut >= answer.enough, (answer, cut, "a wrong whole answer")
        assert (saw.text, len(saw.marks)) == (whole, 2), (answer, cut, saw)
        return True
    assert cut < len(answer.body), (answer, "whole and told as broken", saw)
    broken(answer, cut, saw)
    assert whole.startswith(saw.text), (answer, cut, saw)
    return False


def broken(answer: Whole, cut: int, saw: Saw) -> None:
    """No terminal event, and no finish reason but the upstream's own, when that was there before the break."""
    assert "whole" not in saw.marks, (answer, cut, saw)
    assert not saw.marks or cut >= answer.enough, (answer, cut, saw)


async def test_no_cut_answer_is_told_as_whole() -> None:
    """10,000 cuts: an error, no ending that the upstream did not give, and of the text only what it said; unless all was
    there but what may be missing. An uncut answer is always whole."""
    rng = random.Random(SEED)
    requests = asked()
    wholes = {}
    for answer in ANSWERS:
        for _ in range(6):
            request = next(requests)
            saw = await delivered(request, answer, [answer.body], False)
            assert saw.error is None, (answer, saw)
            wholes[answer.body, request.dialect, request.stream] = saw.text
    complete = 0
    for _ in range(CUTS):
        answer, request, held = rng.choice(ANSWERS), next(requests), rng.random() < 0.5
        cut = cut_at(answer, rng)
        saw = await delivered(request, answer, pieces_of(answer.body[:cut], rng), held)
        complete += check(answer, cut, saw, wholes[answer.body, request.dialect, request.stream])
    assert 100 < complete < CUTS // 4, "the cuts are no good sample"


# --- on real sockets


@dataclass(frozen=True)
class Cut:
    answer: Whole
    client: str
    at: int
    end: Item
    pieces: tuple[bytes, ...]


def cuts(rng: random.Random) -> list[Cut]:
    """Every tenth is not cut at all, so that it shows what else is whole."""
    found = []
    for number in range(CUTS_ON_SOCKETS):
        answer = rng.choice(ANSWERS)
        at = cut_at(answer, rng) if number % 10 else len(answer.body)
        pieces = tuple(pieces_of(answer.body[:at], rng)[:40])
        pieces = (*pieces, answer.body[sum(map(len, pieces)) : at])
        end = rng.choice((CLOSE, END, RESET)) if number % 10 else END
        found.append(Cut(answer, rng.choice(list(PATHS)), at, end, pieces))
    return found


def _models() -> dict[str, Any]:
    same = {"timeouts": PATIENCE, "retry": {"attempts": 1}}
    return {
        "openai": {"targets": [{"provider": "up", "model": "cut"}], **same},
        "anthropic": {"targets": [{"provider": "claude", "model": "cut"}], **same},
        "gemini": {"targets": [{"provider": "google", "model": "cut"}], **same},
    }


async def _see(w: World, at: int, cut: Cut) -> Saw:
    return await w.see(cut.client, cut.answer.dialect, cut.answer.stream, f"case-{at}.")


async def test_no_cut_connection_is_told_as_whole(tmp_path: Path) -> None:
    """The same through the whole gateway, where the upstream ends properly, closes or resets: one receipt each, nothing
    left running."""
    sample = cuts(random.Random(SEED))

    def play(asked: Received) -> Sequence[Item]:
        found = re.search(rb"case-(\d+)\.", asked.body)
        assert found is not None
        cut = sample[int(found[1])]
        # Of a body that is not streamed the length is promised, so that only a cut one can lack some of it.
        head = HEAD if asked.stream else Head(200, JSON, "length", len(cut.answer.body))
        end = CLOSE if cut.end == END and not asked.stream and cut.at < len(cut.answer.body) else cut.end
        return [head, *(Data(piece) for piece in cut.pieces if piece), end]

    async with world(tmp_path, _models(), claude="anthropic", google="gemini") as w, Left(w):
        w.upstream.script("cut", play, plain=play)
        saw = await gathered(_see(w, at, cut) for at, cut in enumerate(sample))
        receipts = await w.receipts(len(sample))
    complete = 0
    for cut, one in zip(sample, saw, strict=True):
        if one.error is None:
            complete += 1
            assert cut.at >= cut.answer.enough, (cut, one)
            assert len(one.marks) == 2, (cut, one)
        else:
            broken(cut.answer, cut.at, one)
            assert (cut.at, cut.end) != (len(cut.answer.body), END), (cut, one)
        assert (receipts[one.id].outcome == "ok") is (one.error is None), (cut, one)
    assert len(sample) // 10 <= complete < len(sample) // 3


@pytest.mark.parametrize("answer", ANSWERS[::3], ids=range(len(ANSWERS[::3])))
async def test_one_byte_too_few_is_too_few(answer: Whole) -> None:
    """`enough` is exact: without the last byte of what says that the answer is whole, it is not."""
    for request, _ in zip(asked(), range(6), strict=False):
        assert (await delivered(request, answer, [answer.body[: answer.enough - 1]], False)).error is not None
        assert (await delivered(request, answer, [answer.body[: answer.enough]], False)).error is None
