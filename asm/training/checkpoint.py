"""Checkpoints that survive `kill -9` and a full disk, and are not trusted where they are damaged."""

import zipfile
from pathlib import Path
from typing import Any

import torch

from asm.basics.files import atomic_write


def save(state: dict[str, Any], path: Path) -> None:
    """Write atomically: the file is either the old one or the whole new one.

    Raises:
        InputError: the disk is full or not writable; the checkpoint before stays as it was.
    """
    with atomic_write(path) as partial, open(partial, "wb") as handle:
        torch.save(state, handle)


def load(path: Path, fingerprint: dict[str, str]) -> dict[str, Any] | None:
    """The state saved at `path`, its tensors on the CPU, or None if there is none, it is damaged or belongs
    to another configuration or data."""
    if not path.is_file():
        return None
    try:
        with zipfile.ZipFile(path) as archive:  # torch itself does not look at the check sums
            if damaged := archive.testzip():
                raise zipfile.BadZipFile(f"{damaged}: wrong check sum")
        state = torch.load(path, map_location="cpu", weights_only=True)
        found = state.get("fingerprint")
    except Exception as error:  # any damage means: begin again
        print(f"{path}: unreadable checkpoint ignored ({type(error).__name__}), starting from epoch 1")
        return None
    if found != fingerprint:
        print(f"{path}: checkpoint of another configuration or data ignored, starting from epoch 1")
        return None
    return state
