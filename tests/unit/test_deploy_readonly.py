"""`deploy/readonly_check.py`: the container's promises as a sandbox, shown to notice each way of breaking them.

The programs run in it here are small servers made for the purpose; the gateway's own run is in test_deploy_start.py.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"

SERVER = """\
    #!{python}
    import http.server, os, pathlib, signal, socket, sys
    {before}
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            {on_get}
            self.send_response({ready} if self.path == "/readyz" else 200)
            self.send_header("content-length", "0")
            self.end_headers()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 8080), Handler)
    signal.signal(signal.SIGTERM, {on_term})
    server.serve_forever()
"""

Check = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def check(tmp_path_factory: pytest.TempPathFactory) -> Check:
    """Writes a `tidegate` with the given parts into an environment of its own and runs the check over it."""
    env = tmp_path_factory.mktemp("image") / "env"
    venv.create(env, with_pip=False)
    config = env.parent / "tidegate.yaml"
    config.write_text("version: 1\n")

    def run(
        *arguments: str,
        before: str = "pass",
        on_get: str = "pass",
        ready: int = 200,
        on_term: str = "lambda *_: os._exit(0)",
    ) -> subprocess.CompletedProcess[str]:
        parts = {"before": before, "on_get": on_get, "ready": ready, "on_term": on_term}
        program = env / "bin/tidegate"
        program.write_text(textwrap.dedent(SERVER).format(python=env / "bin/python", **parts))
        program.chmod(0o755)
        command = [sys.executable, DEPLOY / "readonly_check.py", "--env", env, "--config", config, *arguments]
        return subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=60)

    return run


def test_a_well_behaved_server_passes(check: Check) -> None:
    """It answers, writes where it may, ends on SIGTERM: exit code 0 and a line for each promise."""
    writes = "[pathlib.Path(p, 'x').write_text('x') for p in ('/tmp', '/var/lib/tidegate', os.environ['HOME'])]"
    done = check(before=writes)
    assert done.returncode == 0, done.stderr
    assert "held" in done.stdout
    assert "health check: 0" in done.stdout


def test_what_runs_inside_has_no_rights(check: Check) -> None:
    """No capability in any set, no new privileges, and not the host's root."""
    rights = (
        "status = dict(line.split(':\\t', 1) for line in open('/proc/self/status').read().splitlines() if ':\\t' in line); "
        "assert {status[k] for k in ('CapEff', 'CapPrm', 'CapBnd', 'CapAmb')} == {'0' * 16}, status; "
        "assert status['NoNewPrivs'] == '1', status; "
        "assert os.getuid() == 10001 or open('/proc/self/uid_map').read().split()[1] != '0'"
    )
    done = check(before=rights)
    assert done.returncode == 0, done.stderr


def test_what_runs_inside_has_no_network(check: Check) -> None:
    """Nothing but loopback can be reached, so a download at start fails here as it would in production."""
    reach = (
        "s = socket.socket(); s.settimeout(2); "
        "assert s.connect_ex(('192.0.2.1', 443)) == 101, 'the network is reachable'"  # ENETUNREACH
    )
    done = check(before=reach)
    assert done.returncode == 0, done.stderr


def test_the_environment_is_the_images(check: Check) -> None:
    """ENV comes from the Dockerfile, and nothing of the caller's environment leaks in."""
    look = (
        "assert os.environ['TIDEGATE_MODELS_DIR'] == '/opt/tidegate/models' and os.environ['EXTRA'] == '1' "
        "and 'VIRTUAL_ENV' not in os.environ and 'USER' not in os.environ, os.environ"
    )
    done = check("--set", "EXTRA=1", before=look)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"before": "pathlib.Path('/usr/cache').mkdir()"}, "ended with exit code 1 before /livez"),
        ({"on_get": "os.system('touch /etc/x')"}, "the gateway said"),
        ({"ready": 503}, "/readyz did not answer 200"),
        ({"on_term": "signal.SIG_IGN"}, "SIGTERM did not end it"),
        ({"on_term": "lambda *_: os._exit(3)"}, "exit code 3"),
        ({"on_term": "signal.SIG_DFL"}, "exit code -15"),
    ],
    ids=["writes-at-start", "writes-later", "never-ready", "ignores-term", "fails-at-the-end", "killed-not-drained"],
)
def test_each_broken_promise_is_named(check: Check, parts: dict[str, object], said: str) -> None:
    """Exit code 1, and the last line says which promise did not hold."""
    done = check("--start-timeout", "1.5", "--stop-timeout", "1", **parts)
    assert done.returncode == 1
    assert said in done.stderr.strip().splitlines()[-1], done.stderr
