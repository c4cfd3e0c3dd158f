"""Checkpoints that survive `kill -9` and a full disk, and a lock that keeps two runs apart."""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from asm.errors import InputError


@contextlib.contextmanager
def exclusive(directory: Path) -> Iterator[None]:
    """Hold `directory` for this process; the lock falls with the process, however it ends.

    Raises:
        InputError: another process holds it.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with open(directory / "lock", "a+", encoding="utf-8") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            handle.seek(0)
            raise InputError(
                f"{directory}: process {handle.read().strip() or '?'} is at work on this; "
                "wait for it, or stop it and start again (it goes on from its checkpoint)"
            ) from None
        handle.truncate(0)
        handle.write(str(os.getpid()))
        handle.flush()
        yield


def save(state: dict[str, Any], path: Path) -> None:
    """Write atomically: the file is either the old one or the whole new one.

    Raises:
        InputError: the disk is full or not writable; the checkpoint before stays as it was.
    """
    temporary = path.with_suffix(".tmp")
    try:
        with open(temporary, "wb") as handle:
            torch.save(state, handle)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:  # torch reports a failed write as a RuntimeError
        with contextlib.suppress(OSError):
            temporary.unlink()
        free = shutil.disk_usage(path.parent).free
        raise InputError(
            f"{path}: cannot write the checkpoint ({error}); {free / 1e6:.0f} MB are free there. "
            "Free some space and start again: training goes on from the last whole epoch"
        ) from error


def load(path: Path, fingerprint: str) -> dict[str, Any] | None:
    """The state saved at `path`, its tensors on the CPU, or None if there is none or it belongs to another
    configuration or data."""
    if not path.is_file():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # any damage means: begin again
        print(f"{path}: unreadable checkpoint ignored ({type(error).__name__}), starting from epoch 1")
        return None
    if state.get("fingerprint") != fingerprint:
        print(f"{path}: checkpoint of another configuration or data ignored, starting from epoch 1")
        return None
    return state
