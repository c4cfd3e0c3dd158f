"""A profile on features of a frozen backbone through real DVC: one command, and what a change re-runs."""

import json
import re
import sys

import numpy as np
import pytest
import yaml
from tiny_pipeline import Workspace, make_workspace

from asm.parts import bank

STAGE = re.compile(r"Running stage '([^']+)'")
PROFILE = """\
training:
  {input: features, image_size: 32, width: 4, hidden: 8, dropout: 0.2, epochs: 3, warmup_epochs: 1,
   batch_size: 8}
render:
  synthetic: {train: 28, valid: 7, test: 14}
datasets:
  synthetic: {source: synthetic, root: data/rendered/synthetic}
noises:
  n30: {kind: symmetric, rate: 0.3}
inits:
  au: {weights: synthetic, faces: 14, epochs: 1}
cells:
  asm: {dataset: synthetic, noise: n30, method: asm}
out_of_sample: [asm]
"""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory) -> Workspace:
    workspace = make_workspace(tmp_path_factory.mktemp("features"), PROFILE)
    set_components(workspace, 10)  # of 28 faces there are no 400
    workspace.first = workspace.run_audited(tmp_path_factory.mktemp("opened"), "dvc", "repro")
    workspace.commit()
    return workspace


def set_components(workspace: Workspace, count: int) -> None:
    path = workspace.path / "params.yaml"
    text, found = re.subn(r"(\n  components: )\d+", rf"\g<1>{count}", path.read_text())
    assert found == 1
    path.write_text(text)


def test_one_command_runs_every_stage(workspace):
    groups = [name.split("@")[0] for name in STAGE.findall(workspace.first)]
    assert set(groups) == set(yaml.safe_load((workspace.path / "dvc.yaml").read_text())["stages"])
    assert groups.index("features") < groups.index("train")
    found = bank.load(workspace.path / "data" / "features" / "synthetic")
    assert found.faces.shape == (49, 9, 10)
    run = json.loads((workspace.path / "runs" / "asm" / "run.json").read_text())
    assert run["parameters"] == 2 * (10 * 8 + 8 + 8 * 7 + 7)  # two heads
    predicted = np.load(workspace.path / "runs" / "asm" / "test_predictions.npz")["probabilities"]
    assert predicted.shape == (3, 2, 14, 7)
    assert 0 <= workspace.metrics("asm")["accuracy"] <= 1
    assert not list((workspace.path / "checkpoints").iterdir())


def test_every_file_that_a_stage_opens_is_in_its_key(workspace):
    workspace.check_opened()


def test_the_results_depend_on_the_bank_and_not_on_the_faces(workspace):
    locked = yaml.safe_load((workspace.path / "dvc.lock").read_text())["stages"]["train@asm"]["deps"]
    paths = {each["path"] for each in locked}
    assert "data/features/synthetic" in paths
    assert "data/aligned/synthetic" not in paths


def test_nothing_can_be_frozen_without_weights(workspace):
    words = ["--config", "configs/features/synthetic.yaml", "--faces", "data/aligned/synthetic"]
    words += ["--init", "data/init/none", "--out", "x", "--work", "checkpoints/x"]
    message = workspace.run(sys.executable, "-B", "stages/features.py", *words, expect=1)
    expected = "error: data/init/none: `weights: none` leaves nothing to freeze; name another init\n"
    assert message.endswith(expected)
    assert not (workspace.path / "x").exists()


def test_a_second_repro_does_nothing_and_a_key_of_the_bank_makes_it_anew(workspace):
    """Neither faces, labels nor weights: the features and what is trained on them."""
    assert not STAGE.findall(workspace.run("dvc", "repro"))
    set_components(workspace, 8)
    ran = STAGE.findall(workspace.run("dvc", "repro", "features@synthetic"))
    assert ran == ["configs", "features@synthetic"]
    stale = json.loads(workspace.run("dvc", "status", "--json").splitlines()[-1])
    assert set(stale) == {"train@asm", "out_of_sample@asm"}
