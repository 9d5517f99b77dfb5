"""Getting the peers from their package registries, each into a place of its own under ``.bench/`` (ignored by git).

LiteLLM is pinned to 1.106: release 1.107.0 is known to be compromised, so a newer one must never slip in. Packages'
install scripts are not run. What cannot be had raises `Unavailable` with a plain reason, and the bench goes on.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

LITELLM = "1.106"
PORTKEY = "1.15"
MLFLOW = "3"
_INSTALL_TIMEOUT = 600


class Unavailable(Exception):
    """A subject that cannot be measured here; the message says why."""


def _run(argv: list[str], cwd: Path) -> str:
    try:
        done = subprocess.run(
            argv, cwd=cwd, capture_output=True, text=True, timeout=_INSTALL_TIMEOUT, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise Unavailable(f"{argv[0]}: {problem}") from problem
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no output"]
        raise Unavailable(f"`{' '.join(argv[:3])} ...` ended with {done.returncode}: {lines[-1][:300]}")
    return done.stdout + done.stderr


def _installed(venv: Path, package: str) -> str:
    for found in venv.glob(f"lib/python3*/site-packages/{package}-*.dist-info"):
        return found.name.removeprefix(f"{package}-").removesuffix(".dist-info")
    return ""


def python_package(state: Path, package: str, extra: str, series: str, *, bare: Sequence[str] | None = None) -> str:
    """Install `package[extra]` of release series `series` into ``state/package``; returns the version. `bare`: what it
    needs of what it says it depends on, for one that would draw in an inference engine."""
    venv = state / package
    if not _installed(venv, package).startswith(f"{series}."):
        shutil.rmtree(venv, ignore_errors=True)
        _run([sys.executable, "-m", "venv", str(venv)], state)
        wanted = f"{package}{extra}=={series}.*"
        print(f"installing {wanted} ...", flush=True)
        pip = [str(venv / "bin" / "python"), "-m", "pip", "install", "-q"]
        _run([*pip, wanted] if bare is None else [*pip, "--no-deps", wanted, *bare], state)
    version = _installed(venv, package)
    if not version.startswith(f"{series}."):
        raise Unavailable(f"{package} is {version or 'missing'} after installing {series}.*")
    return version


def litellm(state: Path) -> str:
    return python_package(state, "litellm", "[proxy]", LITELLM)


def mlflow(state: Path) -> str:
    return python_package(state, "mlflow", "[genai]", MLFLOW)


def portkey_entry(state: Path) -> Path:
    return state / "portkey" / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"


def portkey(state: Path) -> str:
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise Unavailable("needs node and npm")
    home = state / "portkey"
    if not portkey_entry(state).exists():
        home.mkdir(parents=True, exist_ok=True)
        print(f"installing @portkey-ai/gateway@{PORTKEY} ...", flush=True)
        flags = ["--ignore-scripts", "--no-audit", "--no-fund", "--prefix", "."]
        _run(["npm", "install", *flags, f"@portkey-ai/gateway@{PORTKEY}"], home)
    package = (portkey_entry(state).parent.parent / "package.json").read_text()
    found = re.search(r'"version":\s*"([^"]+)"', package)
    node = _run(["node", "--version"], state).strip()
    return f"{found[1] if found else '?'} on Node {node}"


def nginx(state: Path) -> str:
    """nginx is taken only where the machine has it already: the bench installs nothing into the system."""
    if shutil.which("nginx") is None:
        raise Unavailable("not installed (`apt-get install nginx-light` gets it)")
    return _run(["nginx", "-v"], state).strip().removeprefix("nginx version: nginx/")
