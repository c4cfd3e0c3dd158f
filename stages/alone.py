"""A profile's project for one driver at a time, with a whole dvc.lock."""

import fcntl
import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any

import psutil
import yaml
from dvc.schema import COMPILED_LOCKFILE_SCHEMA
from voluptuous import Invalid

from asm.basics.errors import InputError


def take(folder: Path, goal: str) -> Any:
    """The lock on the profile in `folder`, for `make <goal>`; held until this process ends.

    Raises:
        InputError: another one, or DVC, is at work there.
    """
    path = folder / ".dvc" / "tmp" / "alone"
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = open(path, "a+", encoding="utf-8")  # noqa: SIM115
    remedy = "wait for it, or stop it: what it has finished is kept"
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        handle.seek(0)
        raise InputError(f"{folder}: {handle.read()} is at work on this profile; {remedy}") from None
    if busy := _dvc_at_work(folder / ".dvc" / "tmp" / "rwlock"):
        raise InputError(f"{folder}: {busy[0]} is at work; {remedy}")
    handle.truncate(0)
    handle.write(f"`make {goal}` (process {os.getpid()}, since {_when(time.time())})")
    handle.flush()
    return handle


def _dvc_at_work(path: Path) -> list[str]:
    """DVC's processes, by the file in which they name themselves; what a kill left in it goes with it."""
    found = set()
    with suppress(ValueError, KeyError, TypeError, AttributeError):  # written by half
        content = json.loads(path.read_bytes() if path.is_file() else "{}")
        entries = [*content.get("write", {}).values(), *chain(*content.get("read", {}).values())]
        for pid, command in {(int(entry["pid"]), entry["cmd"]) for entry in entries}:
            with suppress(psutil.Error):
                process = psutil.Process(pid)
                if any("dvc" in word for word in process.cmdline()):  # and no later one of this number
                    found.add(f"`{command}` (process {pid}, since {_when(process.create_time())})")
    if not found:
        path.unlink(missing_ok=True)
    return sorted(found)


def _when(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds):%Y-%m-%d %H:%M}"


def mend(folder: Path) -> None:
    """Take a dvc.lock that a kill left half-written back from Git's index, where DVC puts each whole one, or
    from the last commit. What was finished since comes from DVC's run-cache, without being run."""
    path = folder / "dvc.lock"
    if not path.exists() or _is_whole(path.read_bytes()):
        return
    for version in (":./dvc.lock", "HEAD:./dvc.lock"):
        found = subprocess.run(["git", "show", version], cwd=folder, capture_output=True)
        if found.returncode == 0 and _is_whole(found.stdout):
            path.write_bytes(found.stdout)
            break
    else:
        path.unlink()
    print(
        f"{path}: was damaged (DVC was killed while it wrote it); taken back from Git. What DVC has finished "
        "since comes from its run-cache",
        file=sys.stderr,
    )


def _is_whole(text: bytes) -> bool:
    try:
        COMPILED_LOCKFILE_SCHEMA(yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    except (ValueError, yaml.YAMLError, Invalid):
        return False
    return True
