"""The pipeline through real DVC, on a tiny grid: what runs, what is left alone, what experiments touch."""

import json
import os
import re

import pandas as pd
import pytest
import yaml
from tiny_pipeline import ROOT, Workspace, make_workspace

from asm.basics.files import exclusive

TRAIN = re.compile(r"Running stage 'train@(\w+)'")
STAGE = re.compile(r"Running stage '([^']+)'")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory) -> Workspace:
    workspace = make_workspace(tmp_path_factory.mktemp("pipeline"))
    workspace.first = workspace.run("dvc", "repro")
    workspace.commit()
    return workspace


def test_one_command_runs_every_stage(workspace):
    groups = {name.split("@")[0] for name in STAGE.findall(workspace.first)}
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    assert groups == set(stages) - {"features"}  # test_feature_pipeline.py
    assert set(TRAIN.findall(workspace.first)) == {"base", "asm", "pinned"}
    assert not list((workspace.path / "checkpoints").iterdir())  # all results are DVC's


def test_the_reports_come_from_the_run(workspace):
    reports = workspace.path / "reports"
    accuracy = workspace.metrics("base")["accuracy"]
    scores = json.loads((reports / "scores" / "base.json").read_text())
    assert scores["test"]["accuracy"]["last5"] == accuracy
    history = (workspace.path / "runs" / "base" / "history.csv").read_text().splitlines()
    column = history[0].split(",").index("test_accuracy")
    by_epoch = [float(line.split(",")[column]) for line in history[1:]]
    assert accuracy == pytest.approx(sum(by_epoch) / len(by_epoch))
    cells = pd.read_csv(reports / "tables" / "cells.csv").set_index("cell")
    assert cells.loc["base", "accuracy"] == pytest.approx(100 * accuracy, abs=1e-4)
    page = (reports / "README.md").read_text()
    assert "<title>Results: " in (reports / "index.html").read_text()
    for link in re.findall(r"\]\((?!http)([^)#]+)(?:#[^)]*)?\)", page):
        assert (reports / link).exists(), link


def test_the_realised_noise_is_written_beside_the_labels(workspace):
    noise = json.loads((workspace.path / "data/labels/synthetic_n30/noise.json").read_text())
    assert noise["samples"] == 28
    assert noise["realised"] == noise["wrong"] / 28
    assert [sum(row) for row in noise["transition"]] == pytest.approx([1.0] * 7)


def test_a_second_repro_does_nothing(workspace):
    output = workspace.run("dvc", "repro")
    assert not STAGE.findall(output)
    assert "up to date" in output


def test_another_methods_key_retrains_nothing(workspace):
    before = (workspace.path / "params.yaml").read_text()
    try:
        (workspace.path / "params.yaml").write_text(
            before.replace("seed: 0\n\noptimizer", "seed: 7\n\noptimizer")
        )
        assert "seed: 7" in (workspace.path / "params.yaml").read_text()
        output = workspace.run("dvc", "repro")  # pretrain.seed: no cell of this profile starts from it
        assert STAGE.findall(output) == ["configs"]
    finally:
        (workspace.path / "params.yaml").write_text(before)
        workspace.run("dvc", "repro")


def test_an_unknown_key_stops_before_anything_is_lost(workspace):
    before = (workspace.path / "params.yaml").read_text()
    metrics = workspace.metrics("asm")
    try:
        (workspace.path / "params.yaml").write_text(before.replace("  omega:", "  omgea:"))
        output = workspace.run("dvc", "repro", expect=255)
        assert "error: params.yaml: losses.omgea: unknown key; known here: beta, drop_noisy" in output
        assert "Traceback" not in output
    finally:
        (workspace.path / "params.yaml").write_text(before)
    assert workspace.metrics("asm") == metrics
    assert TRAIN.findall(workspace.run("dvc", "repro")) == []


def test_an_experiment_retrains_exactly_the_cells_it_touches(workspace):
    """`dvc exp run -S thresholds.init_clean=0.7`, then the three ways to compare it."""
    workspace.commit()
    before = workspace.metrics("asm")
    output = workspace.run("dvc", "exp", "run", "--name", "clean07", "-S", "thresholds.init_clean=0.7")
    assert TRAIN.findall(output) == ["asm"]  # not the baseline, and not the cell that sets the key itself
    assert "thresholds:" in (workspace.path / "params.yaml").read_text()
    assert yaml.safe_load((workspace.path / "params.yaml").read_text())["thresholds"]["init_clean"] == 0.7
    asm = yaml.safe_load((workspace.path / "configs/train/asm.yaml").read_text())
    pinned = yaml.safe_load((workspace.path / "configs/train/pinned.yaml").read_text())
    assert asm["thresholds"]["init_clean"] == 0.7
    assert pinned["thresholds"]["init_clean"] == 0.9

    diff = json.loads(workspace.run("dvc", "metrics", "diff", "--json"))
    changed = {key.partition(".")[0] for key in diff.get("reports/metrics.json", {})}
    assert changed <= {"asm"}
    assert changed == ({"asm"} if workspace.metrics("asm") != before else set())

    workspace.run("dvc", "plots", "diff", "--out", "plots_out")
    assert "test_accuracy" in (workspace.path / "plots_out" / "index.html").read_text()

    table = workspace.run("dvc", "exp", "show", "--only-changed", "--md")
    assert "clean07" in table
    assert "0.7" in table

    workspace.run("git", "checkout", "-q", ".")
    workspace.run("dvc", "checkout")
    assert workspace.metrics("asm") == before
    assert TRAIN.findall(workspace.run("dvc", "repro")) == []


def test_an_experiment_may_set_a_very_small_number(workspace):
    workspace.commit()
    workspace.run("dvc", "exp", "run", "-S", "optimizer.lr=0.00001", "configs")
    assert "lr: 1e-05\n" in (workspace.path / "params.yaml").read_text()  # as DVC writes it
    asm = yaml.safe_load((workspace.path / "configs/train/asm.yaml").read_text())
    assert asm["optimizer"]["lr"] == 0.00001
    workspace.run("git", "checkout", "-q", ".")
    workspace.run("dvc", "checkout")


def test_a_mistyped_experiment_is_refused(workspace):
    output = workspace.run("dvc", "exp", "run", "-S", "thresholds.init_claen=0.7", expect=255)
    assert "init_claen" in output
    assert not TRAIN.findall(output)


def test_two_runs_at_once_are_kept_apart_and_nothing_is_lost(workspace):
    metrics = workspace.metrics("asm")
    with exclusive(workspace.path / "checkpoints" / "asm"):
        output = workspace.run("dvc", "repro", "--force", "--single-item", "train@asm", expect=255)
    assert f"(process {os.getpid()}, since 20" in output
    assert "Traceback" not in output
    restored = workspace.run("dvc", "repro")
    assert "is cached - skipping run" in restored  # the removed results come back without training
    assert not TRAIN.findall(restored)
    assert workspace.metrics("asm") == metrics


def test_what_is_lost_before_dvc_has_it_is_not_made_again(workspace):
    """A cell was trained and faces were aligned, then DVC was killed or found its cache's disk full."""
    lock = (workspace.path / "dvc.lock").read_text()
    cut = yaml.safe_load(lock)
    for stage in ("align@synthetic", "train@asm"):
        del cut["stages"][stage]
        workspace.run("dvc", "repro", "--force", "--single-item", stage)
        (workspace.path / "dvc.lock").write_text(yaml.safe_dump(cut, sort_keys=False))
        output = workspace.run("dvc", "repro", "--no-run-cache", "--single-item", stage)
        assert STAGE.findall(output) == [stage]
    assert "asm: going on after epoch 3" in output
    assert "epoch 3/3" not in output
    found = yaml.safe_load((workspace.path / "dvc.lock").read_text())["stages"]["train@asm"]
    expected = yaml.safe_load(lock)["stages"]["train@asm"]
    assert found["deps"] == expected["deps"]
    assert found["outs"][0] == expected["outs"][0]  # runs/asm; timing/asm.csv is of another training
    # no later stage is to run, which would take their place
    assert sorted(path.name for path in (workspace.path / "checkpoints").iterdir()) == [
        "align_synthetic",
        "asm",
    ]


def test_a_missing_data_set_stops_in_align_and_spares_the_reports(workspace):
    profile, cells = (workspace.path / "profiles" / "tiny" / f"{name}.yaml" for name in ("profile", "cells"))
    before, metrics = (profile.read_text(), cells.read_text()), workspace.metrics("base")
    try:
        profile.write_text(
            before[0].replace(
                "{source: synthetic, root: data/rendered/synthetic}",
                "{source: rafdb, root: data/raw/weights}",
            )
        )
        output = workspace.run("dvc", "repro", expect=255)
        assert "cells.yaml: did not match profile.yaml, and has been written anew" in output
        output = workspace.run("dvc", "repro", expect=255)
        assert "list_patition_label.txt" in output  # the expected tree
        assert "Traceback" not in output
    finally:
        profile.write_text(before[0])
        cells.write_text(before[1])
    assert workspace.metrics("base") == metrics
