"""The lock file of `tidegate router calibrate`: which encoder and which examples a route's thresholds were looked at
with, so that a later change of either is noticed and not just lived with."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Literal

import msgspec

from routing.config import IntentsConfig
from routing.examples import Examples
from routing.store import FITTING, head_key

_LARGEST = 1024 * 1024


class Locked(msgspec.Struct, frozen=True, kw_only=True):
    """One route. `examples`: digest of examples, encoder and way of fitting. The shares are of held-out examples."""

    encoder: str
    examples: str
    fitting: int
    kind: str
    intents: int
    rows: int
    below: float
    margin: float
    accuracy: float | None
    false_refusals: float | None


class Lock(msgspec.Struct, frozen=True, kw_only=True):
    version: Literal[1] = 1
    routes: dict[str, Locked] = {}


def lock_path(config: Path) -> Path:
    """`tidegate.yaml` -> `tidegate.router.lock` beside it."""
    return config.with_name(f"{config.stem}.router.lock")


def read_lock(path: Path) -> Lock:
    """An empty one if there is none. Raises ValueError for a file that is no lock, OSError."""
    try:
        if path.stat().st_size > _LARGEST:
            raise ValueError(f"{path} is larger than {_LARGEST} bytes")
        return msgspec.json.decode(path.read_bytes(), type=Lock)
    except FileNotFoundError:
        return Lock()
    except msgspec.MsgspecError as error:
        raise ValueError(f"{path} is not a lock file ({error}); delete it and calibrate again") from None


def write_lock(path: Path, lock: Lock) -> None:
    """Written aside and renamed. Raises OSError."""
    data = msgspec.json.format(msgspec.json.encode(lock, order="sorted"), indent=2) + b"\n"
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".router-lock-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def stale(locked: Locked | None, config: IntentsConfig, examples: Examples, encoder: str) -> str:
    """Why a route should be calibrated again; empty if nothing changed."""
    if locked is None:
        return "was never calibrated"
    if locked.encoder != encoder:
        return f"was calibrated with the encoder {locked.encoder}, and this is {encoder}"
    if locked.fitting != FITTING:
        return "was calibrated by another version"
    if locked.examples != head_key(examples, encoder):
        return "has other examples than it was calibrated with"
    if (locked.below, locked.margin) != (config.below, config.margin):
        return "has other thresholds than it was calibrated with"
    return ""
