"""Sound, files, uploads and batches: passed on and not understood, and still exchanges like all others."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest

from gateway.console.story import story
from gateway.relay.pages import MOST_PAGES
from gateway.telemetry import logs
from tests.dialogue.test_admission import ACCESS, make_keys
from tests.dialogue.test_traces import trace_of, traced
from tests.fixtures.gateway import Converse, Talk
from tests.fixtures.keeper import Keeper
from tests.fixtures.raw_client import Left, RawClient, post, until
from tests.fixtures.upstream_server import whole

MODELS = {"hear": {"targets": [{"provider": "keep", "model": "hear-upstream"}], "price": {"input": 1.0, "output": 2.0}}}
RELAY = {"files": "keep", "uploads": "keep", "batches": "keep"}


@pytest.fixture
async def keeper() -> AsyncIterator[Keeper]:
    made = Keeper()
    async with made.server:
        yield made


def sections(keeper: Keeper, **more: Any) -> dict[str, Any]:
    providers = {"keep": {"type": "openai-compatible", "base_url": keeper.base_url, "api_key": "sk-upstream"}}
    return {"providers": providers, "models": MODELS, "relay": RELAY, **more}


def sdk(t: Talk, key: str = "-") -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{t.url}/v1", api_key=key, max_retries=0, timeout=20)


async def test_speech(talk: Converse, keeper: Keeper) -> None:
    """The sound comes back byte for byte, with its type and length; the model has the target's name; unknown fields stay."""
    async with talk(**sections(keeper)) as t:
        said = await sdk(t).audio.speech.create(model="hear", input="hello", voice="alloy", extra_body={"x": 1})
        assert said.content == keeper.sound
        assert said.response.headers["content-type"] == "audio/mpeg"
        assert int(said.response.headers["content-length"]) == len(keeper.sound)
        assert keeper.asked == {"model": "hear-upstream", "input": "hello", "voice": "alloy", "x": 1}
        receipt = await t.receipt()
        assert (receipt.operation, receipt.model, receipt.outcome) == ("speech", "hear", "ok")
        assert receipt.bytes_out == len(keeper.sound)
        assert [attempt.outcome for attempt in receipt.attempts] == ["ok"]


async def test_files(talk: Converse, keeper: Keeper) -> None:
    """A file is made, listed, read, and deleted with the official SDK, under an id that is not the provider's."""
    async with talk(**sections(keeper)) as t:
        client = sdk(t)
        made = await client.files.create(file=("in.jsonl", b'{"a": 1}\n'), purpose="batch")
        assert made.filename == "in.jsonl"
        assert made.id.startswith("file-tg")
        assert "upstream" not in made.id
        assert [file.id async for file in client.files.list()] == [made.id]
        assert (await client.files.retrieve(made.id)).bytes == 9
        assert (await client.files.content(made.id)).content == b'{"a": 1}\n'
        assert (await client.files.delete(made.id)).deleted
        assert keeper.files == {}
        (fields,) = keeper.forms
        assert fields["file"][0].startswith("tg-")
        assert fields["purpose"][1] == b"batch"
        assert all(peer.headers["authorization"] == "Bearer sk-upstream" for peer in keeper.server.requests)


# --- whose it is


async def test_what_one_key_made_is_unknown_to_another(talk: Converse, keeper: Keeper, tmp_path: Path) -> None:
    """Another key gets the same 404 as for an id that was made up, sees nothing in its list, and cannot batch it."""
    one, two, admin = make_keys(tmp_path, {}, {}, {"admin": True})
    async with talk(**sections(keeper, access=ACCESS)) as t:
        made = await sdk(t, one).files.create(file=("in.jsonl", b"{}\n"), purpose="batch")
        batch = await sdk(t, one).batches.create(
            input_file_id=made.id, endpoint="/v1/chat/completions", completion_window="24h", metadata={"a": "b"}
        )
        assert batch.metadata == {"a": "b"}
        for key in (two, admin):
            other = sdk(t, key)
            assert [file.id async for file in other.files.list()] == []
            assert [found.id async for found in other.batches.list()] == []
            for id in (made.id, "file-made-up", "file-upstream0"):
                with pytest.raises(openai.NotFoundError):
                    await other.files.content(id)
                with pytest.raises(openai.NotFoundError):
                    await other.files.delete(id)
            with pytest.raises(openai.NotFoundError):
                await other.batches.create(
                    input_file_id=made.id, endpoint="/v1/chat/completions", completion_window="24h"
                )
            with pytest.raises(openai.NotFoundError):
                await other.batches.cancel(batch.id)
        assert len(keeper.files) == 2
        with pytest.raises(openai.NotFoundError):  # the provider's own id opens nothing, not even for the owner
            await sdk(t, one).files.retrieve("file-upstream0")


async def test_a_tenant_may_share(talk: Converse, keeper: Keeper, tmp_path: Path) -> None:
    """With `owner: tenant` every key of the tenant sees what one made, and no other tenant's does."""
    one, two, foreign = make_keys(tmp_path, {"tenant": "a"}, {"tenant": "a"}, {"tenant": "b"})
    async with talk(**sections(keeper, access=ACCESS, relay={**RELAY, "owner": "tenant"})) as t:
        made = await sdk(t, one).files.create(file=("in.jsonl", b"{}\n"), purpose="batch")
        assert [file.filename async for file in sdk(t, two).files.list()] == ["in.jsonl"]
        assert (await sdk(t, two).files.content(made.id)).content == b"{}\n"
        with pytest.raises(openai.NotFoundError):
            await sdk(t, foreign).files.content(made.id)


async def test_replicas_with_one_secret_know_each_others_ids(talk: Converse, keeper: Keeper) -> None:
    """What one gateway handed out another opens, and one with another secret does not."""
    ids = []
    for secret in ("a secret of all replicas", "a secret of all replicas", "a secret of others"):
        async with talk(**sections(keeper, server={"secret": secret})) as t:
            if not ids:
                ids.append((await sdk(t).files.create(file=("f", b"{}\n"), purpose="batch")).id)
            elif secret == "a secret of all replicas":
                assert (await sdk(t).files.content(ids[0])).content == b"{}\n"
            else:
                with pytest.raises(openai.NotFoundError):
                    await sdk(t).files.content(ids[0])


async def test_a_batch(talk: Converse, keeper: Keeper) -> None:
    """Made, read, cancelled and listed; the file of its results has an id of ours and can be read."""
    async with talk(**sections(keeper)) as t:
        client = sdk(t)
        made = await client.files.create(file=("in.jsonl", b"{}\n"), purpose="batch")
        batch = await client.batches.create(
            input_file_id=made.id, endpoint="/v1/chat/completions", completion_window="24h"
        )
        assert batch.id.startswith("batch_tg")
        assert batch.input_file_id == made.id
        assert batch.output_file_id is not None
        assert (await client.files.content(batch.output_file_id)).content == b'{"custom_id":"1"}\n'
        assert (await client.batches.cancel(batch.id)).status == "cancelling"
        assert [found.id async for found in client.batches.list(limit=1)] == [batch.id]
        receipts = {(await t.receipt()).operation for _ in range(5)}
        assert receipts == {"files", "batches"}


async def test_a_key_of_certain_models_cannot_batch(talk: Converse, keeper: Keeper, tmp_path: Path) -> None:
    """A batch names the provider's models, whatever they are, so it would get around the list."""
    (key,) = make_keys(tmp_path, {"models": ["hear"]})
    async with talk(**sections(keeper, access=ACCESS)) as t:
        with pytest.raises(openai.PermissionDeniedError):
            await sdk(t, key).batches.list()
        assert keeper.server.requests == []


async def test_an_upload_in_parts(talk: Converse, keeper: Keeper) -> None:
    """Each part and the whole keep ids of ours; the provider is told its own."""
    async with talk(**sections(keeper)) as t:
        client = sdk(t)
        upload = await client.uploads.create(purpose="batch", filename="big", bytes=4, mime_type="text/jsonl")
        assert upload.filename == "big"
        part = await client.uploads.parts.create(upload.id, data=b"part")
        done = await client.uploads.complete(upload.id, part_ids=[part.id])
        assert keeper.asked == {"part_ids": ["part_up1"]}
        assert done.file is not None
        assert done.file.id.startswith("file-tg")


async def test_lists_go_on_where_they_ended(talk: Converse, keeper: Keeper) -> None:
    """A limit holds for the caller's own entries, and the SDK pages through all of them."""
    async with talk(**sections(keeper)) as t:
        client = sdk(t)
        for at in range(5):
            keeper.keep(f"foreign{at}", b"")
            await client.files.create(file=(f"mine{at}", b"{}\n"), purpose="batch")
        page = await client.files.list(limit=2)
        assert [file.filename for file in page.data] == ["mine0", "mine1"]
        assert page.has_more
        assert [file.filename async for file in client.files.list(limit=2)] == [f"mine{at}" for at in range(5)]


async def test_lists_are_looked_through_for_what_is_the_callers(talk: Converse, keeper: Keeper) -> None:
    """However many pages of others' entries the provider has in between, the SDK gets all of the caller's; where that would
    be too much at once, the answer says from where to go on."""
    keeper.page = 3
    async with talk(**sections(keeper)) as t:
        client = sdk(t)
        for at in range(4):
            for other in range(7):
                keeper.keep(f"foreign{other}", b"")
            await client.files.create(file=(f"mine{at}", b"{}\n"), purpose="batch")
        for limit in (1, 2, 100):
            assert [file.filename async for file in client.files.list(limit=limit)] == [f"mine{at}" for at in range(4)]
        for _ in range(3 * MOST_PAGES):
            keeper.keep("foreign", b"")
        await client.files.create(file=("far", b"{}\n"), purpose="batch")
        reply = await t.http.get("/v1/files")
        assert reply.headers["x-tidegate-warning"] == "list_incomplete"
        told = reply.json()
        assert ([file["filename"] for file in told["data"]], told["has_more"]) == (
            [f"mine{at}" for at in range(4)],
            True,
        )
        assert told["extra"] == 1
        rest = (await t.http.get("/v1/files", params={"after": told["last_id"]})).json()
        assert ([file["filename"] for file in rest["data"]], rest["has_more"]) == (["far"], False)
        with pytest.raises(openai.NotFoundError):  # where a list goes on may be somebody else's file
            await client.files.content(told["last_id"])


# --- bytes


async def test_a_range_of_a_file(talk: Converse, keeper: Keeper) -> None:
    """A range is asked for and answered as one: 206, with what it is a range of."""
    async with talk(**sections(keeper)) as t:
        made = await sdk(t).files.create(file=("f", b"0123456789"), purpose="batch")
        reply = await t.http.get(f"/v1/files/{made.id}/content", headers={"range": "bytes=2-5"})
        assert (reply.status_code, reply.content) == (206, b"2345")
        assert reply.headers["content-range"] == "bytes 2-5/10"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_form_names_its_model(talk: Converse, keeper: Keeper, stream: bool) -> None:
    """The target's name stands in the model's place, the sound is as it was, and the tokens told are counted."""
    async with talk(**sections(keeper)) as t:
        sound = bytes(range(256)) * 4096 * (4 if stream else 1)  # the larger one is not held
        heard = await sdk(t).audio.transcriptions.create(model="hear", file=("a.mp3", sound), prompt="names: Ada")
        assert heard.text == "hello"
        (fields,) = keeper.forms
        assert fields["model"][1] == b"hear-upstream"
        assert fields["prompt"][1] == b"names: Ada"
        assert fields["file"] == ("a.mp3", sound)
        receipt = await t.receipt()
        assert receipt.usage is not None
        assert (receipt.usage.input_tokens, receipt.usage.output_tokens) == (14, 45)
        assert receipt.cost_usd == pytest.approx((14 + 2 * 45) / 1e6)
        assert receipt.bytes_in > len(sound)


async def test_a_streamed_transcript(talk: Converse, keeper: Keeper) -> None:
    """The SDK's events come as they were told, and the last one's usage is on the receipt."""
    async with talk(**sections(keeper)) as t:
        heard = await sdk(t).audio.transcriptions.create(model="hear", file=("a.mp3", b"x"), stream=True)
        events = [event async for event in heard]
        assert "".join(event.delta for event in events if event.type == "transcript.text.delta") == "hello"
        assert events[-1].type == "transcript.text.done"
        receipt = await t.receipt()
        assert receipt.usage is not None
        assert receipt.usage.output_tokens == 45


async def test_bytes_leave_as_they_come(talk: Converse, keeper: Keeper) -> None:
    """The first of a sound are with the client while the provider has yet to send the rest."""
    keeper.gate = asyncio.Event()
    async with talk(**sections(keeper)) as t:
        spoken = sdk(t).audio.speech.with_streaming_response.create(model="hear", input="hi", voice="alloy")
        async with spoken as response:
            got = b""
            async for piece in response.iter_bytes():
                got += piece
                if len(got) >= 1000:
                    keeper.gate.set()
            assert got == keeper.sound


async def test_a_sound_that_stalls_is_cut(talk: Converse, keeper: Keeper) -> None:
    """Nothing for longer than the model's `idle` ends it, and the client can tell."""
    keeper.cut = "stall"
    model = {**MODELS["hear"], "timeouts": {"idle": "100ms"}}
    async with talk(**sections(keeper, models={"hear": model})) as t, Left(t):
        async with RawClient(t.url) as client:
            await client.send(post(b'{"model": "hear", "input": "hi", "voice": "alloy"}', "/v1/audio/speech"))
            _, headers = await client.head()
            assert len(await client.rest()) < int(headers["content-length"])
        receipt = await t.receipt()
        assert (receipt.outcome, receipt.error) == ("upstream_error", "upstream_timeout")
        await keeper.server.all_gone()


async def test_a_model_after_the_file_is_found(talk: Converse, keeper: Keeper) -> None:
    """As curl and Node's SDK send it; up to what may be held, which the error names."""
    async with talk(**sections(keeper, server={"max_body": "64KiB"})) as t:
        for size, status in ((60_000, 200), (100_000, 400)):
            parts = [("file", ("a", b"x" * size)), ("model", (None, "hear"))]
            reply = await t.http.post("/v1/audio/transcriptions", files=parts)
            assert reply.status_code == status, reply.content
        assert "server.max_body" in reply.json()["error"]["message"]
        assert len(keeper.forms) == 1


@pytest.mark.parametrize(
    ("parts", "param"),
    [
        ([("file", ("a", b"x"))], "model"),
        ([("model", (None, "hear")), ("model", (None, "other")), ("file", ("a", b"x"))], "model"),
        ([("model", (None, "hear")), ("file", ("a", b"x" * 3_000_000)), ("model", (None, "other"))], "model"),
        ([("model", (None, "nobody")), ("file", ("a", b"x"))], "model"),
    ],
)
async def test_a_model_is_named_once_and_known(talk: Converse, keeper: Keeper, parts: Any, param: str) -> None:
    """No model, an unknown one, or a second one that a provider might read instead, is refused by name."""
    async with talk(**sections(keeper)) as t:
        reply = await t.http.post("/v1/audio/transcriptions", files=parts)
        assert reply.status_code in (400, 404)
        assert reply.json()["error"]["param"] == param
        assert keeper.forms == []


async def test_a_body_has_a_bound(talk: Converse, keeper: Keeper) -> None:
    """What is larger than `server.max_upload` is a 413, whether it says so or not, and is nowhere held whole."""
    async with talk(**sections(keeper, server={"max_upload": "1MiB"})) as t:

        async def endless() -> AsyncIterator[bytes]:
            head = b'--b\r\ncontent-disposition: form-data; name="file"; filename="f"\r\n\r\n'
            yield head
            for _ in range(40):
                yield b"x" * 65536

        given = {"content-type": "multipart/form-data; boundary=b"}
        said = await t.http.post("/v1/files", files={"file": ("f", b"x" * 2_000_000)})
        unsaid = await t.http.post("/v1/files", content=endless(), headers=given)
        for reply in (said, unsaid):
            assert (reply.status_code, reply.json()["error"]["code"]) == (413, "request_too_large")
            assert "server.max_upload" in reply.json()["error"]["message"]
        assert keeper.files == {}


# --- what breaks


async def test_a_list_that_breaks_off_is_no_list(talk: Converse, keeper: Keeper) -> None:
    """What was found before a page that could not be had is not told as if it was all."""
    keeper.page, keeper.cut = 1, "pages"
    async with talk(**sections(keeper)) as t:
        for name in ("one", "two"):
            await sdk(t).files.create(file=(name, b"{}"), purpose="batch")
        reply = await t.http.get("/v1/files")
        assert (reply.status_code, "data" in reply.json()) == (502, False)
        assert not any(e.in_flight for e in t.gateway.upstreams["keep"].endpoints.all)


@pytest.mark.parametrize("cut", ["length", "nothing"])
async def test_a_cut_file_never_looks_whole(talk: Converse, keeper: Keeper, cut: str) -> None:
    """A body that breaks off breaks off for the client; one whose end could not be told from a break is a 502."""
    async with talk(**sections(keeper)) as t:
        made = await sdk(t).files.create(file=("f", b"0123456789" * 1000), purpose="batch")
        await t.receipt()
        keeper.cut = cut
        async with RawClient(t.url) as client:
            await client.send(f"GET /v1/files/{made.id}/content HTTP/1.1\r\nhost: g\r\n\r\n".encode())
            status, headers = await client.head()
            if cut == "nothing":
                assert status == 502
                return
            assert (status, headers["content-length"]) == (200, "10000")
            assert len(await client.rest()) < 10000
        assert (await t.receipt()).outcome == "cut"


async def test_cut_sound_never_looks_whole(talk: Converse, keeper: Keeper) -> None:
    """Chunks without a last one stay so."""
    keeper.cut = "chunked"
    async with talk(**sections(keeper)) as t, Left(t):
        body = b'{"model": "hear", "input": "hi", "voice": "alloy"}'
        async with RawClient(t.url) as client:
            await client.send(post(body, "/v1/audio/speech"))
            status, headers = await client.head()
            assert (status, headers["transfer-encoding"]) == (200, "chunked")
            assert not (await client.rest()).endswith(b"0\r\n\r\n")
        assert (await t.receipt()).outcome == "cut"


async def test_a_client_that_leaves_ends_the_upload(talk: Converse, keeper: Keeper) -> None:
    """The provider's connection is dropped, and nothing is left behind."""
    async with talk(**sections(keeper)) as t, Left(t):
        async with RawClient(t.url) as client:
            head = b'--b\r\ncontent-disposition: form-data; name="file"; filename="f"\r\n\r\n'
            kind = "multipart/form-data; boundary=b"
            await client.send(post(head + b"x" * 100_000, "/v1/files", length=9_000_000, content_type=kind))
            await until(lambda: keeper.server.open == 1)
            client.leave()
            await keeper.server.all_gone()
        receipt = await t.receipt()
        assert receipt.outcome == "client_gone"
        assert [attempt.outcome for attempt in receipt.attempts] == ["cancelled"]


async def test_errors_are_the_providers_with_our_ids(talk: Converse, keeper: Keeper) -> None:
    """A 404 stays one, and its message names the id that the client knows."""
    async with talk(**sections(keeper)) as t:
        made = await sdk(t).files.create(file=("f", b"{}"), purpose="batch")
        keeper.files.clear()
        with pytest.raises(openai.NotFoundError) as missing:
            await sdk(t).files.retrieve(made.id)
        assert made.id in missing.value.message
        assert "upstream" not in missing.value.message


async def test_usage_of_streamed_sound(talk: Converse, keeper: Keeper) -> None:
    """Events are passed on as they come, and the last one's usage is counted."""
    async with talk(**sections(keeper)) as t:
        body = {"model": "hear", "input": "hi", "voice": "alloy", "stream_format": "sse"}
        reply = await t.send(body, "/v1/audio/speech")
        assert [event["type"] for event in reply.events] == ["speech.audio.delta", "speech.audio.done"]
        receipt = await t.receipt()
        assert receipt.usage is not None
        assert receipt.usage.output_tokens == 30


async def test_a_small_form_is_sent_again_and_a_large_one_is_not(talk: Converse, keeper: Keeper) -> None:
    """What was held whole goes to the next target; what has gone by cannot, and its failure is told."""
    targets = [{"provider": "keep", "model": name, "weight": weight} for name, weight in (("one", 1), ("two", 0))]
    async with talk(**sections(keeper, models={"hear": {"targets": targets}})) as t:
        for size, status, models in ((1000, 200, ["two"]), (3_000_000, 503, [])):
            keeper.refuses = 1
            keeper.forms.clear()
            parts = [("model", (None, "hear")), ("file", ("a", b"x" * size))]
            reply = await t.http.post("/v1/audio/transcriptions", files=parts)
            assert (reply.status_code == 200) is (status == 200), reply.content
            assert [fields["model"][1].decode() for fields in keeper.forms] == models
            assert len((await t.receipt()).attempts) == (2 if status == 200 else 1)


async def test_nothing_that_is_made_is_made_twice(talk: Converse, keeper: Keeper) -> None:
    """A file, an upload or a batch is asked for once, however it fails; what is only read is asked for again."""
    async with talk(**sections(keeper)) as t:
        made = await sdk(t).files.create(file=("f", b"{}"), purpose="batch")
        await t.receipt()
        for path, given, calls in (
            ("/v1/files", {"files": {"file": ("f", b"{}")}}, 1),
            ("/v1/uploads", {"json": {"purpose": "batch", "filename": "f", "bytes": 1, "mime_type": "a/b"}}, 1),
            (f"/v1/files/{made.id}", {}, 2),
        ):
            keeper.refuses = calls
            reply = await t.http.request("POST" if given else "GET", path, **given)
            assert reply.status_code == 502
            assert len((await t.receipt()).attempts) == calls


async def test_an_answer_before_the_body_is_whole_is_heard(talk: Converse) -> None:
    """A provider that refuses a file from its head alone is not sent the rest of it."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(whole(b'{"error": {"message": "too large for us"}}', "413 Content Too Large"))
        await writer.drain()
        while await reader.read(65536):
            pass
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    async with (
        server,
        talk(providers={"keep": {"type": "openai-compatible", "base_url": url}}, relay=RELAY) as t,
        Left(t),
    ):
        reply = await t.http.post("/v1/files", files={"file": ("f", b"x" * 20_000_000)})
        assert (reply.status_code, reply.json()["error"]["message"]) == (413, "too large for us")


async def test_a_relay_is_one_trace_and_can_be_explained(talk: Converse, keeper: Keeper) -> None:
    """Its stages and its call are children of one span, as a chat's are, and its record tells a story."""
    async with traced(talk, **sections(keeper)) as (t, kept):
        await sdk(t).files.create(file=("secret-name.txt", b"secret content"), purpose="batch")
        receipt, server, stages, attempts = await trace_of(t, kept)
        assert server.attributes["http.route"] == "/v1/files"
        assert [span.name for span in stages] == ["admit", "receive", "select", "permit", "relay", "route"]
        assert len(attempts) == 1
        told = "\n".join(story(receipt))
        assert f"{receipt.bytes_in:,} bytes in, {receipt.bytes_out:,} out" in told
        assert "secret" not in told + str(server) + str(stages) + str(attempts)


async def test_what_passes_is_written_down_nowhere(talk: Converse, keeper: Keeper) -> None:
    """No name, content, header or provider's id of what passes is in a log, a metric or a record; and no cookie, credential or
    hop-by-hop header of the client's goes on."""
    out = io.StringIO()
    async with talk(logger=logs.setup("json", out), **sections(keeper)) as t:
        given = {"cookie": "zq-cookie", "authorization": "Bearer zq-key", "te": "trailers", "x-zq": "zq-header"}
        files = {"file": ("zq-name", b"zq-content"), "purpose": (None, "zq-purpose")}
        made = (await t.http.post("/v1/files", files=files, headers=given)).json()
        assert made["filename"] == "zq-name"
        await t.http.get(f"/v1/files/{made['id']}/content", headers=given)
        keeper.files.clear()
        await t.http.get(f"/v1/files/{made['id']}", headers=given)
        await t.send({"model": "hear", "input": "zq-said", "voice": "alloy"}, "/v1/audio/speech")
        for _ in range(4):
            await t.receipt()
        told = [out.getvalue(), (await t.http.get("/metrics")).text, (await t.http.get("/console/api/receipts")).text]
        assert out.getvalue().count('"event":"exchange"') == 4
        for text in told:
            assert "zq-" not in text
            assert "upstream0" not in text
        for peer in keeper.server.requests:
            assert not {"cookie", "te", "x-zq"} & peer.headers.keys()
            assert peer.headers["authorization"] == "Bearer sk-upstream"


async def test_pictures(talk: Converse, keeper: Keeper) -> None:
    """A change of a picture is a form with a model, like a sound's."""
    async with talk(**sections(keeper)) as t:
        made = await sdk(t).images.edit(model="hear", image=("a.png", b"\x89PNG"), prompt="a hat")
        assert made.data is not None
        assert made.data[0].b64_json == "AA=="
        assert keeper.forms[0]["model"][1] == b"hear-upstream"
        receipt = await t.receipt()
        body = {"model": "hear", "prompt": "a hat", "images": [{"file_id": "x"}]}
        assert (await t.send(body, "/v1/images/edits")).status == 200
        page = (await t.http.get("/metrics")).text
        assert 'tidegate_relayed_bytes_total{direction="in",operation="image_edits"} ' in page
        assert receipt.bytes_in > 0


# --- checks, limits, and what is not configured

DENY = {"use": "phrases", "on": ["input"], "deny": ["project bluebird"], "action": "block", "on_error": "closed"}
FLAG = {"use": "phrases", "on": ["input"], "deny": ["violet"], "action": "flag", "on_error": "open"}


async def test_what_checks_cannot_read_passes_only_where_it_may(talk: Converse, keeper: Keeper) -> None:
    """A check that must run keeps sound and files from passing unread; `relay: unscanned` lets them, and says so."""
    for relay, status in ((None, 403), ("unscanned", 200)):
        route = {"guardrails": ["deny", "flag"], **({"relay": relay} if relay else {})}
        more = {"guardrails": {"deny": DENY, "flag": FLAG}, "routes": {"default": route}}
        async with talk(**sections(keeper, **more)) as t:
            parts = [("model", (None, "hear")), ("file", ("a", b"x"))]
            for path in ("/v1/audio/transcriptions", "/v1/files"):
                reply = await t.http.post(path, files=parts)
                assert reply.status_code == status, reply.content
            if status == 403:
                assert reply.json()["error"]["code"] == "unscanned"
                assert "routes.default.relay" in reply.json()["error"]["message"]
                assert keeper.forms == []
            else:
                assert reply.headers["x-tidegate-guardrails"] == "deny=not_scanned,flag=not_scanned"


async def test_what_is_to_be_said_is_checked(talk: Converse, keeper: Keeper) -> None:
    """A speech's text is read like any other: refused, or masked before it leaves."""
    secrets = {"use": "secrets", "on": ["input"], "action": "mask", "on_error": "closed"}
    more = {
        "guardrails": {"deny": DENY, "secrets": secrets},
        "routes": {"default": {"guardrails": ["deny", "secrets"]}},
    }
    async with talk(**sections(keeper, **more)) as t:
        body = {"model": "hear", "input": "of project bluebird", "voice": "alloy"}
        reply = await t.send(body, "/v1/audio/speech")
        assert (reply.status, reply.error["code"]) == (400, "content_filter")
        key = "sk-proj-" + "Ab3dEf6hIj9kLm2nOp5qRs8t" * 2
        assert (await t.send({**body, "input": f"say {key}"}, "/v1/audio/speech")).status == 200
        assert key not in keeper.asked["input"]


async def test_limits_hold(talk: Converse, keeper: Keeper, tmp_path: Path) -> None:
    """A key's requests a minute are counted here as everywhere, and a key must be good."""
    (key,) = make_keys(tmp_path, {"rpm": 1})
    async with talk(**sections(keeper, access=ACCESS)) as t:
        assert (await t.http.get("/v1/files")).status_code == 401
        given = {"authorization": f"Bearer {key}"}
        assert (await t.http.get("/v1/files", headers=given)).status_code == 200
        assert (await t.http.get("/v1/files", headers=given)).status_code == 429


@pytest.mark.parametrize(
    ("method", "path", "status", "says"),
    [
        ("GET", "/v1/files", 404, "relay.files"),
        ("GET", "/v1/batches", 404, "relay.batches"),
        ("PUT", "/v1/files", 405, "GET or POST"),
        ("GET", "/v1/files/a/b/c", 404, "nothing at"),
        ("GET", "/openai/v1/filesystem", 404, "nothing at"),
        ("GET", "/v1/audio/voices", 404, "nothing at"),
    ],
)
async def test_what_is_not_there_says_so(talk: Converse, method: str, path: str, status: int, says: str) -> None:
    """A JSON error in the dialect's shape, with what an operator would have to write."""
    async with talk() as t:
        reply = await t.http.request(method, path)
        assert reply.status_code == status
        assert says in reply.json()["error"]["message"]


# --- files inside questions

FILE_PARTS: dict[str, Any] = {
    "/v1/chat/completions": lambda id: {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": id}}]}]},
    "/v1/responses": lambda id: {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": id}]}]},
}  # fmt: skip


@pytest.mark.parametrize("path", FILE_PARTS)
async def test_a_file_in_a_question_goes_to_who_keeps_it(
    talk: Converse, keeper: Keeper, tmp_path: Path, path: str
) -> None:
    """Its owner's question goes to the provider that has the file, with the id that it knows; another key's is a 404 that
    names the field, and a model elsewhere a 400."""
    one, two = make_keys(tmp_path, {}, {})

    def providers(upstream: Any, _spare: Any) -> dict[str, Any]:
        kept = {"type": "openai-compatible", "base_url": keeper.base_url, "native": ["responses"]}
        return {"keep": kept, "other": {**kept, "base_url": upstream.base_url}}

    targets = [
        {"provider": name, "model": "m", "weight": weight} for name, weight in (("other", 1_000_000), ("keep", 1))
    ]
    models = {"both": {"targets": targets}, "other": {"targets": targets[:1]}}
    async with talk(providers=providers, models=models, relay=RELAY, access=ACCESS) as t:
        made = await sdk(t, one).files.create(file=("f", b"{}"), purpose="user_data")

        async def ask(key: str, id: str, model: str = "both") -> Any:
            return await t.send({"model": model, **FILE_PARTS[path](id)}, path, authorization=f"Bearer {key}")

        assert (await ask(one, made.id)).status == 200
        assert keeper.asked == {"model": "m", **FILE_PARTS[path]("file-upstream0")}
        await ask(one, "file-of-the-operators")
        assert t.sent() == {"model": "m", **FILE_PARTS[path]("file-of-the-operators")}
        for reply, status in ((await ask(two, made.id), 404), (await ask(one, made.id, "other"), 400)):
            assert (reply.status, reply.error["param"].endswith("file_id")) == (status, True)
            assert "upstream" not in reply.error["message"]
