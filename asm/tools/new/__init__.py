"""Looks at your own faces, writes a profile for them, profiles/NAME, and says how long it will take.

The folder's layout is told by its files: class folders or csv files, RAF-DB, FER+, AffectNet. Nothing is
overwritten. On a CPU the profile trains heads on features of dlib's frozen face-recognition network, on a GPU
all layers of that network. Defaults stand in brackets.

  python -m asm new mine data/raw/mine
  python -m asm new mine data/raw/mine --methods asm baseline --noises 0 --seeds 0 1 2 --options folds=5
"""

import argparse
from pathlib import Path

from asm.tools import values


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="name of the profile: a-z, 0-9, _ and -")
    parser.add_argument("data", type=Path, help="folder of the data set, inside the clone")
    parser.add_argument("--source", help="a file of asm/datasets that reads it (told by its files)")
    several = {"nargs": "+", "default": [], "metavar": "KEY=VALUE"}
    parser.add_argument(
        "--options", **several, help="of the source, as in a profile: test_share=0.2 or folds=5"
    )
    parser.add_argument("--align", **several, help="as in params.yaml (what finds most faces in 50 images)")
    parser.add_argument("--methods", nargs="+", help="files of asm/methods (the baseline and four others)")
    parser.add_argument("--noises", nargs="+", type=float, help="shares of labels to make wrong (0 0.3)")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="(0)")
    parser.add_argument("--backbone", default="dlib29", help="a file of asm/parts/backbones (dlib29)")
    parser.add_argument(
        "--regime",
        choices=["features", "aligned"],
        help="heads on a frozen network's features, or all layers (aligned where there is a GPU)",
    )


def run(args: argparse.Namespace) -> None:
    import re
    import shlex

    from asm.basics.errors import InputError
    from asm.grid.params import load_params
    from asm.parts.device import pick_device
    from asm.tools.new import measure, write
    from asm.tools.new.look import look

    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", args.name):
        raise InputError(f"new: {args.name!r}: expected a name of a-z, 0-9, _ and -")
    home, root = write.clone(args.data)
    if (home / "profiles" / args.name).exists():
        raise write.taken(home / "profiles" / args.name)
    params, device = load_params(home / "params.yaml"), pick_device()
    options, align = values(args.options, "--options"), values(args.align, "--align")
    found = look(args.data, args.source, options, align, str(device))
    print(*found.said, *(f"note: {note}" for note in found.notes), sep="\n")
    methods, noises = args.methods or write.METHODS, write.NOISES if args.noises is None else args.noises
    wish = write.Wish(methods, noises, args.seeds, args.backbone, args.regime)
    content = write.content(found, args.name, root, wish, params, home / "data" / "raw" / "weights")
    text = write.text(content, f"python -m asm new {args.name} {root}", found)
    profile = write.checked(text, params, "new")
    print(f"trying {len(methods)} methods for some steps ...", flush=True)
    minutes = measure.seconds(found, profile, params, device) / 60
    path = write.write(home, args.name, text)
    given = [f"{key}={value}" for key, value in found.options.items()]
    aligned = [f"{key}={str(value).lower()}" for key, value in found.align.items()]
    words = ["--source", found.source] * (found.source != "folder")
    words += ["--options", *given] * bool(given) + ["--align", *aligned] * bool(aligned)
    print(f"written: {path.relative_to(home)}, {len(profile.cells)} cells; edit it as you like, then")
    print(f"  make repro PROFILE={args.name}   # {_about(minutes)}, tried on {measure.where(device)}")
    print(f"  python -m asm audit {shlex.join([root, *words])}   # which labels look wrong?")


def _about(minutes: float) -> str:
    if minutes < 100:
        return f"about {minutes:.0f} minutes" if minutes > 1.5 else "about a minute"
    return f"about {minutes / 60:.0f} hours"
