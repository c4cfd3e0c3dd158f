"""Files of our own making, whole or not at all, and folders that one process works in at a time."""

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout
from pandas.api.types import is_integer_dtype, is_numeric_dtype

from asm.basics.errors import InputError


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yields a temporary path, which replaces `path` at the end; its folder is made. After a kill,
    a full disk or an error `path` is what it was before.

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
    """Turns errors of writing `path` into messages; wrap nothing but the writing in it.

    Raises:
        InputError: the disk is full, or the user may not write there.
    """
    try:
        yield
    except PermissionError as error:
        raise denied(error, path) from error
    except (OSError, RuntimeError) as error:  # torch reports a failed write as a RuntimeError
        folder = next(parent for parent in path.absolute().parents if parent.is_dir())
        free = shutil.disk_usage(folder).free
        raise InputError(
            f"{path}: cannot be written ({error}); {free / 1e6:.0f} MB are free there. "
            "Free some space and start again: what was finished before is kept"
        ) from error


def denied(error: PermissionError, path: Path) -> InputError:
    """What to tell a user who may not write or read `path`, or the file that the error names."""
    path = Path(error.filename or path).absolute()
    there = next(each for each in (path, *path.parents) if os.path.lexists(each))
    try:
        owner = f"it belongs to the user '{there.owner()}'"
    except (KeyError, OSError):  # a number without a name
        owner = "it is another user's"
    return InputError(f"{path}: {error.strerror or error}; {owner}. Work in a clone and folders of your own")


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
def exclusive(directory: Path, lock: Path | None = None, what: str = "a run") -> Iterator[None]:
    """Hold `directory` for this process; the lock falls with the process, however it ends.

    Args:
        directory: what is worked in; the message to others names it.
        lock: the file to lock, in which the holder tells its process and time; default: `directory`/lock.
        what: how the holder is called there.

    Raises:
        InputError: another process holds it, or it cannot be made.
    """
    lock = lock or directory / "lock"
    # a file whose existence is the lock would outlive a killed process, hence no soft lock
    held = FileLock(lock, timeout=0, fallback_to_soft=False)
    with writing(lock):
        lock.parent.mkdir(parents=True, exist_ok=True)
        try:
            held.acquire()
        except Timeout:
            raise InputError(
                f"{directory}: {lock.read_text(encoding='utf-8') or 'another process'} is at work here; "
                "wait for it, or stop it and start again: what it has finished is kept"
            ) from None
    try:
        with writing(lock):
            since = f"{datetime.now():%Y-%m-%d %H:%M}"
            lock.write_text(f"{what} (process {os.getpid()}, since {since})", encoding="utf-8")
        yield
    finally:
        held.release()


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
