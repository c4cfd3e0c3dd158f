"""Imported first by every stage: it runs the code of its own checkout, and reads its configuration.

An experiment of `dvc exp run --queue`, a second clone and a git worktree have code of their own, and may
share an environment into which another checkout's was installed.
"""

import argparse
import contextlib
import os
import shutil
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
# bytecode beside the sources would count as a change of what a profile depends on
sys.dont_write_bytecode = True
os.environ["PYTHONDONTWRITEBYTECODE"] = "1"

import asm  # noqa: E402
from asm.basics.code import check_code  # noqa: E402
from asm.basics.errors import InputError  # noqa: E402
from asm.basics.files import exclusive  # noqa: E402
from asm.basics.yaml import read_yaml  # noqa: E402

if Path(asm.__file__).resolve().parents[1] != ROOT:
    sys.exit(f"error: {asm.__file__}: not this checkout's, {ROOT}; run the script in a process of its own")


def arguments(doc: str, *names: str) -> argparse.Namespace:
    """The words of the command line: `--name` is a path, `name` a word in its place."""
    parser = argparse.ArgumentParser(description=doc)
    for name in names:
        parser.add_argument(name, **({"type": Path, "required": True} if name.startswith("--") else {}))
    return parser.parse_args()


def configuration(path: Path, stage: str) -> dict[str, Any]:
    """The stage instance's configuration. Raises InputError if it was written for other code than this."""
    content = read_yaml(path)
    check_code(path, stage, content)
    return content


def release(work: Path) -> None:
    """Remove what an earlier stage kept to go on from. When DVC starts a stage it holds the results of those
    before; until then they could be lost, and would be made again from there."""
    if work.is_dir():
        with contextlib.suppress(InputError), exclusive(work):  # unless another process is at it
            gone = work.with_name(f"{work.name}.gone")
            shutil.rmtree(gone, ignore_errors=True)
            work.rename(gone)  # at once: half of it could not be gone on from
            shutil.rmtree(gone, ignore_errors=True)
