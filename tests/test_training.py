"""The loop: it learns, repeats itself to the byte, survives SIGKILL at any moment, and stops on NaN."""

import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from tiny import make_config, make_data

from asm import epoch, training
from asm.data import StreamedFaces, memory_for_faces, select
from asm.errors import InputError
from asm.faces.store import AlignedFaces

CPU = torch.device("cpu")
FILES = ("history.csv", "predictions.npz", "mining.npz", "features.npz", "weights.safetensors", "run.json")


def run(config, data, folder):
    training.train(config, data, None, folder / "out", folder / "ck", folder / "timing.csv", CPU)
    return {name: (folder / "out" / name).read_bytes() for name in FILES}


@pytest.mark.parametrize("method", ["baseline", "asm"])
def test_training_learns_and_writes_everything(tmp_path, data, method):
    config = make_config(method, training={"epochs": 7})
    run(config, data, tmp_path)
    history = pd.read_csv(tmp_path / "out" / "history.csv")
    assert history["epoch"].tolist() == list(range(1, 8))
    assert history["loss_total"].iloc[-1] < history["loss_total"].iloc[0]
    assert history["test_accuracy"].iloc[-1] > 0.6  # colours are easy; chance is a third
    assert history["lr"].tolist() == pytest.approx([0.003 * 0.9**e for e in range(7)])
    predictions = np.load(tmp_path / "out" / "predictions.npz")
    networks = 2 if method == "asm" else 1
    assert predictions["test_probabilities"].shape == (5, networks, 12, 3)
    assert predictions["epochs"].tolist() == [3, 4, 5, 6, 7]
    np.testing.assert_allclose(predictions["test_probabilities"].sum(-1), 1, atol=1e-5)
    last = (predictions["test_probabilities"][-1].mean(0).argmax(1) == predictions["test_labels"]).mean()
    assert last == pytest.approx(history["test_accuracy"].iloc[-1])
    mining = np.load(tmp_path / "out" / "mining.npz")
    assert mining["probabilities"].shape == (30, 3)
    assert mining["given_labels"].tolist() == data.train.labels.tolist()
    assert (mining["given_labels"] != mining["clean_labels"]).sum() == 6
    assert mining["epochs"].tolist() == ([2, 3, 4, 5, 6, 7] if method == "asm" else [])
    assert ("test_accuracy_net2" in history) == (method == "asm")
    weights = load_file(tmp_path / "out" / "weights.safetensors")
    assert f"networks.{networks - 1}.conv1.weight" in weights
    timing = pd.read_csv(tmp_path / "timing.csv")
    assert (timing["samples_per_second"] > 0).all()
    assert not (tmp_path / "ck").exists()


def test_subset_shares_and_thresholds_are_in_the_history(tmp_path, data):
    run(make_config(), data, tmp_path)
    history = pd.read_csv(tmp_path / "out" / "history.csv")
    shares = history[["subset_clean", "subset_ambiguous", "subset_noisy"]]
    assert shares.iloc[0].isna().all()  # warm-up
    assert shares.iloc[1:].sum(axis=1).tolist() == pytest.approx([1.0] * 3)
    clean, noisy = history["threshold_clean_2"], history["threshold_noisy_2"]
    assert (clean + noisy)[1:].tolist() == pytest.approx([1.0] * 3)
    assert {"loss_sup", "loss_mut", "loss_usc", "lambda"} <= set(history)
    stored = np.load(tmp_path / "out" / "mining.npz")["subsets"]
    assert (stored == 2).mean(1).tolist() == pytest.approx(history["subset_noisy"][1:].tolist())


def test_two_runs_write_the_same_bytes_and_another_seed_other_ones(tmp_path, data):
    first = run(make_config(), data, tmp_path / "a")
    assert run(make_config(), data, tmp_path / "b") == first
    assert run(make_config(seed=1), data, tmp_path / "c")["history.csv"] != first["history.csv"]


CHILD = """
import sys; sys.path.insert(0, {tests!r})
from pathlib import Path
from tiny import make_config, make_data
from asm import training
from asm.data import select
import torch
torch.set_num_threads(1)
folder = Path({folder!r})
training.train(make_config({method!r}), make_data(train=120), None, folder / "out", folder / "ck",
               folder / "timing.csv", torch.device("cpu"))
"""


@pytest.mark.parametrize("method", ["baseline", "asm"])
def test_killed_again_and_again_it_writes_the_bytes_of_an_uninterrupted_run(tmp_path, method):
    tests = os.path.dirname(__file__)
    expected = run(make_config(method), make_data(train=120), tmp_path / "whole")
    folder = tmp_path / "killed"
    command = [sys.executable, "-c", CHILD.format(tests=tests, folder=str(folder), method=method)]
    moments, kills = random.Random(0), 0
    checkpoint = folder / "ck" / "last.pt"
    for _ in range(3):
        before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        while child.poll() is None and not (checkpoint.exists() and checkpoint.stat().st_mtime_ns > before):
            time.sleep(0.002)
        time.sleep(moments.uniform(0, 0.05))  # somewhere in the next epoch, or in writing its checkpoint
        if child.poll() is None:
            child.send_signal(signal.SIGKILL)
            child.wait()
            kills += 1
    assert kills >= 2
    assert not (folder / "out").exists() or kills == 3
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    assert {name: (folder / "out" / name).read_bytes() for name in FILES} == expected
    assert not (folder / "ck").exists()


def test_a_checkpoint_of_other_labels_is_not_continued(tmp_path, monkeypatch, capsys):
    config = make_config()

    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(training.results, "write", stop)
    with pytest.raises(KeyboardInterrupt):
        run(config, make_data(flipped=0), tmp_path)
    monkeypatch.undo()
    other = run(config, make_data(flipped=6), tmp_path)
    assert "checkpoint of another configuration or data ignored" in capsys.readouterr().out
    assert other == run(config, make_data(flipped=6), tmp_path / "fresh")


def test_a_non_finite_loss_stops_with_the_batchs_ids(tmp_path, data):
    config = make_config("baseline", optimizer={"lr": 1e30})
    with pytest.raises(epoch.NonFiniteLoss, match=r"epoch \d+: .*samples: train\d+, train\d+.*Lower") as e:
        run(config, data, tmp_path)
    assert len(str(e.value).split("samples: ")[1].split(". ")[0].split(", ")) == 8
    assert not (tmp_path / "out").exists()


def test_a_full_disk_stops_the_run_and_the_next_one_goes_on(tmp_path, data, monkeypatch, capsys):
    expected = run(make_config(), data, tmp_path / "whole")
    real, calls = training.checkpoint.save, []

    def fill_at_third(state, path):
        calls.append(1)
        if len(calls) == 3:
            raise InputError(f"{path}: cannot write the checkpoint (No space left on device)")
        real(state, path)

    monkeypatch.setattr(training.checkpoint, "save", fill_at_third)
    with pytest.raises(InputError, match="No space left"):
        run(make_config(), data, tmp_path / "full")
    monkeypatch.undo()
    assert run(make_config(), data, tmp_path / "full") == expected
    assert "going on after epoch 2" in capsys.readouterr().out


def test_batches_cover_every_row_once_and_never_end_with_a_single_one():
    for n in range(2, 40):
        parts = list(epoch.batches(torch.randperm(n), 8))
        assert sorted(torch.cat(parts).tolist()) == list(range(n))
        assert min(map(len, parts)) > 1


def test_epoch_seeds_differ():
    seeds = {epoch.epoch_seed(s, e) for s in range(5) for e in range(50)}
    assert len(seeds) == 250
    assert all(0 <= s < 2**63 for s in seeds)


def test_bf16_trains_too(tmp_path, data):
    run(make_config(training={"precision": "bf16"}), data, tmp_path)
    assert pd.read_csv(tmp_path / "out" / "history.csv")["loss_total"].notna().all()


@pytest.fixture
def aligned():
    n = 8
    manifest = pd.DataFrame(
        {
            "id": [f"i{k}" for k in range(n)],
            "split": ["test", "train", "train", "valid", "train", "test", "train", "train"],
            "label": [0, 1, 2, 0, 1, 2, 0, 1],
        }
    )
    faces = np.arange(n, dtype=np.uint8)[:, None, None, None].repeat(32, 1).repeat(32, 2)
    return AlignedFaces("tiny", ("a", "b", "c"), faces, manifest, np.zeros((n, 5, 2), np.float32))


SMALL_LABELS = pd.DataFrame(
    {"id": ["i7", "i1", "i2", "i4", "i6"], "label": [2, 0, 2, -1, 1], "clean": [1, 1, 2, 1, 0]}
)


@pytest.fixture
def aligned_file(tmp_path):
    """The tiny data in the file of a store, and its given labels."""
    data = make_data()
    splits = {"train": data.train, "valid": data.valid, "test": data.test}
    np.save(tmp_path / "faces.npy", np.concatenate([s.faces.numpy() for s in splits.values()]))
    manifest = pd.concat(
        pd.DataFrame({"id": s.ids, "split": name, "label": s.labels.numpy()}) for name, s in splits.items()
    ).reset_index(drop=True)
    labels = pd.DataFrame({"id": data.train.ids, "label": data.train.labels.numpy(), "clean": data.clean})
    faces = np.load(tmp_path / "faces.npy", mmap_mode="r")
    return AlignedFaces("tiny", data.classes, faces, manifest, np.zeros((len(faces), 5, 2))), labels


def test_select_joins_labels_by_id_and_leaves_test_alone(aligned):
    data = select(aligned, SMALL_LABELS)
    assert data.train.ids == ["i1", "i2", "i6", "i7"]  # i4 has no label
    assert data.train.labels.tolist() == [0, 2, 1, 2]
    assert data.clean.tolist() == [1, 2, 0, 1]
    assert data.train.faces[:][:, 0, 0, 0].tolist() == [1, 2, 6, 7]
    assert data.test.ids == ["i0", "i5"]
    assert data.test.labels.tolist() == [0, 2]
    assert data.valid.ids == ["i3"]


def test_select_refuses_labels_of_another_data_set(aligned):
    labels = pd.DataFrame({"id": ["x1", "x2", "x3", "x4", "x5"], "label": [0] * 5, "clean": [0] * 5})
    with pytest.raises(InputError, match="5 given labels for 5 training samples, 5 of them without one"):
        select(aligned, labels)


def test_a_balanced_order_draws_the_classes_equally_often():
    labels = torch.tensor([0] * 900 + [1] * 90 + [2] * 10)
    order = epoch.draw_order(labels, True, torch.Generator().manual_seed(0))
    counts = torch.bincount(labels[order])
    assert len(order) == 1000
    assert ((counts - 333).abs() < 60).all()  # 4 standard deviations
    plain = epoch.draw_order(labels, False, torch.Generator().manual_seed(0))
    assert plain.sort().values.tolist() == list(range(1000))


def test_forward_passes_count_the_mining_too(tmp_path, data):
    run(make_config(), data, tmp_path)
    history = pd.read_csv(tmp_path / "out" / "history.csv")
    noisy = history["subset_noisy"].fillna(0)
    # two networks over the training samples; then also over all of them in the mining, and the strong views
    expected = [2.0] + [4 + 2 * share for share in noisy[1:]]
    assert history["forward_passes"].tolist() == pytest.approx(expected)


def test_faces_that_do_not_fit_are_streamed_to_the_same_bytes(tmp_path, monkeypatch, aligned_file):
    """Resident and streamed from the memory map: every file of the results is the same."""
    aligned, labels = aligned_file
    resident = run(make_config(), select(aligned, labels), tmp_path / "resident")
    streamed = []
    real = StreamedFaces.batches
    monkeypatch.setattr(StreamedFaces, "batches", lambda *a: streamed.append(1) or real(*a))
    monkeypatch.setenv("ASM_MEMORY_GB", "0.00001")
    assert run(make_config(), select(aligned, labels), tmp_path / "streamed") == resident
    assert streamed


def test_half_of_the_free_memory_is_for_faces_unless_told(monkeypatch):
    monkeypatch.delenv("ASM_MEMORY_GB", raising=False)
    assert 0 < memory_for_faces(CPU) < 10**13
    monkeypatch.setenv("ASM_MEMORY_GB", "1.5")
    assert memory_for_faces(CPU) == 1_500_000_000
    monkeypatch.setenv("ASM_MEMORY_GB", "a lot")
    with pytest.raises(InputError, match="ASM_MEMORY_GB: expected a number of gigabytes, found 'a lot'"):
        memory_for_faces(CPU)


def test_streamed_batches_come_in_order_however_many_are_read_ahead(aligned):
    faces = select(aligned, SMALL_LABELS).train.faces
    parts = [torch.tensor(rows) for rows in ([0, 3], [1], [2, 2, 0], [3], [0], [1], [2], [3, 1])]
    found = [batch[:, 0, 0, 0].tolist() for batch in faces.batches(iter(parts))]
    assert found == [[(1, 2, 6, 7)[row] for row in part.tolist()] for part in parts]
    assert faces.shape == (4, 32, 32, 1)
    assert faces[1:3][:, 0, 0, 0].tolist() == [2, 6]
