"""What `make repro` would run, and what that will take: `make plan`. Nothing is run or changed.

Hours come from the profile's rehearsal (rehearse.py): seconds of a training image in each part of a cell's
training, of an image that is evaluated, aligned or turned into features, times the number of images.
"""

import argparse
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1] / "stages"))
import bootstrap

import rehearse
from ledger import opened
from project import project

from asm import datasets
from asm.basics.errors import InputError, reported
from asm.datasets.noise import given_labels
from asm.grid.params import load_params
from asm.grid.profile import Profile, load_profile
from asm.grid.resolve import resolve_cell, write_configs
from asm.methods.config import CellConfig
from asm.parts.weights.base import FromFile


class Estimate:
    """Seconds and bytes of a profile's stages, from what its rehearsal found."""

    def __init__(self, profile: Profile, configs: dict[str, CellConfig], found: dict[str, Any]) -> None:
        self.configs, self.found = configs, found
        known = {row["kind"]: kept for kept, row in found["cells"].items()}
        self.kind = {cell: known.get(rehearse.kind(profile, config)) for cell, config in configs.items()}
        self.stages: dict[str, dict[str, Any]] = found["stages"]

    def seconds(self, stage: str) -> float | None:
        """Of a processor's core or of a GPU; None: the rehearsal does not tell."""
        group, _, key = stage.partition("@")
        if group in ("train", "out_of_sample"):
            return self.cell(key, folds=self.found["folds"] if group == "out_of_sample" else 0)
        if group in ("align", "features"):
            measured, whole = self.stages.get(stage, {}), self.whole(key)
            if "work_seconds" not in measured or whole is None:
                return None
            return measured.get("reading_seconds", 0) + measured["work_seconds"] * whole / measured["images"]
        alike = [row["busy_seconds"] for name, row in self.stages.items() if name.partition("@")[0] == group]
        return sum(alike) / len(alike) if alike else None

    def whole(self, dataset: str) -> int | None:
        """Images of a data set."""
        counts = self.stages.get(f"align@{dataset}", {}).get("whole")
        return counts and sum(counts.values())

    def cell(self, cell: str, folds: int = 0) -> float | None:
        """Seconds of a cell's training; with `folds` of as many without a fold each."""
        config, kept = self.configs[cell], self.kind[cell]
        row, measured = self.found["cells"].get(kept, {}), self.stages.get(f"train@{kept}", {})
        counts = self.stages.get(f"align@{config.dataset}", {}).get("whole")
        if row.get("error", "none") is not None or not counts or "evaluated" not in measured:
            return None  # not measured: by several processes
        train, others = counts["train"], counts.get("test", 0) + counts.get("valid", 0)
        each, evaluated = row["seconds_an_image"], measured["evaluation_seconds"]
        ends = rehearse.stretches(config)
        lengths = [end - before for before, end in zip([0, *ends], ends, strict=False)]
        training = train * sum(n * seconds for n, seconds in zip(lengths, each[1:], strict=True))
        own = row["images"] * sum(each) + evaluated * (len(each) * measured["evaluated"] + row["images"])
        start = max(0.0, measured["busy_seconds"] - own)  # reading, start of Python, writing
        if folds:
            return start + (folds - 1) * training + evaluated * train * (config.training.epochs + 1)
        return start + training + evaluated * (config.training.epochs * others + train)

    def disk(self, folder: Path) -> dict[str, float]:
        """Bytes of what the stages leave. `folder`: the rehearsal's."""
        found = {}
        for kind in ("aligned", "features"):
            found[kind] = sum(
                _size(path) * (self.whole(path.name) or 0) / self.stages[f"align@{path.name}"]["images"]
                for path in (folder / "data" / kind).glob("*")
                if f"align@{path.name}" in self.stages
            )
        found["runs"] = sum(self._run(cell) for cell in self.configs)
        return {kind: size for kind, size in found.items() if size}

    def _run(self, cell: str) -> float:
        row = self.found["cells"].get(self.kind[cell], {})
        counts = self.stages.get(f"align@{self.configs[cell].dataset}", {}).get("whole")
        if row.get("error", "none") is not None or not counts:
            return 0.0
        per_image = sum(size for name, size in row["files"].items() if name.endswith("predictions.npz"))
        fixed = sum(row["files"].values()) - per_image
        return fixed + per_image * counts["train"] / row["images"]


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def missing(profile: Profile, home: Path, root: Path) -> list[str]:
    """The data and weights that the profile needs and that are not there, with where to get them."""
    kinds = {(row.dataset, profile.noises[row.noise].kind) for row in profile.cells.values()}
    found = []
    for key, entry in profile.datasets.items():
        if entry.root.startswith("data/rendered"):
            continue
        content = rehearse.rooted(entry.model_dump(), home)
        try:
            dataset = datasets.load(entry.source, Path(content["root"]), **content["options"])
            if (key, "original") in kinds:
                train = dataset.table[dataset.table["split"] == "train"]
                given_labels(train, dataset.classes, {"kind": "original"}, root)
        except InputError as error:
            found.append(f"datasets.{key}: {error}")
    for key, init in profile.inits.items():
        if isinstance(init, FromFile) and not (path := root / "data/raw/weights" / init.path).is_file():
            found.append(f"inits.{key}: {path} is not there: {init.where_to_get}")
    lists = {key: noise.path for key, noise in profile.noises.items() if noise.path}
    return found + [
        f"noises.{key}: {path} is not there"
        for key, name in lists.items()
        if not (path := root / "data/raw/noise" / name).is_file()
    ]


def told(stale: Iterable[str], estimate: Estimate, slots: int) -> list[str]:
    """Lines on the hours of these stages, `slots` of them at once."""
    seconds: dict[str, float] = {}
    unknown: Counter[str] = Counter()
    for name in stale:
        if (found := estimate.seconds(name)) is None:
            unknown[name.partition("@")[0]] += 1
        else:
            seconds[name] = found
    lines = []
    groups = Counter(name.partition("@")[0] for name in seconds)
    for group, number in groups.items():
        each = {name: value for name, value in seconds.items() if name.partition("@")[0] == group}
        longest = max(each, key=each.__getitem__)
        whole = sum(each.values())
        lines.append(
            f"  {group}: {number} of {_time(whole / number)} on average, {_time(whole)} in all; longest "
            f"{longest.partition('@')[2] or group} {_time(each[longest])}"
        )
    lines += [
        f"  {group}: {number}, of which the rehearsal says nothing: they failed there, or have changed since"
        for group, number in unknown.items()
    ]
    total, longest = sum(seconds.values()), max(seconds.values(), default=0.0)
    return [*lines, f"in all {_time(total)}; {slots} at once: {_time(max(total / slots, longest))}"]


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def plan(name: str, root: Path, slots: int | None) -> list[str]:
    """The lines that `make plan` prints.

    Raises:
        InputError: the profile is not valid, or its project in use.
    """
    home, rehearsal = project(name, root), rehearse.place(name, root)
    params = load_params(root / "params.yaml")
    profile = load_profile(root / "profiles" / rehearsal.name / "profile.yaml")
    configs = {cell: resolve_cell(params, profile, cell) for cell in profile.cells}
    with opened(home) as ledger, tempfile.TemporaryDirectory() as fresh:
        write_configs(params, profile, rehearsal.name, Path(fresh))
        with ledger.locked():
            stale = ledger.stale(Path(fresh))
    groups, whole = (Counter(each.partition("@")[0] for each in names) for names in (stale, ledger.stages))
    lines = [f"{rehearsal.name}: {len(stale)} of {len(ledger.stages)} stages would be run"]
    lines += [f"  {group}: {groups[group]} of {number}" for group, number in whole.items() if groups[group]]
    if absent := missing(profile, home, root):
        lines += ["missing:", *(f"  {line}" for line in absent)]
    try:
        found = rehearse.read(name, root)
    except InputError as error:
        return [*lines, f"how long that takes is not known: {error}"]
    estimate = Estimate(profile, configs, found)
    where = next(
        (row["device"] for row in found["stages"].values() if row["device"] != "cpu"), "a CPU's core"
    )
    lines.append(f"time on {where}, by the rehearsal:")
    for key in ("image_size", "precision"):
        rehearsed, own = found["training"][key], getattr(profile.training, key)
        if rehearsed != own:
            lines.append(f"  of training.{key} {rehearsed}, as rehearsed; the profile's is {own}")
    lines += told(stale, estimate, slots or found["slots"])
    disk = estimate.disk(rehearsal)
    lines.append("disk, when all has been run:")
    lines += [f"  {kind}: {size / 1e9:.2f} GB" for kind, size in disk.items()]
    total, free = sum(disk.values()), shutil.disk_usage(root).free
    lines.append(f"  with DVC's cache, which copies where it cannot link: {2 * total / 1e9:.2f} GB")
    lines.append(f"  free: {free / 1e9:.0f} GB")
    return lines


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("profile", nargs="?", default="", help="default: the one of the root's dvc.yaml")
    parser.add_argument("--jobs", type=int, help="cells at once; default: as in the rehearsal")
    args = parser.parse_args()
    with reported():
        print("\n".join(plan(args.profile, bootstrap.ROOT, args.jobs)))
