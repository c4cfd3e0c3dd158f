"""`make rehearse`: a profile of one cell a kind, on few images and epochs, run by the same engine.

It lies in rehearsals/<profile>/, a DVC project with a cache of its own, and is made anew each time. The
loaders read the whole data set, then few of its images are used (measured.py); batches, networks, weights,
device and, unless asked otherwise, the images' side and the precision are the real ones.
"""

import json
import math
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Any

import lock
import project
import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text

from asm.basics.errors import InputError
from asm.basics.files import read_csv, read_json
from asm.basics.yaml import dump_rows, dump_yaml
from asm.grid.cells import write_cells
from asm.grid.params import Params, load_params
from asm.grid.profile import Profile, load_profile, parse_profile
from asm.grid.resolve import resolve_cell
from asm.methods.config import CellConfig
from asm.training.folds import FOLDS
from driver import Driver

RESULT, KINDS, MEASURED = "rehearsal.json", "kinds.json", "measured"
# of the largest batch: enough for a last one that is not full, and heads take so little time that it can
# only be measured over several
BATCHES = {"aligned": 2.25, "features": 8.25}
CONFIG = "[core]\n    analytics = false\n    check_update = false\n    no_scm = true\n"


def place(name: str, root: Path) -> Path:
    """The folder of a profile's rehearsal."""
    return root / "rehearsals" / (name or project.default_profile(root))


def prepare(name: str, root: Path, side: int | None) -> Path:
    """Make the project of a rehearsal anew; returns its folder.

    Args:
        name: the profile, "": the default one.
        side: of the aligned faces in pixels, instead of the profile's; where bf16 is slow, fp32 too.

    Raises:
        InputError: the profile is not valid, or another rehearsal of it is at work.
    """
    home, folder = project.project(name, root), place(name, root)
    profile = load_profile(root / "profiles" / folder.name / "profile.yaml")
    params = load_params(root / "params.yaml")
    values, content, kinds = derived(params, profile, home, side)
    with lock.taken(folder):
        for path in folder.iterdir():
            if path.name != ".dvc":
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.rmtree(folder / ".dvc" / "cache", ignore_errors=True)
        batch = max(resolve_cell(params, profile, cell).training.batch_size for cell in profile.cells)
        rows = {
            cell: {"kind": kind(profile, resolve_cell(params, profile, cell)), "stands_for": stands}
            for cell, stands in kinds.items()
        }
        images = math.ceil(batch * BATCHES[profile.training.input])
        for path, text in {
            ".dvc/config": CONFIG,
            "params.yaml": dump_yaml(values),
            "profile.yaml": dump_rows(content),
            "dvc.yaml": pipeline(root, images),
            KINDS: json.dumps(rows, indent=1),
            "data/rendered/README.md": "Rendered faces, where the profile has some.\n",
        }.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
        write_cells(folder / "profile.yaml")
    return folder


def pipeline(root: Path, images: int) -> str:
    """dvc.yaml of a rehearsal: each stage through measured.py. The raw data, which DVC would hash as a whole,
    are no dependency."""
    text = project.pipeline(root).replace("params: ../../params.yaml", "params: params.yaml")
    measured = rf"python -B ${{home}}/driver/measured.py {images} \1"
    text = re.sub(r"python -B \$\{home\}/stages/(\w+)\.py", measured, text)
    return text.replace("- ${item.root}", "- data/rendered")


def derived(
    params: Params, profile: Profile, home: Path, side: int | None
) -> tuple[dict[str, Any], dict[str, Any], dict[str, list[str]]]:
    """params.yaml and profile.yaml of the rehearsal of a profile whose project is in `home`; its cells, and
    those of the profile that each of them stands for."""
    configs = {cell: resolve_cell(params, profile, cell) for cell in profile.cells}
    kinds = dict(_kinds(profile, configs))
    shown = {cell: kept for kept, cells in kinds.items() for cell in cells}
    values = params.model_dump()
    for method, own in values["published"].items():
        if of_method := _plain(params, profile, method):
            for section, changes in shortened(of_method).items():
                own[section] = own.get(section, {}) | changes
    plain = next(iter(configs.values())).model_copy(
        update={"training": profile.training, "optimizer": params.optimizer}
    )
    size = shortened(plain)["training"] | (smaller(side) if side else {})
    values["optimizer"] |= shortened(plain)["optimizer"]
    if "waiting" in values and values["waiting"]["mine_from_gap"]:
        values["waiting"]["mine_from_gap"] = 1e-9  # few images open no gap, and nothing would be mined
    used = {profile.cells[cell].noise for cell in kinds}
    content = profile.model_dump(exclude={"inits", "settings", "seeds", "grid"}, exclude_none=True) | {
        "training": profile.training.model_dump(exclude_none=True) | size,
        "inits": {key: init.model_dump(exclude_none=True) for key, init in profile.inits.items()},
        "noises": {k: n.model_dump(exclude_none=True) for k, n in profile.noises.items() if k in used},
        "datasets": {k: rooted(entry.model_dump(), home) for k, entry in profile.datasets.items()},
        "cells": {cell: profile.cells[cell].model_dump(exclude_none=True) for cell in kinds},
        "tsne": list(dict.fromkeys(shown[cell] for cell in profile.tsne)),
        "out_of_sample": list(dict.fromkeys(shown[cell] for cell in profile.out_of_sample)),
        "headline": profile.headline.model_dump()
        | {key: shown[getattr(profile.headline, key)] for key in ("baseline", "asm")},
    }
    # where a data set or a cell has a schedule of its own
    first, short = Params.model_validate(values), parse_profile(content, "rehearsal")
    for cell in kinds:
        found = resolve_cell(first, short, cell).model_dump()
        for section, changes in shortened(configs[cell]).items():
            if other := {k: v for k, v in changes.items() if found[section][k] != v}:
                own = content["cells"][cell]["set"]
                own[section] = own.get(section, {}) | other
    return values, content, kinds


def smaller(side: int) -> dict[str, Any]:
    """Another side of the faces; and fp32, where the processor has no instructions for bf16."""
    fast = torch.cuda.is_available() or torch.cpu._is_amx_tile_supported()
    fast = fast or torch.cpu._is_avx512_bf16_supported()
    return {"image_size": side} | ({} if fast else {"precision": "fp32"})


def _kinds(profile: Profile, configs: dict[str, CellConfig]) -> Iterator[tuple[str, list[str]]]:
    """One cell of each kind: one that is drawn or asked for by folds, else that with most noise; with all of
    its kind."""
    groups: dict[str, list[str]] = {}
    for cell, config in configs.items():
        groups.setdefault(kind(profile, config), []).append(cell)
    headline = profile.headline
    named = {*profile.out_of_sample, *profile.tsne, headline.baseline, headline.asm}
    for cells in groups.values():
        rate = {cell: profile.noises[profile.cells[cell].noise].rate or 0 for cell in cells}
        yield max(cells, key=lambda cell: (cell in named, rate[cell])), cells


def kind(profile: Profile, config: CellConfig) -> str:
    """What of a cell decides which code is run and how much memory it takes: the seed and the noise's name do
    not, and of a number that is no size (a rate, a weight) only whether it is zero."""
    noise = profile.noises[config.noise]

    def reduced(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: reduced(each) for key, each in value.items()}
        if isinstance(value, list):
            return [reduced(each) for each in value]
        return bool(value) if isinstance(value, float) else value

    content = config.model_dump(exclude={"cell", "seed", "noise", "code"})
    return json.dumps([noise.kind, noise.path, reduced(content)])


def stretches(config: CellConfig) -> list[int]:
    """The last epoch of each part of a cell's training: warm-up, steps of its learning rate, the rest."""
    training, optimizer = config.training, config.optimizer
    ends = {training.warmup_epochs, *(int(row[0]) for row in optimizer.lr_table), training.epochs}
    if optimizer.schedule in ("steps", "poly"):
        ends |= set(optimizer.lr_steps)
    return sorted(end for end in ends if 0 < end <= training.epochs)


def shortened(config: CellConfig) -> dict[str, dict[str, Any]]:
    """The same training with one epoch a stretch, two of the first: the very first is no measure of time."""
    ends, optimizer = stretches(config), config.optimizer

    def at(epoch: float) -> int:
        return epoch and 1 + sum(end <= epoch for end in ends)

    return {
        "training": {
            "epochs": at(config.training.epochs),
            "warmup_epochs": at(config.training.warmup_epochs),
        },
        "optimizer": {
            "lr_steps": [at(step) for step in optimizer.lr_steps],
            "lr_table": [[float(at(last)), *rates] for last, *rates in optimizer.lr_table],
        },
    }


def _plain(params: Params, profile: Profile, method: str) -> CellConfig | None:
    """A method's published schedule without what data sets and cells set; None where no cell has it."""
    for name, row in profile.cells.items():
        if row.method == method and (row.schedule or profile.schedule) == "published":
            entry = profile.datasets[row.dataset].model_copy(update={"set": {}})
            update = {"cells": {name: row.model_copy(update={"set": {}})}, "datasets": {row.dataset: entry}}
            return resolve_cell(params, profile.model_copy(update=update), name)
    return None


def rooted(content: dict[str, Any], home: Path) -> dict[str, Any]:
    """A data set's entry whose folders are found from anywhere."""

    def change(key: str, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: change(name, each) for name, each in value.items()}
        if key == "root" and not PurePath(value).is_relative_to("data/rendered"):
            return os.path.abspath(home / value)  # not resolved: a union's parts lie below its root
        return value

    return change("", content)


def conclude(folder: Path, driver: Driver, started: float) -> bool:
    """Write `RESULT` and print the table; returns whether all went well."""
    slots = driver.view.slots
    training = load_profile(folder / "profile.yaml").training
    measured = {
        path.stem: read_json(path, "rehearse again") for path in sorted((folder / MEASURED).glob("*.json"))
    }
    kinds = read_json(folder / KINDS, "rehearse again")
    cells = {
        cell: row | _outcome(folder, driver, cell, measured.get(f"train@{cell}", {}))
        for cell, row in kinds.items()
    }
    result = {
        "profile": folder.name,
        "seconds": round(time.monotonic() - started, 1),
        "slots": slots,
        "torch": torch.__version__,
        "training": training.model_dump(),
        "folds": FOLDS,
        "failed": driver.failed,
        "lost": sorted(driver.lost - driver.failed.keys()),
        "stages": measured,
        "cells": cells,
    }
    (folder / RESULT).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    _print(result, Console())
    print(f"{folder / RESULT} holds these figures and those of all stages")
    return not driver.failed


def _outcome(folder: Path, driver: Driver, cell: str, measured: dict[str, Any]) -> dict[str, Any]:
    """How a cell's training went, with seconds for each training image in each epoch."""
    stages = [f"{group}@{cell}" for group in ("train", "evaluate", "out_of_sample", "assess", "tsne")]
    found: dict[str, Any] = {"peak_gb": measured.get("peak_gb")}
    if wrong := next((name for name in stages if name in driver.failed), None):
        return found | {"error": f"{wrong.partition('@')[0]}: {_short(driver.failed[wrong])}"}
    if f"train@{cell}" not in driver.done:
        needs = sorted(driver.ledger.upstream[f"train@{cell}"] & driver.lost)
        return found | {"error": f"not run: {', '.join(needs) or 'stopped'}"}
    timing = read_csv(folder / "timing" / f"{cell}.csv", {"busy_seconds": float}, "rehearse again")
    history = read_csv(folder / "runs" / cell / "history.csv", {"forward_passes": float}, "rehearse again")
    run = read_json(folder / "runs" / cell / "run.json", "rehearse again")
    images = run["train_images"]
    return found | {
        "error": None,
        "images": images,
        "seconds_an_image": (timing["busy_seconds"] / images).tolist(),
        "passes_an_image": history["forward_passes"].tolist(),
        "files": {path.name: path.stat().st_size for path in (folder / "runs" / cell).iterdir()},
    }


def _print(result: dict[str, Any], console: Console) -> None:
    console = Console(width=max(console.width, 110)) if not console.is_terminal else console
    table = Table("kind of cell: the one that was run", "stands for", "result", "ms a pass", "peak GB")
    for cell, found in result["cells"].items():
        speed = ""
        if found["error"] is None and found["passes_an_image"][-1]:
            speed = f"{1000 * found['seconds_an_image'][-1] / found['passes_an_image'][-1]:.3g}"
        peak = "" if found["peak_gb"] is None else f"{found['peak_gb']:.2f}"
        outcome = Text(found["error"] or "ok")  # no markup, whatever it quotes
        table.add_row(cell, str(len(found["stands_for"])), outcome, speed, peak)
    console.print(table)
    for name, reason in result["failed"].items():
        if name.partition("@")[2] not in result["cells"]:
            console.print(f"{name}: {_short(reason)}", markup=False, highlight=False)
    wrong = sum(found["error"] is not None for found in result["cells"].values())
    console.print(
        f"{len(result['cells']) - wrong} of {len(result['cells'])} kinds of cell are ok, "
        f"{len(result['failed'])} stages failed; {result['seconds'] / 60:.1f} min, {result['slots']} at once"
    )


def _short(error: str) -> str:
    """The line that names what is wrong."""
    if re.match(r"exit status (-9|137)\b", error):
        return "the system killed it, most often for lack of memory"
    return error.splitlines()[-1 if "Traceback" in error else 0]


def read(name: str, root: Path) -> dict[str, Any]:
    """What the last rehearsal of a profile found. Raises InputError if there is none."""
    shown = name or project.default_profile(root)
    path = place(name, root) / RESULT
    if not path.is_file():
        raise InputError(f"{path}: not there; run `make rehearse PROFILE={shown}` first")
    return read_json(path, "rehearse again")
