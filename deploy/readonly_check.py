#!/usr/bin/env python3
"""Runs the gateway under the image's promises, without a container engine, and says whether they hold.

    python -m venv env && env/bin/pip install dist/tidegate-*.whl
    python deploy/readonly_check.py --env env --config deploy/examples/tidegate.laptop.yaml

The Dockerfile's entrypoint, environment and health check are read from the Dockerfile and run in private mount, process
and network namespaces: a root where only /tmp, /var/lib/tidegate and /dev/shm can be written, uid 10001, no capability, no
new privileges, and no network but loopback. So it also proves that nothing is downloaded at start. Checked: the tree is
really read-only; /livez, /readyz and the health check answer; nothing complains of a file it may not write; SIGTERM ends
it with exit code 0.

Not proved: that the image builds, and what its base image holds. The interpreter and libraries here are this machine's.
Needs Linux and util-linux (`unshare`, `mount`); as root, or as any user where user namespaces are allowed (then the
process keeps that user's id instead of 10001). Exit code 0: all held. 1: one did not, and the last line says which.
"""
# ruff: noqa: S108, S603, S607, T201

from __future__ import annotations

import argparse
import ctypes
import dataclasses
import errno
import fcntl
import http.client
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from dockerfile import environment, exec_form, last_stage

HERE = Path(__file__).resolve().parent
UID = 10001
CONFIG = "/etc/tidegate/tidegate.yaml"
DATA = "/var/lib/tidegate"
COMPLAINTS = re.compile(r"Read-only file system|Permission denied|Errno 30\b|Errno 13\b")
SYSTEM = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/sys"]
ETC = ["/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/ssl", "/etc/localtime", "/etc/nsswitch.conf"]
DEVICES = ["null", "zero", "full", "random", "urandom"]
PR_SET_NO_NEW_PRIVS, PR_CAPBSET_DROP = 38, 24
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1


class Broken(Exception):
    """A promise did not hold; the message says which."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """What the outer half tells the inner one, as JSON."""

    binds: list[str]
    files: dict[str, str]
    """Place inside to content."""
    argv: list[str]
    health: list[str]
    environ: dict[str, str]
    port: int
    start: float
    stop: float
    root: bool


# --- outside: find what to lay into the new root, and enter the namespaces


def one_file(pair: str) -> tuple[str, str]:
    place, source = pair.split("=", 1)
    return place, Path(source).read_text()


def outside(args: argparse.Namespace) -> int:
    env = args.env.absolute()
    ask = "import sys, json; print(json.dumps([sys.base_prefix, sys.base_exec_prefix]))"
    prefixes = json.loads(subprocess.check_output([env / "bin/python", "-I", "-c", ask], text=True))
    stage = last_stage((HERE / "Dockerfile").read_text())
    plan = Plan(
        binds=list(dict.fromkeys([*prefixes, str(env), *map(str, args.bind)])),
        files={CONFIG: args.config.read_text(), **dict(one_file(pair) for pair in args.file)},
        argv=[str(env / "bin" / exec_form(stage, "ENTRYPOINT")[0]), *exec_form(stage, "CMD")],
        health=exec_form(stage, "HEALTHCHECK"),
        environ={
            **environment(stage),
            "PATH": f"{env}/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "TIDEGATE_HEALTH_PORT": str(args.port),
            **dict(pair.split("=", 1) for pair in args.set),
        },
        port=args.port,
        start=args.start_timeout,
        stop=args.stop_timeout,
        root=os.geteuid() == 0,
    )
    user = [] if plan.root else ["--user", "--map-root-user"]
    command = ["unshare", *user, "--mount", "--net", "--pid", "--fork", "--kill-child", "--propagation", "private"]
    inner = [sys.executable, str(Path(__file__).resolve()), "--inside"]
    done = subprocess.run([*command, *inner], input=json.dumps(dataclasses.asdict(plan)), text=True, check=False)
    return done.returncode


# --- inside: build the root, drop everything, run, ask, stop


def mount(*arguments: str) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Broken(f"mount {' '.join(arguments)}: {done.stderr.strip()}")


def bind(source: str, root: Path, read_only: bool, recursive: bool) -> None:
    """Lays `source` at the same place under `root`; links stay links, what is missing is left out."""
    target = root / source.lstrip("/")
    if os.path.lexists(target) or not os.path.lexists(source):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if os.path.islink(source):
        target.symlink_to(os.readlink(source))
        return
    if os.path.isdir(source):
        target.mkdir()
    else:
        target.touch()
    mount("--rbind" if recursive else "--bind", source, str(target))
    if read_only:
        mount("-o", "remount,bind,ro", str(target))


def build_root(plan: Plan, root: Path) -> None:
    recursive = not plan.root  # a user namespace may not uncover what is mounted below
    mount("-t", "tmpfs", "-o", "mode=755", "tidegate", str(root))
    for place, options in {"/tmp": "mode=1777,size=64m,noexec", DATA: "mode=750", "/dev/shm": "mode=1777"}.items():
        target = root / place[1:]
        target.mkdir(parents=True, exist_ok=True)
        mount("-t", "tmpfs", "-o", f"{options},nosuid,nodev", "tidegate", str(target))
    for path in [*SYSTEM, *ETC, *plan.binds]:
        bind(path, root, read_only=True, recursive=recursive)
    for device in DEVICES:
        bind(f"/dev/{device}", root, read_only=False, recursive=False)
    for place, content in plan.files.items():
        (root / place[1:]).parent.mkdir(parents=True, exist_ok=True)
        (root / place[1:]).write_text(content)
    (root / "etc/passwd").write_text(f"tidegate:x:{UID}:{UID}::{DATA}:/usr/sbin/nologin\n")
    (root / "etc/group").write_text(f"tidegate:x:{UID}:\n")
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n")
    if plan.root:
        os.chown(root / DATA[1:], UID, UID)
    (root / "proc").mkdir()
    mount("-t", "proc", "proc", str(root / "proc"))
    mount("-o", "remount,bind,ro", str(root))


def loopback_up() -> None:
    with socket.socket() as sock:
        request = struct.pack("16sh", b"lo", 0)
        flags = struct.unpack("16sh", fcntl.ioctl(sock, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sh", b"lo", flags | IFF_UP))


def drop(root: bool) -> None:
    """No new privileges, an empty bounding set, and the image's uid: nothing executed from here has a capability."""
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in range(64):
        if libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) and ctypes.get_errno() != errno.EINVAL:
            raise Broken(f"capability {capability} could not be dropped")
    if root:
        os.setgroups([])
        os.setresgid(UID, UID, UID)
        os.setresuid(UID, UID, UID)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise Broken("no_new_privs could not be set")


def tree_is_read_only(plan: Plan) -> None:
    for place in ["/", "/etc/tidegate", "/usr", *plan.binds]:
        try:
            Path(place, "probe").write_text("x")
        except OSError as error:
            if error.errno in (errno.EROFS, errno.EACCES):
                continue
            raise
        raise Broken(f"{place} can be written")
    for place in ["/tmp", DATA]:
        Path(place, "probe").write_text("x")
        Path(place, "probe").unlink()


def get(port: int, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=3)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


def wait_for(process: subprocess.Popen[bytes], port: int, path: str, seconds: float) -> float:
    """Seconds until `path` answered 200. Raises Broken when the process ends first or the time is up."""
    began = time.monotonic()
    seen = "no connection"
    while time.monotonic() - began < seconds:
        if process.poll() is not None:
            raise Broken(f"the gateway ended with exit code {process.returncode} before {path} answered")
        try:
            status = get(port, path)
            if status == 200:
                return time.monotonic() - began
            seen = f"status {status}"
        except OSError:
            pass
        time.sleep(0.1)
    raise Broken(f"{path} did not answer 200 in {seconds:.0f} s: {seen}")


def ask(plan: Plan, process: subprocess.Popen[bytes]) -> None:
    print(f"/livez after {wait_for(process, plan.port, '/livez', plan.start):.1f} s")
    print(f"/readyz after {wait_for(process, plan.port, '/readyz', plan.start):.1f} s more")
    health = subprocess.run(plan.health, env=plan.environ, timeout=10, check=False)
    if health.returncode:
        raise Broken(f"the image's health check exits with {health.returncode}")
    print("health check: 0")
    process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    try:
        code = process.wait(plan.stop)
    except subprocess.TimeoutExpired:
        raise Broken(f"SIGTERM did not end it in {plan.stop:.0f} s") from None
    if code:
        raise Broken(f"SIGTERM ended it with exit code {code}, not 0")
    print(f"ended {time.monotonic() - began:.1f} s after SIGTERM")


def said(output: Path) -> None:
    complaint = COMPLAINTS.search(output.read_text(errors="replace"))
    if complaint:
        raise Broken(f"the gateway said: {complaint[0]}")


def inside() -> None:
    plan = Plan(**json.load(sys.stdin))
    root = Path(tempfile.mkdtemp())
    build_root(plan, root)
    loopback_up()
    os.chroot(root)
    os.chdir(DATA)
    drop(plan.root)
    tree_is_read_only(plan)
    log = Path("/tmp/output")
    with log.open("wb") as output:
        process = subprocess.Popen(plan.argv, env=plan.environ, stdout=output, stderr=output)
        try:
            ask(plan, process)
            said(log)
        except Broken:
            print(log.read_text(errors="replace"), file=sys.stderr)
            raise
        finally:
            process.kill()
            process.wait()
    print("held: read-only root, uid without capabilities, no network, healthy, clean end")


def main() -> int:
    if sys.argv[1:] == ["--inside"]:
        try:
            inside()
        except Broken as broken:
            print(f"broken: {broken}", file=sys.stderr)
            return 1
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", type=Path, required=True, help="a virtual environment with the wheel installed")
    parser.add_argument("--config", type=Path, required=True, help=f"becomes {CONFIG}")
    parser.add_argument("--file", action="append", default=[], metavar="PLACE=PATH", help="another file, laid at PLACE")
    parser.add_argument("--bind", type=Path, action="append", default=[], help="also visible inside, read-only")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="an environment variable")
    parser.add_argument("--port", type=int, default=8080, help="where the config listens")
    parser.add_argument("--start-timeout", type=float, default=60)
    parser.add_argument("--stop-timeout", type=float, default=30)
    return outside(parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
