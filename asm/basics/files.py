"""Files of our own making, whole or not at all, and folders that one process works in at a time."""

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_integer_dtype, is_numeric_dtype

from asm.basics.errors import InputError


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Gives the path to write to. What is there at the end takes the place of `path`, whose folder is made; a
    kill, a full disk or an error leaves what was there before.

    Raises:
        InputError: the disk is full or not writable.
    """
    partial = path.with_name(f"{path.stem}.partial{path.suffix}")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield partial
            with open(partial, "rb") as handle:
                os.fsync(handle.fileno())
            partial.replace(path)
        except Exception:
            with contextlib.suppress(OSError):
                partial.unlink()
            raise


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """To wrap nothing but the writing of `path`.

    Raises:
        InputError: the disk is full or not writable.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:  # torch reports a failed write as a RuntimeError
        folder = next(parent for parent in path.absolute().parents if parent.is_dir())
        free = shutil.disk_usage(folder).free
        raise InputError(
            f"{path}: cannot be written ({error}); {free / 1e6:.0f} MB are free there. "
            "Free some space and start again: what was finished before is kept"
        ) from error


def mapped(path: Path, shape: tuple[int, ...]) -> np.memmap:
    """A new npy file, uint8 of `shape`, mapped for writing.

    Raises:
        InputError: there is no space for it. Noticed later, it would end the process without a word (SIGBUS).
    """
    with writing(path):
        try:
            array = np.lib.format.open_memmap(path, "w+", np.uint8, shape)
            if hasattr(os, "posix_fallocate"):  # not on macOS
                with open(path, "rb+") as handle:
                    os.posix_fallocate(handle.fileno(), 0, path.stat().st_size)
        except OSError:
            path.unlink(missing_ok=True)
            raise
        return array


@contextlib.contextmanager
def exclusive(directory: Path) -> Iterator[None]:
    """Hold `directory` for this process; the lock falls with the process, however it ends.

    Raises:
        InputError: another process holds it, or it cannot be made.
    """
    with writing(directory / "lock"):
        directory.mkdir(parents=True, exist_ok=True)
        handle = open(directory / "lock", "a+", encoding="utf-8")  # noqa: SIM115
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            handle.seek(0)
            raise InputError(
                f"{directory}: process {handle.read().strip() or '?'} is at work on this; "
                "wait for it, or stop it and start again (it goes on from its checkpoint)"
            ) from None
        with writing(directory / "lock"):
            handle.truncate(0)
            handle.write(str(os.getpid()))
            handle.flush()
        yield


def read_json(path: Path, remedy: str) -> dict[str, Any]:
    """A mapping that was written as JSON. Raises InputError, which ends with `remedy`, for anything else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path}: not found; {remedy}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read ({error}); {remedy}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected a mapping, found {type(content).__name__}; {remedy}")
    return content


def read_csv(path: Path, columns: dict[str, type], remedy: str) -> pd.DataFrame:
    """A table that was written with these columns, among others: int, float or str (names such as "007" and
    "NA" are names). Raises InputError, which ends with `remedy`, for anything else and if its end is missing.
    """
    text = [name for name, kind in columns.items() if kind is str]
    try:
        with open(path, "rb") as handle:
            whole_lines = handle.seek(0, os.SEEK_END) > 0 and handle.seek(-1, os.SEEK_END) >= 0
            whole_lines = whole_lines and handle.read(1) == b"\n"
        table = pd.read_csv(path, dtype=dict.fromkeys(text, str), keep_default_na=not text, encoding="utf-8")
    except FileNotFoundError as error:
        raise InputError(f"{path}: not found; {remedy}") from error
    except (OSError, ValueError, OverflowError) as error:
        fault = str(error).strip()  # pandas ends some with a line end
        raise InputError(f"{path}: cannot be read ({fault}); {remedy}") from error
    if not whole_lines:
        raise InputError(f"{path}: its end is missing; {remedy}")
    for name, kind in columns.items():
        if name not in table:
            raise InputError(f"{path}: the column '{name}' is missing; {remedy}")
        if kind is not str and not (is_integer_dtype if kind is int else is_numeric_dtype)(table[name]):
            raise InputError(f"{path}: the column '{name}' holds something else than numbers; {remedy}")
    return table
