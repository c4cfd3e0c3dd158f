"""Two processes on one cell, started by torchrun, against one."""

import os
import subprocess
import sys
from pathlib import Path

import distributed_child
import numpy as np
import pandas as pd
import pytest
import torch
from tiny import make_config, make_data, make_method

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = {
    **os.environ,
    "OMP_NUM_THREADS": "1",
    "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
}


@pytest.fixture(scope="module")
def together(tmp_path_factory) -> Path:
    """The folder that two processes wrote: 0.pt, 1.pt, and the checkpoint of an interrupted training."""
    folder = tmp_path_factory.mktemp("together")
    script = str(ROOT / "tests" / "distributed_child.py")
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", script, str(folder)]
    done = subprocess.run(
        [sys.executable, *command], env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("stopped") == 2
    return folder


@pytest.fixture(scope="module")
def found(together) -> list[dict]:
    return [torch.load(together / f"{rank}.pt") for rank in (0, 1)]


def test_mining_covers_each_sample_once_and_gives_the_partition_of_one_process(found):
    single = distributed_child.mining()
    assert single["images"] == 700
    assert [one["mining"]["images"] for one in found] == [256 + 188, 256]  # every second batch each
    for one in found:
        assert torch.equal(one["mining"]["subset"], single["subset"])
        assert torch.equal(one["mining"]["thresholds"], single["thresholds"])
    assert len(single["subset"].unique()) > 1


@pytest.mark.parametrize("name", ["baseline", "asm"])
def test_an_epoch_ends_with_the_weights_of_one_process(found, name):
    """Batches of 8, and a last one of 7 whose parts differ."""
    single = distributed_child.one_epoch(name)
    untrained = make_method(name, make_data(train=31), **distributed_child.FROZEN).state_dict()
    for one in found:
        assert one["epoch"][name]["loss"] == pytest.approx(single["loss"], rel=1e-5)
        for key, value in single["state"].items():
            torch.testing.assert_close(one["epoch"][name]["state"][key], value, rtol=1e-4, atol=1e-6)
    weight = "networks.0.stages.3.1.conv2.weight"
    assert not torch.allclose(single["state"][weight], untrained[weight], rtol=1e-2)


def test_buffers_become_the_same(found):
    expected = make_data().train.labels.clone()
    expected[:2] = torch.tensor([2, 1])
    for one in found:
        assert torch.equal(one["buffers"]["labels"], expected)
        assert (one["buffers"]["mean"] == 1.5).all()


def test_fewer_batches_than_processes(found):
    expected = make_method("asm").predict_all(make_data().test.faces)
    for one in found:
        assert torch.equal(one["few"], expected)


def test_one_process_goes_on_where_two_stopped(together, train_cell, capsys):
    files = train_cell(make_config(), make_data(), together)
    assert "going on after epoch 2" in capsys.readouterr().out
    history = pd.read_csv(together / "out" / "history.csv")
    assert history["epoch"].tolist() == [1, 2, 3, 4]
    assert history["forward_passes"].tolist()[0] == 2.0  # of both processes together
    assert np.isfinite(history["loss_total"]).all()
    assert files["run.json"]
