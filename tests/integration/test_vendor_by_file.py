"""A vendor that nobody knew is added by a file beside the configuration, with no Python."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gateway import config as configuration
from gateway.configuring.problems import ConfigError
from gateway.core.errors import ContextOverflow, UpstreamLimited
from gateway.core.plan import Target, Timeouts
from gateway.core.response import fold
from gateway.dialects.registry import dialects, upstream_dialects
from gateway.providers import catalog
from gateway.providers.build import build
from gateway.providers.http_client import HttpClient
from tests.fixtures.upstream_server import Peer, RawServer, whole

VENDOR = """\
# https://docs.acme.example/chat
dialect: openai
auth: api-key
base_url: https://api.acme.example/v2
paths: {chat: "/models/{model}/chat"}
query: {version: "3"}
operations: [chat]
params:
  rename: {max_tokens: length}
  drop: [user]
finish_reasons: {done: stop}
errors:
  - {status: 400, contains: too big, fault: context_overflow}
  - {status: 509, fault: upstream_limited}
headers: {x-team: blue}
"""
CONFIG = """\
version: 1
providers:
  acme: {{type: ./vendors/acme.yaml, api_key: k, base_url: "{url}"}}
models:
  m: {{targets: [{{provider: acme, model: "big one"}}]}}
"""


def config_at(folder: Path, url: str = "https://api.acme.example/v2", vendor: str = VENDOR) -> Any:
    (folder / "vendors").mkdir(exist_ok=True)
    (folder / "vendors/acme.yaml").write_text(vendor)
    return configuration.read(CONFIG.format(url=url), folder, {})


async def test_a_file_beside_the_configuration_is_a_vendor(tmp_path: Path) -> None:
    """Path, query, credential, renamed and dropped fields, words and errors all come from the file."""
    replies = [
        whole(json.dumps({"choices": [{"message": {"content": "Hi"}, "finish_reason": "done"}]}).encode()),
        whole(b'{"error": "much too big"}', "400 Bad"),
        whole(b"{}", "509 Busy"),
    ]
    seen: list[Peer] = []

    async def answer(peer: Peer) -> None:
        seen.append(peer)
        body = peer.json
        assert peer.line == "POST /v2/models/big%20one/chat?version=3 HTTP/1.1"
        assert (peer.headers["api-key"], peer.headers["x-team"]) == ("k", "blue")
        assert body["length"] == 5
        assert not {"max_tokens", "user"} & body.keys()
        await peer.send(replies.pop(0))

    async with RawServer(answer) as server:
        http = HttpClient()
        config = config_at(tmp_path, f"{server.url}/v2")
        upstream = build(config.providers, upstream_dialects(), http)["acme"]
        body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 5, "user": "u"}
        request = dialects()["openai"].read("chat", body)

        async def ask() -> Any:
            target = Target(provider="acme", model="big one")
            reply = await upstream.open(request, target, Timeouts(total=5), traceparent="", headers={})
            return fold([event async for batch in reply.frames() for frame in batch for event in frame.events])

        choice = (await ask()).choices[0]
        assert (choice.text, choice.finish) == ("Hi", "stop")
        with pytest.raises(ContextOverflow):
            await ask()
        with pytest.raises(UpstreamLimited):
            await ask()
        await http.aclose()
    assert len(seen) == 3


def problems(folder: Path, vendor: str) -> str:
    with pytest.raises(ConfigError) as caught:
        config_at(folder, vendor=vendor)
    return "\n".join(str(problem) for problem in caught.value.problems)


@pytest.mark.parametrize(
    ("vendor", "said"),
    [
        ("dialekt: openai", "acme.yaml: `dialect` must name a wire format"),
        ("dialect: klingon", "speaks the dialect 'klingon', which this version does not have"),
        ("dialect: ../../secret", "which this version does not have"),
        ("dialect: openai\nparam: {}", "unknown field `param` (did you mean 'params'?)"),
        ("dialect: openai\nauth: magic", "acme.yaml: Invalid enum value 'magic'"),
        ("- a list", "acme.yaml must be a mapping"),
        ("{", "acme.yaml is not valid YAML"),
    ],
)
def test_a_wrong_file_is_told_with_its_path(tmp_path: Path, vendor: str, said: str) -> None:
    """Each mistake stands at `providers.acme.type` and says what is wrong in which file."""
    told = problems(tmp_path, vendor)
    assert told.startswith("providers.acme.type: ")
    assert said in told


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    """With what the system says."""
    with pytest.raises(ConfigError) as caught:
        configuration.read(CONFIG.format(url="https://x.example"), tmp_path, {})
    assert "cannot read acme.yaml: No such file" in str(caught.value.problems[0])


def test_a_file_too_large_is_not_read(tmp_path: Path) -> None:
    """What is read at start is bounded."""
    assert "larger than" in problems(tmp_path, "dialect: openai\n" + "# much\n" * catalog.LARGEST)


def test_a_vendors_file_has_a_short_name_in_records() -> None:
    """Spans name a vendor by its file, never by a path of the machine."""
    assert catalog.kind_of("/srv/gateway/vendors/acme.yaml") == "acme"
    assert catalog.kind_of("openai") == "openai"
