"""The folder of a profile's DVC project: `cd "$(python driver/project.py NAME)" && dvc repro`.

The default profile's is the root. Any other's is profiles/<name>/: profile.yaml is the user's; what is
lacking beside it (cells.yaml, dvc.yaml with the stages of the root's, DVC's own files) is added.
"""

import argparse
import contextlib
import re
import signal
import sys
from pathlib import Path

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it without a traceback
sys.path.append(str(Path(__file__).resolve().parents[1] / "stages"))
import bootstrap

from asm.basics.errors import InputError, reported

NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
# the paths of dvc.yaml, as seen from profiles/<name>/
VARS = """\
vars:
  - home: ../..
    params: ../../params.yaml
    shown: configs/params.yaml # DVC cannot read a past version of a file outside
    profile: profile.yaml
    instances: cells.yaml
  - cells.yaml
"""
CONFIG = "[core]\n    analytics = false\n    check_update = false\n    autostage = true\n"
FILES = {
    ".dvc/config": CONFIG,
    ".dvc/.gitignore": "/config.local\n/tmp\n/cache\n",
    ".dvcignore": "__pycache__/\n",
    ".gitignore": "/checkpoints/\n/configs/\n/data/\n/runs/\n/timing/\n",
}


def pipeline(root: Path) -> str:
    """The dvc.yaml of a profile's project: the root's, with its own paths."""
    text = (root / "dvc.yaml").read_text(encoding="utf-8")
    return VARS + "\n" + text[text.index("stages:\n") :]


def default_profile(root: Path) -> str:
    """The name of the profile that the root's dvc.yaml runs."""
    text = (root / "dvc.yaml").read_text(encoding="utf-8")
    return re.search(r"^ *- profiles/([^/\n]+)/cells\.yaml", text, re.MULTILINE)[1]


def project(name: str, root: Path) -> Path:
    """The folder to run DVC in for the profile `name` ("": the default one). Raises InputError for a name
    that is none, for one without profile.yaml, and for a profile that is not valid."""
    if name in ("", default_profile(root)):
        _update_cells(root / "profiles" / default_profile(root))
        return root
    folder = root / "profiles" / name
    if not NAME.fullmatch(name) or not (folder / "profile.yaml").is_file():
        known = sorted(path.parent.name for path in root.glob("profiles/*/profile.yaml"))
        raise InputError(
            f"PROFILE={name}: there is no such profile. There are {', '.join(known)}; one of your own is a "
            "folder profiles/<name>/ with a profile.yaml, its name of a-z, 0-9, _ and -"
        )
    for path, text in {**FILES, "dvc.yaml": pipeline(root)}.items():
        if not (folder / path).exists():
            from asm.basics.files import writing  # here: it takes a second to import

            with writing(folder / path):
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_text(text, encoding="utf-8")
    _update_cells(folder)
    return folder


def _update_cells(folder: Path) -> None:
    """Bring cells.yaml in step with profile.yaml. If it is newer it is left to `configs`, which looks more
    closely."""
    profile, cells = folder / "profile.yaml", folder / "cells.yaml"
    newer = cells.is_file() and cells.stat().st_mtime_ns > profile.stat().st_mtime_ns
    if not (newer and f"\nname: {folder.name}\n" in cells.read_text(encoding="utf-8")):
        from asm.grid.cells import write_cells  # here: it takes seconds to import

        write_cells(profile)
        with contextlib.suppress(PermissionError):  # in another user's checkout it is compared each time
            cells.touch()


def rewrite(root: Path) -> None:
    """Write every profile's dvc.yaml and cells.yaml anew. Raises InputError that names all profiles that are
    not valid: they stay as they are, and the others are written."""
    from asm.grid.cells import write_cells  # here: it takes seconds to import

    faults = []
    for path in sorted(root.glob("profiles/*/profile.yaml")):
        try:
            write_cells(path)
        except InputError as error:
            faults.append(str(error))
        else:
            if path.parent.name != default_profile(root):
                (path.parent / "dvc.yaml").write_text(pipeline(root), encoding="utf-8")
    if faults:
        raise InputError("\n  ".join(faults))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "name", nargs="?", default="", help="the folder below profiles/; default: the root's profile"
    )
    parser.add_argument(
        "--rewrite", action="store_true", help="write every profile's dvc.yaml and cells.yaml anew"
    )
    args = parser.parse_args()
    with reported():
        if args.rewrite:
            rewrite(bootstrap.ROOT)
        print(project(args.name, bootstrap.ROOT))
