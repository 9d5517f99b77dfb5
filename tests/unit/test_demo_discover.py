"""What the demo finds on the machine, with real sockets on loopback for the local servers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.demo.discover import PROBE_TIMEOUT, Discovery, Local, discover


@asynccontextmanager
async def answering(answer: bytes | None) -> AsyncIterator[Local]:
    """A local server that answers every request with ``answer``, or with nothing at all."""
    done = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if answer is None:
            await done.wait()
        else:
            writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield Local("ollama", server.sockets[0].getsockname()[1], "/api/tags", "models", "name")
    finally:
        done.set()
        server.close()


async def test_keys_open_providers_and_are_never_copied() -> None:
    """A key in the environment offers its provider by reference; its value is nowhere in what is returned."""
    found = await discover({"OPENAI_API_KEY": "sk-planted", "ANTHROPIC_API_KEY": "sk-also-planted"}, ())
    assert found.providers["openai"] == {"type": "openai", "api_key": "${OPENAI_API_KEY}"}
    assert found.providers["anthropic"] == {"type": "anthropic", "api_key": "${ANTHROPIC_API_KEY}"}
    assert len(found.models) == 2
    assert "planted" not in repr(found)


async def test_nothing_is_found_where_nothing_is() -> None:
    """An empty key, no key and no server give an empty discovery."""
    found = await discover({"OPENAI_API_KEY": " "}, (Local("ollama", 1, "/", "models", "name"),))
    assert found == Discovery()


async def test_another_model_can_be_chosen() -> None:
    """The model offered for a key is the one the environment chooses."""
    found = await discover({"OPENAI_API_KEY": "k", "TIDEGATE_OPENAI_MODEL": "gpt-x"}, ())
    assert found.models == {"gpt-x": {"targets": [{"provider": "openai", "model": "gpt-x"}]}}


async def test_a_local_server_offers_the_models_it_lists() -> None:
    """The models an Ollama lists become models of the config, with its OpenAI endpoint as the target."""
    async with answering(b'HTTP/1.0 200 OK\r\n\r\n{"models": [{"name": "llama3.2:1b"}, {"name": "qwen3"}]}') as local:
        found = await discover({}, (local,))
    assert found.providers == {"ollama": {"type": "ollama", "endpoints": [f"http://127.0.0.1:{local.port}/v1"]}}
    assert found.models["qwen3"] == {"targets": [{"provider": "ollama", "model": "qwen3"}]}
    assert "llama3.2:1b" in found.models


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-x\r\n",
        b"HTTP/1.0 404 Not Found\r\n\r\nno",
        b"HTTP/1.0 200 OK\r\n\r\n<html>",
        b"HTTP/1.0 200 OK\r\n\r\n[1]",
        b'HTTP/1.0 200 OK\r\n\r\n{"models": null}',
        b'HTTP/1.0 200 OK\r\n\r\n{"models": [{"other": 1}]}',
    ],
)
async def test_whatever_else_listens_there_is_not_an_error(answer: bytes) -> None:
    """Another program on that port, speaking anything, is simply not offered."""
    async with answering(answer) as local:
        assert (await discover({}, (local,))).providers == {}


async def test_a_silent_server_costs_little() -> None:
    """A server that accepts and says nothing is given up after the probe's time-out."""
    async with answering(None) as local:
        began = time.perf_counter()
        assert (await discover({}, (local, local))).providers == {}
        assert time.perf_counter() - began < PROBE_TIMEOUT + 2


async def test_a_gguf_path_must_be_one(tmp_path: Path) -> None:
    """TIDEGATE_GGUF is taken when it names a GGUF file and refused, by name, when it does not."""
    good, bad = tmp_path / "good.gguf", tmp_path / "bad.gguf"
    good.write_bytes(b"GGUF\x03\x00\x00\x00")
    bad.write_bytes(b"PK\x03\x04")
    assert (await discover({"TIDEGATE_GGUF": str(good)}, ())).gguf == good
    for path, told in ((bad, "not a GGUF file"), (tmp_path / "none.gguf", "cannot be read")):
        with pytest.raises(ValueError, match=f"TIDEGATE_GGUF=.*{told}"):
            await discover({"TIDEGATE_GGUF": str(path)}, ())
