"""The compose file: valid by the specification, and every container as locked down as it can be."""

from __future__ import annotations

import http.server
import re
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Any

import compose_spec
import pytest
import yaml

from gateway.core.units import parse_duration, parse_size

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
TEXT = (DEPLOY / "compose.yaml").read_text()
SERVICES: dict[str, Any] = yaml.safe_load(TEXT)["services"]
VARIABLE = re.compile(r"\$\$|\$\{(?P<name>\w+)(?:(?P<op>:-|:\?)(?P<rest>[^}]*))?\}")


def filled(text: str, environ: dict[str, str]) -> str:
    """Compose's own interpolation, as far as the file uses it. KeyError names a required variable that is missing."""

    def one(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        if environ.get(match["name"]):
            return environ[match["name"]]
        if match["op"] == ":-":
            return match["rest"]
        raise KeyError(match["name"])

    return VARIABLE.sub(one, text)


def test_the_file_is_valid_by_the_compose_specification() -> None:
    """A strict parser of the specification accepts every field, and finds each network that is named."""
    parser = compose_spec.PyOptions()
    parser.apply_merge = True
    compose = parser.from_yaml(filled(TEXT, {"OPENAI_API_KEY": "k", "TIDEGATE_SECRET": "s"}))
    compose.validate()
    assert set(compose.service_names()) == {"gateway", "redis", "qdrant", "otel-collector"}


def test_secrets_must_be_given_and_have_no_default() -> None:
    """Without the provider's key or the hashing secret, compose stops and names what is missing."""
    given = {"OPENAI_API_KEY": "k", "TIDEGATE_SECRET": "s"}
    for name in given:
        with pytest.raises(KeyError, match=name):
            filled(TEXT, {other: value for other, value in given.items() if other != name})
    assert not re.search(r"(?i)(key|password|token|secret)\w*:\s*[\"']?\$\{\w+:-[^}]", TEXT)


@pytest.mark.parametrize("name", SERVICES)
def test_each_container_is_locked_down_and_bounded(name: str) -> None:
    """Read-only root, a numeric user, no capability, no new privilege; memory, processes, CPU and log are bounded."""
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert service.get("privileged") is None
    assert service["security_opt"] == ["no-new-privileges:true"]
    uid, gid = map(int, service["user"].split(":"))
    assert uid > 0
    assert gid > 0
    assert re.fullmatch(r"\d+[mg]", service["mem_limit"])
    assert 0 < service["pids_limit"] <= 256
    assert service["cpus"] > 0
    assert set(service["logging"]["options"]) == {"max-size", "max-file"}
    for mount in service.get("tmpfs", []):
        assert "size=" in mount


@pytest.mark.parametrize("name", SERVICES)
def test_each_container_has_a_bounded_health_check_in_exec_form(name: str) -> None:
    """Health is asked often, with a time-out, a start period and a number of tries."""
    health = SERVICES[name]["healthcheck"]
    assert health["test"][0] in ("CMD", "CMD-SHELL")
    assert parse_duration(health["timeout"]) >= 3
    assert parse_duration(health["interval"]) <= 10
    assert health["retries"] >= 3
    assert parse_duration(health["start_period"]) >= 10


@pytest.mark.parametrize("name", SERVICES)
def test_each_image_has_an_exact_tag(name: str) -> None:
    """No image floats: the tag has a full version, also of what an inline Dockerfile starts from."""
    service = SERVICES[name]
    images = [service["image"]]
    build = service.get("build", {})
    images += re.findall(r"^FROM (\S+)", build.get("dockerfile_inline", ""), re.M)
    for image in images:
        assert re.search(r":v?\d+\.\d+\.\d+[\w.-]*$", image), image


def test_only_the_gateway_is_published_and_only_on_loopback() -> None:
    """The stores have no way in from outside: an internal network, no port."""
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert set(published) == {"gateway"}
    assert all(str(port).startswith("127.0.0.1:") for port in published["gateway"])
    whole = yaml.safe_load(TEXT)
    assert whole["networks"]["backend"]["internal"] is True
    assert SERVICES["redis"]["networks"] == ["backend"]
    assert SERVICES["qdrant"]["networks"] == ["backend"]


def test_every_file_and_volume_that_is_mounted_exists() -> None:
    """Mounted files are in the repository, read-only, and never made up by the engine."""
    volumes = set(yaml.safe_load(TEXT)["volumes"])
    for name, service in SERVICES.items():
        for mount in service.get("volumes", []):
            if mount["type"] == "volume":
                assert mount["source"] in volumes
                continue
            assert mount["read_only"] is True
            assert mount["bind"] == {"create_host_path": False}
            assert (DEPLOY / mount["source"]).is_file(), f"{name}: {mount['source']}"


def test_the_key_file_lies_where_the_gateway_may_write_it() -> None:
    """The config's key file is in the data volume: `tidegate keys` in the container makes it, readable by its owner."""
    config = yaml.safe_load((DEPLOY / "examples/tidegate.compose.yaml").read_text())
    targets = [mount["target"] for mount in SERVICES["gateway"]["volumes"] if mount["type"] == "volume"]
    assert any(config["access"]["keys"].startswith(f"{target}/") for target in targets)
    assert config["access"]["keys"] in TEXT, "the first lines say how to make it"


def test_compose_waits_longer_than_the_gateway_drains() -> None:
    """The engine's patience covers the drain that the mounted config asks for, and the longest answer fits the drain."""
    config = yaml.safe_load((DEPLOY / "examples/tidegate.compose.yaml").read_text())
    server = config["server"]
    drain = parse_duration(server["drain"]) + parse_duration(server.get("drain_notice", "0s"))
    assert parse_duration(SERVICES["gateway"]["stop_grace_period"]) >= drain + 10
    assert parse_duration(server["timeout"]) <= parse_duration(server["drain"])


def test_the_gateway_starts_without_its_stores() -> None:
    """Stores are started first but not waited for: the gateway answers without them, degraded."""
    assert {value["condition"] for value in SERVICES["gateway"]["depends_on"].values()} == {"service_started"}


def test_redis_evicts_only_what_has_a_time_to_live() -> None:
    """Counters of spend survive a full memory and a restart."""
    command = SERVICES["redis"]["command"]
    pairs = dict(zip(command[1::2], command[2::2], strict=True))
    assert pairs["--maxmemory-policy"] == "volatile-lru"
    assert pairs["--appendonly"] == "yes"
    limit = parse_size(SERVICES["redis"]["mem_limit"] + "ib")
    assert parse_size(pairs["--maxmemory"].replace("mb", "MiB")) <= limit * 0.6, "room for the rewrite of the log"


def test_a_real_redis_takes_these_arguments() -> None:
    """redis-server starts with the command line as written, reports the policy, and its health check says PONG."""
    server, client = shutil.which("redis-server"), shutil.which("redis-cli")
    if not (server and client):
        pytest.fail("redis-server and redis-cli are missing: apt-get install -y redis-server")
    with tempfile.TemporaryDirectory() as place:  # and not tmp_path: a socket's path may have 107 bytes only
        socket = f"{place}/redis.sock"
        arguments = [*SERVICES["redis"]["command"][1:], "--port", "0", "--unixsocket", socket, "--dir", place]
        process = subprocess.Popen([server, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if "accept connections" in line:
                    break
            ask = [client, "-s", socket]
            assert "PONG" in subprocess.check_output([*ask, "ping"], text=True)
            policy = subprocess.check_output([*ask, "config", "get", "maxmemory*"], text=True)
            assert "volatile-lru" in policy
            assert str(256 * 1024 * 1024) in policy
        finally:
            process.terminate()
            process.wait(20)


# --- Qdrant's health check is a line of bash: run it


def qdrant_probe(port: int) -> int:
    test = SERVICES["qdrant"]["healthcheck"]["test"]
    assert test[:3] == ["CMD", "bash", "-c"]
    script = filled(test[3], {}).replace("/6333", f"/{port}")
    return subprocess.run(["bash", "-c", script], capture_output=True, timeout=10).returncode


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False), (404, False)])
def test_qdrants_health_check_reads_the_status_line(status: int, healthy: bool) -> None:
    """200 from /readyz is health; any other answer, and no answer, is not."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        assert (qdrant_probe(server.server_address[1]) == 0) is healthy
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert asked == ["/readyz"]
    assert qdrant_probe(server.server_address[1]) != 0
