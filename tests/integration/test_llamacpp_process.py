"""The server's process: it starts or says why not, stops, and never outlives the one that started it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

import httpx
import pytest

from gateway.demo.fleet import Fleet
from gateway.demo.gguf import build_tiny
from gateway.demo.llamacpp import LlamaServer, ServerDied

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    build_tiny(tmp_path / "tiny.gguf")
    return tmp_path / "tiny.gguf"


def gone(pid: int) -> bool:
    """Whether a process has ended (a zombie has)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


async def until_gone(pid: int, within: float) -> None:
    async with asyncio.timeout(within):
        while not gone(pid):  # noqa: ASYNC110 - somebody else's child, there is no event for it
            await asyncio.sleep(0.02)


async def test_it_starts_and_stops(model: Path) -> None:
    """Started, it is healthy on a free port and says so; stopped, the process is gone and so is its port."""
    told: list[str] = []
    async with LlamaServer(model, alias="tiny", progress=told.append) as server:
        assert await server.healthy()
        assert len(await server.slots()) == 4
        assert await server.busy() == 0
        assert told == [line for line in told if line.startswith(f"tiny: llama.cpp listens on {server.url} (")]
        with pytest.raises(RuntimeError, match="already running"):
            await server.start()
        pid = server.pid
    assert pid is not None
    assert gone(pid)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port), timeout=1)


async def test_it_starts_again_on_its_port(model: Path) -> None:
    """After a crash it can be started again, on the same port."""
    async with LlamaServer(model, alias="tiny") as server:
        port, pid = server.port, server.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(5):
            while server.running:  # noqa: ASYNC110 - another process's state, there is no event for it
                await asyncio.sleep(0.01)
        assert server.exit_status == -signal.SIGKILL
        assert not await server.healthy()
        await server.start()
        assert server.port == port
        assert await server.healthy()


@pytest.mark.parametrize(("content", "told"), [(b"not a model", "invalid magic"), (None, "No such file")])
async def test_a_bad_model_file_says_so(content: bytes | None, told: str, tmp_path: Path) -> None:
    """A file that is no model, or is not there, ends the start at once with the file and the server's own words."""
    path = tmp_path / "bad.gguf"
    if content is not None:
        path.write_bytes(content)
    server = LlamaServer(path, alias="bad")
    with pytest.raises(ServerDied, match=told) as failure:
        await server.start()
    assert "bad.gguf" in str(failure.value)
    assert not server.running


async def test_a_port_in_use_says_so(model: Path) -> None:
    """A taken port is an error at the start, not a server that nobody reaches."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = LlamaServer(model, alias="tiny", port=taken.getsockname()[1])
        with pytest.raises(ServerDied):
            await server.start()
    assert not server.running


async def test_a_start_that_takes_too_long_is_given_up(model: Path) -> None:
    """A start has a limit; past it the process is ended and the error says how long was waited."""
    server = LlamaServer(model, alias="tiny", start_timeout=0.001)
    with pytest.raises(ServerDied, match=r"not healthy within 0.001 s"):
        await server.start()
    assert not server.running


async def test_its_key_is_needed(model: Path) -> None:
    """With a key set, requests without it get 401, and the key is not on the command line."""
    async with LlamaServer(model, alias="tiny", api_key="sk-planted") as server:
        command = await asyncio.to_thread(Path(f"/proc/{server.pid}/cmdline").read_bytes)
        assert b"llamacpp_child" in command
        assert b"sk-planted" not in command
        body = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2}
        async with httpx.AsyncClient() as client:
            url = f"{server.base_url}/chat/completions"
            assert (await client.post(url, json=body)).status_code == 401
            authorised = {"authorization": "Bearer sk-planted"}
            assert (await client.post(url, json=body, headers=authorised)).status_code == 200
        assert await server.busy() == 0


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
async def test_it_ends_with_its_parent(end: signal.Signals, model: Path) -> None:
    """However the process that started it ends, killed included, the server ends too."""
    code = (
        "import asyncio, sys\n"
        "from gateway.demo.llamacpp import LlamaServer\n"
        "async def main():\n"
        "    async with LlamaServer(sys.argv[1], alias='tiny') as server:\n"
        "        print(server.pid, flush=True)\n"
        "        await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, str(model), stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )
    assert parent.stdout is not None
    pid = int(await asyncio.wait_for(parent.stdout.readline(), 30))
    assert not gone(pid)
    parent.send_signal(end)
    await parent.wait()
    await until_gone(pid, 5)


async def test_the_fleet_serves_what_its_entries_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every model of the fleet answers at its provider's endpoints, and a server that dies is back on its port."""
    monkeypatch.setenv("TIDEGATE_CACHE_DIR", str(tmp_path))
    told: list[str] = []
    async with Fleet(replicas=2, progress=told.append) as fleet, httpx.AsyncClient(timeout=30) as client:
        assert set(fleet.models) == {"demo", "noise", "demo-embed"}
        assert len(fleet.providers["local-demo"]["endpoints"]) == 2
        for model in fleet.models.values():
            (target,) = model["targets"]
            for endpoint in fleet.providers[target["provider"]]["endpoints"]:
                listed = (await client.get(f"{endpoint}/models")).json()
                assert listed["data"][0]["id"] == target["model"]
        victim = fleet.servers[0]
        pid, port = victim.pid, victim.port
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(10):
            while victim.pid == pid or not await victim.healthy():  # noqa: ASYNC110 - another process's state
                await asyncio.sleep(0.02)
        assert victim.port == port
        pids = [server.pid for server in fleet.servers]
    assert any("starting it again" in line for line in told)
    assert all(gone(pid) for pid in pids if pid)
