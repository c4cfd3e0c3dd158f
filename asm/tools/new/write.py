"""The profile of a data set: its text, and its folder in the clone."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from ruamel.yaml import YAML

import asm
from asm.basics.errors import InputError
from asm.basics.files import writing
from asm.basics.yaml import dump_rows
from asm.grid.params import Params
from asm.grid.profile import Profile, parse_profile
from asm.grid.resolve import resolve_cell
from asm.tools.new.look import Found

METHODS = ["baseline", "two_networks", "asm", "fair_asm", "coteaching"]
NOISES = [0.0, 0.3]
STEPS, SMALLEST_BATCH = 32, 16  # at least so many steps an epoch, where batches are not the smallest
FACES_A_COMPONENT = 4  # training faces for each principal component, at least
# as in profiles/ferplus and profiles/ferplus_gpu, chosen there (docs/choices.md)
REGIMES: dict[str, dict[str, Any]] = {
    "features": {"hidden": 1024, "epochs": 16, "warmup_epochs": 3, "batch_size": 256},
    "aligned": {"epochs": 30, "warmup_epochs": 10, "batch_size": 128},
}
ABOUT = {
    "features": "heads on features of a frozen network, with the sizes of profiles/ferplus (docs/choices.md)",
    "aligned": "all layers are trained, with the sizes of profiles/ferplus_gpu",
}
OPTIMIZER = {"lr": 0.002, "lr_decay": 0.86, "weight_decay": 0.0}  # of heads
WIDTHS = {"dlib29": 32}  # of the backbones that are not 64 wide
FILES = {"msceleb": "resnet18_msceleb.pth", "imagenet": "resnet18-f37072fd.pth"}  # data/raw/weights


@dataclass(frozen=True)
class Wish:
    """What the command line asks for; None: what fits."""

    methods: list[str]
    noises: list[float]
    seeds: list[int]
    backbone: str
    regime: str | None


def clone(data: Path) -> tuple[Path, str]:
    """The clone of the project that one is in, or whose code runs, and the path of `data` in it.

    Raises:
        InputError: there is no clone, or `data` lies outside.
    """
    places = (*(Path.cwd() / "x").parents, Path(asm.__file__).resolve().parents[1])
    home = next((path for path in places if (path / "driver" / "project.py").is_file()), None)
    if home is None:
        raise InputError("new: profiles are run in a clone of this project: clone it, and call this there")
    path = Path(os.path.abspath(data))  # a link stays one
    if not path.is_relative_to(home):
        link = shlex.join(["ln", "-s", str(path), str(home / "data" / "raw" / path.name)])
        raise InputError(f"new: {data} lies outside {home}, where DVC does not see it; {link}, and name that")
    return home, path.relative_to(home).as_posix()


def content(found: Found, name: str, root: str, wish: Wish, params: Params, weights: Path) -> dict[str, Any]:
    """The profile `name` of the data set at `root` (from the clone). `weights`: the folder of the user's.

    Raises:
        InputError: there are no weights of the backbone that is to be frozen.
    """
    regime = wish.regime or ("aligned" if torch.cuda.is_available() else "features")
    init = _init(wish.backbone, weights)
    if regime == "features" and init["weights"] == "none":
        raise InputError(
            f"new: --regime features freezes {wish.backbone}, and its weights are not in {weights}: put "
            f"{' or '.join(FILES.values())} there, or leave --backbone out"
        )
    size = REGIMES[regime]
    batch = max(SMALLEST_BATCH, min(size["batch_size"], found.train // STEPS))
    training = {"input": regime, "image_size": 112, "backbone": wish.backbone}
    training |= {"width": WIDTHS.get(wish.backbone, 64), **size, "batch_size": batch}
    if regime == "aligned" and torch.cuda.is_available():
        training["precision"] = "bf16"
    sets: dict[str, Any] = {}
    if regime == "features":
        sets["optimizer"] = OPTIMIZER
        if (components := max(1, found.train // FACES_A_COMPONENT)) < params.features.components:
            sets["features"] = {"components": components}
    parts = {"source": found.source, "root": f"../../{root}", "options": found.options}
    parts |= {"align": found.align, "set": sets}
    key = name.replace("-", "_")
    datasets = {key: {part: value for part, value in parts.items() if value}}
    if folds := found.options.get("folds"):
        options = [{"options": found.options | {"fold": i}} for i in range(folds)]
        datasets = {f"{key}_f{i}": datasets[key] | each for i, each in enumerate(options)}
    noises = {
        "given" if rate == 0 else f"n{100 * rate:02g}".replace(".", "_"): {"kind": "symmetric", "rate": rate}
        for rate in wish.noises
    }
    block = {"datasets": list(datasets), "noises": list(noises), "methods": wish.methods}
    return {
        "training": training,
        "datasets": datasets,
        "noises": noises,
        "inits": {init["weights"]: init},
        "seeds": wish.seeds,
        "grid": [block],
    }


def _init(backbone: str, weights: Path) -> dict[str, str]:
    if backbone == "dlib29":
        return {"weights": "dlib"}
    known = ({"weights": kind, "path": file} for kind, file in FILES.items() if (weights / file).is_file())
    return next(known, {"weights": "none"})


def text(content: dict[str, Any], command: str, found: Found) -> str:
    """profile.yaml, with what each part is for."""
    clean = [f"{len(found.dataset.table):,} images of {len(found.dataset.classes)} classes", *found.said[1:]]
    about = {
        "training": f"{ABOUT[content['training']['input']]}; input: aligned or features",
        "datasets": "how the images are read (options), aligned, and what is set for them of params.yaml",
        "noises": "labels as they are, or with a share made wrong on purpose, to see which method stands it",
        "inits": "initial weights (data/raw/weights/README.md)",
        "seeds": "one run of each cell a seed; differences below a point need several",
        "grid": "each data set with each noise, method (a file of asm/methods) and seed is a cell",
    }
    lines = [f"# Written by `{command}`, to be edited (docs/profiles.md).", *(f"# {each}" for each in clean)]
    for key, value in content.items():
        lines += [f"# {about[key]}", dump_rows({key: value}).rstrip()]
    return "\n".join(lines) + "\n"


def checked(text: str, params: Params, where: str) -> Profile:
    """The profile that the text is. Raises InputError for what a stage would refuse."""
    profile = parse_profile(YAML(typ="safe").load(text), where)
    for cell in profile.cells:
        resolve_cell(params, profile, cell)
    return profile


def write(home: Path, name: str, text: str) -> Path:
    """Write profiles/<name> with what DVC needs there. Raises InputError if it exists."""
    folder = home / "profiles" / name
    with writing(folder):
        try:
            folder.mkdir()
        except FileExistsError:
            raise taken(folder) from None
        (folder / "profile.yaml").write_text(text, encoding="utf-8")
    command = [sys.executable, home / "driver" / "project.py", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise InputError(f"new: {folder / 'profile.yaml'} is written, but not what DVC needs: {done.stderr}")
    return folder / "profile.yaml"


def taken(folder: Path) -> InputError:
    """What to say where the profile's folder exists."""
    return InputError(f"new: {folder} exists, and is left as it is: choose another name, or remove it")
