"""A profile's project for one driver at a time, with a whole dvc.lock."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any

import psutil
from dvc.schema import COMPILED_LOCKFILE_SCHEMA
from dvc.utils.serialize import ParseError, parse_yaml
from ruamel.yaml import YAMLError
from voluptuous import Invalid

from asm.basics.errors import InputError
from asm.basics.files import exclusive


@contextlib.contextmanager
def taken(folder: Path) -> Iterator[None]:
    """The profile in `folder` for this driver; until the end of the context, or of this process.

    Raises:
        InputError: another one, or DVC, is at work there.
    """
    with exclusive(folder, folder / ".dvc" / "tmp" / "driver", "`make repro`"):
        if busy := _dvc_at_work(folder / ".dvc" / "tmp" / "rwlock"):
            raise InputError(
                f"{folder}: {busy[0]} is at work here; wait for it, or stop it: what it has finished is kept"
            )
        yield


def _dvc_at_work(path: Path) -> list[str]:
    """DVC's processes, by the file in which they name themselves; what a kill left in it goes with it."""
    found = set()
    with suppress(ValueError, KeyError, TypeError, AttributeError):  # written by half
        content = json.loads(path.read_bytes() if path.is_file() else "{}")
        entries = [*content.get("write", {}).values(), *chain(*content.get("read", {}).values())]
        for pid, command in {(int(entry["pid"]), entry["cmd"]) for entry in entries}:
            with suppress(psutil.Error):
                process = psutil.Process(pid)
                since = datetime.fromtimestamp(process.create_time())
                if any("dvc" in word for word in process.cmdline()):  # and no later one of this number
                    found.add(f"`{command}` (process {pid}, since {since:%Y-%m-%d %H:%M})")
    if not found:
        path.unlink(missing_ok=True)
    return sorted(found)


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


def load(text: bytes) -> dict[str, Any]:
    """The content of a dvc.lock, empty for none. Raises ValueError if it is not whole."""
    try:
        return COMPILED_LOCKFILE_SCHEMA(parse_yaml(text, "dvc.lock")) if text else {}
    except (ParseError, Invalid, YAMLError) as error:
        raise ValueError(str(error)) from error


def _is_whole(text: bytes) -> bool:
    try:
        return bool(load(text))
    except ValueError:
        return False
