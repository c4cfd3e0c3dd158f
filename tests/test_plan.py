"""Plans: hours from what a rehearsal measured, what is stale, what is missing."""

import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "driver"))
import numpy as np
import plan
import pytest
import rehearse
from ledger import opened
from made_layouts import write_ferplus
from pretend_project import Project

from asm.basics.errors import InputError
from asm.datasets import ferplus
from asm.grid.params import load_params
from asm.grid.profile import load_profile
from asm.grid.resolve import resolve_cell

ROOT = Path(__file__).resolve().parents[1]
PARAMS = load_params(ROOT / "params.yaml")
WHOLE = {"train": 12_000, "test": 3_000}


def estimate(name: str, **changed: int) -> plan.Estimate:
    """Of a rehearsal that trained each kind of cell on 300 images, and evaluated 200, on a machine that takes
    1 ms an image in the first stretch, 2 ms in the second, ..., 0.5 ms to evaluate one, 5 s to start;
    `changed` since: keys of the profile's training."""
    profile = load_profile(ROOT / "profiles" / name / "profile.yaml")
    configs = {cell: resolve_cell(PARAMS, profile, cell) for cell in profile.cells}
    _, _, kinds = rehearse.derived(PARAMS, profile, ROOT, None)
    cells, stages = {}, {}
    for kept, stands_for in kinds.items():
        each = [0.009, *(0.001 * k for k in range(1, len(rehearse.stretches(configs[kept])) + 1))]
        files = {"weights.safetensors": 1000, "train_predictions.npz": 300}
        cells[kept] = {"kind": rehearse.kind(profile, configs[kept]), "stands_for": stands_for}
        cells[kept] |= {"error": None, "images": 300, "seconds_an_image": each, "files": files}
        busy = 5 + 300 * sum(each) + 0.0005 * (len(each) * 200 + 300)
        stages[f"train@{kept}"] = {"busy_seconds": busy, "evaluation_seconds": 0.0005, "evaluated": 200}
        stages[f"evaluate@{kept}"] = {"busy_seconds": 3.0}
    for key in profile.datasets:
        aligned = {"whole": WHOLE, "images": 500, "reading_seconds": 2.0, "work_seconds": 5.0}
        stages[f"align@{key}"] = aligned
    now = profile.model_copy(update={"training": profile.training.model_copy(update=changed)})
    configs = {cell: resolve_cell(PARAMS, now, cell) for cell in now.cells}
    return plan.Estimate(now, configs, {"cells": cells, "stages": stages, "folds": 5, "slots": 2})


def test_a_cell_takes_what_its_stretches_take():
    found = estimate("paper")
    # 10 epochs of 12,000 images at 1 ms, 90 at 2 ms; 100 tests of 3,000 and one of 12,000 at 0.5 ms
    asm = 5 + 10 * 12 + 90 * 24 + 100 * 1.5 + 6
    assert found.seconds("train@rafdb_n20_asm_s1") == pytest.approx(asm)
    # RAN: warm-up to 10, rate steps after 18, 30, 48 of 60
    ran = 5 + 12 * (10 * 1 + 8 * 2 + 12 * 3 + 18 * 4 + 12 * 5) + 60 * 1.5 + 6
    assert found.seconds("train@rafdb_n00_ran_s2") == pytest.approx(ran)
    assert found.seconds("align@ferplus") == pytest.approx(2 + 15_000 * 0.01)
    assert found.seconds("evaluate@rafdb_n20_asm_s1") == 3
    # folds: five times four fifths of the training images, and all of them are tested on once an epoch
    folds = 5 + 4 * (10 * 12 + 90 * 24) + 101 * 6
    assert found.seconds("out_of_sample@rafdb_n20_asm_s1") == pytest.approx(folds)


def test_what_the_rehearsal_does_not_tell_is_told_apart():
    found = estimate("paper")
    found.found["cells"]["rafdb_n30_asm_s0"]["error"] = "train: not enough memory"
    assert found.seconds("train@rafdb_n20_asm_s1") is None
    del found.stages["align@ferplus"]
    assert found.seconds("train@ferplus_n20_scn_s0") is None
    cells = ["train@rafdb_n20_asm_s1", "train@rafdb_n20_scn_s1", "evaluate@rafdb_n20_scn_s1"]
    lines = plan.told(cells, found, slots=4)
    assert any("train: 1, of which the rehearsal says nothing" in line for line in lines)
    assert any("longest rafdb_n20_scn_s1" in line for line in lines)
    assert estimate("paper", width=32).seconds("train@rafdb_n20_asm_s1") is None  # changed since
    longest = found.seconds("train@rafdb_n20_scn_s1")
    assert lines[-1].endswith(f"4 at once: {plan._time(longest)}")  # no shorter than its longest stage


def test_what_is_missing_is_named_with_where_to_get_it(tmp_path):
    profile = load_profile(ROOT / "profiles" / "paper" / "profile.yaml")
    found = plan.missing(profile, tmp_path / "profiles" / "paper", tmp_path)
    assert {line.partition(":")[0] for line in found} == {
        *(f"datasets.{key}" for key in profile.datasets),
        "inits.msceleb",
    }
    assert any("www.whdeng.cn" in line for line in found)
    assert any("published with the FER repositories" in line for line in found)


def test_noise_that_the_data_cannot_give_is_missing_too(tmp_path):
    """FER2013's own labels, of the profile ferplus, stand in Kaggle's file alone."""
    face = np.zeros((112, 112, 3), np.uint8)
    faces = {split: {name: [face] for name in ferplus.CLASSES} for split in ("train", "valid", "test")}
    write_ferplus(tmp_path / "data/raw/ferplus", faces)
    profile = load_profile(ROOT / "profiles" / "ferplus" / "profile.yaml")
    home = tmp_path / "profiles" / "ferplus"
    assert plan.missing(profile, home, tmp_path) == []
    (tmp_path / "data/raw/ferplus" / ferplus.KAGGLE).unlink()
    (line,) = plan.missing(profile, home, tmp_path)
    assert line.startswith("datasets.ferplus7: noise: ")
    assert "fer2013.csv" in line


def test_stale_are_those_that_would_be_run_and_asking_changes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where a ledger's process goes ends with the test
    project = Project(tmp_path / "p", {"a": {"value": 1}, "b": {"value": 2}})
    everything = {"train@a", "train@b", "evaluate@a", "evaluate@b", "align", "report"}

    def stale(**changed: dict[str, int]) -> set[str]:
        fresh = tmp_path / "fresh" / "train"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        for cell in ("a", "b"):
            value = {"a": 1, "b": 2}[cell] if cell not in changed else changed[cell]
            (fresh / f"{cell}.yaml").write_text(f"value: {value}\n")
        with opened(project.path) as ledger, ledger.locked():
            return set(ledger.stale(tmp_path / "fresh"))

    assert stale() == everything
    assert not (project.path / "runs").exists()
    project.repro()
    before = project.kept()
    assert stale() == set()
    assert stale(b=3) == {"train@b", "evaluate@b", "report"}  # whatever `configs` wrote the last time
    shutil.rmtree(project.path / "runs" / "a")
    assert stale() == set()  # DVC's cache has it
    project.write("raw/faces", "others")
    assert stale() == everything
    shutil.rmtree(project.path / "raw")
    assert stale() == set()  # raw data need not be here
    assert {path for path in before if "/a/" not in path} <= set(project.kept())


def test_without_a_rehearsal_a_plan_says_what_to_do(tmp_path):
    with pytest.raises(InputError, match="run `make rehearse PROFILE=paper` first"):
        rehearse.read("paper", tmp_path)
