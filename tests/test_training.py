"""The loop: it learns, repeats itself to the byte, survives SIGKILL at any moment, and stops on NaN."""

import json
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from tiny import HEAD, make_bank_samples, make_config, make_data

from asm import mining
from asm.basics.errors import InputError
from asm.faces.store import AlignedFaces
from asm.grid.params import METHODS
from asm.methods import Method
from asm.parts import device
from asm.parts.batches import Samples, StreamedFaces, cell_data
from asm.training import cell, checkpoint, epoch

CPU = torch.device("cpu")


def results(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "out").iterdir()}


@pytest.fixture(scope="module")
def usual(tmp_path_factory) -> Path:
    """The folder of the usual cell, trained once."""
    folder = tmp_path_factory.mktemp("usual")
    cell.train(make_config(), make_data(), None, folder / "out", folder / "ck", folder / "timing.csv", CPU)
    return folder


@pytest.mark.parametrize(("method", "networks"), [("baseline", 1), ("asm", 2)])
def test_training_learns_and_writes_everything(tmp_path, data, train_cell, method, networks):
    files = train_cell(make_config(method, training={"epochs": 7}), data, tmp_path)
    assert sorted(files) == [
        "features.npz",
        "history.csv",
        "run.json",
        "test_predictions.npz",
        "train_predictions.npz",
        "weights.safetensors",
    ]
    history = pd.read_csv(tmp_path / "out" / "history.csv")
    assert history["epoch"].tolist() == list(range(1, 8))
    assert history["loss_total"].iloc[-1] < history["loss_total"].iloc[0]
    assert history["test_accuracy"].iloc[-1] > 0.6  # colours are easy; chance is a third
    assert history["lr"].tolist() == pytest.approx([0.003 * 0.9**e for e in range(7)])
    assert ("test_accuracy_net2" in history) == (networks == 2)

    test = np.load(tmp_path / "out" / "test_predictions.npz")
    assert test["ids"].tolist() == data.test.ids
    assert test["true"].tolist() == data.test.labels.tolist()
    assert test["epochs"].tolist() == [3, 4, 5, 6, 7]
    assert test["probabilities"].shape == (5, networks, 12, 3)
    np.testing.assert_allclose(test["probabilities"].sum(-1), 1, atol=1e-5)
    last = (test["probabilities"][-1].mean(0).argmax(1) == test["true"]).mean()
    assert last == pytest.approx(history["test_accuracy"].iloc[-1])

    train = np.load(tmp_path / "out" / "train_predictions.npz")
    assert train["ids"].tolist() == data.train.ids
    assert train["given"].tolist() == data.train.labels.tolist()
    assert train["true"].tolist() == data.true.tolist()
    assert (train["given"] != train["true"]).sum() == 6
    assert train["probabilities"].shape == (30, 3)
    assert train["epochs"].tolist() == ([2, 3, 4, 5, 6, 7] if method == "asm" else [])
    if method == "asm":  # Eq. 1 once more, after the last epoch
        before = history[[f"threshold_clean_{k}" for k in range(3)]].iloc[-1].to_numpy(np.float32)
        probs, given = (torch.from_numpy(train[name]) for name in ("probabilities", "given"))
        after = mining.clean_thresholds(probs, given, torch.from_numpy(before))
        assert train["clean_threshold"].tolist() == after.tolist() != before.tolist()

    weights = load_file(tmp_path / "out" / "weights.safetensors")
    assert f"networks.{networks - 1}.stem.0.weight" in weights
    assert f"networks.{networks}.stem.0.weight" not in weights
    timing = pd.read_csv(tmp_path / "timing.csv")
    assert (timing["samples_per_second"] > 0).all()
    assert (timing["threads"] == 1).all()
    assert (tmp_path / "ck" / "last.pt").exists()  # until the results are safe
    inputs = json.loads(files["run.json"])["provenance"]["inputs"]
    assert inputs == cell.fingerprint(make_config(method, training={"epochs": 7}), data, None)


def test_what_the_mining_did_and_cost_is_in_the_history(usual):
    history = pd.read_csv(usual / "out" / "history.csv")
    shares = history[["subset_clean", "subset_ambiguous", "subset_noisy"]]
    assert shares.iloc[0].isna().all()  # warm-up
    assert shares.iloc[1:].sum(axis=1).tolist() == pytest.approx([1.0] * 3)
    clean, noisy = history["threshold_clean_2"], history["threshold_noisy_2"]
    assert (clean + noisy)[1:].tolist() == pytest.approx([1.0] * 3)
    assert {"loss_sup", "loss_mut", "loss_usc", "lambda"} <= set(history)
    stored = np.load(usual / "out" / "train_predictions.npz")["subsets"]
    noisy = history["subset_noisy"][1:]
    assert (stored == 2).mean(1).tolist() == pytest.approx(noisy.tolist())
    # two networks over the training samples; then also over all of them in the mining, and the strong views
    assert history["forward_passes"].tolist() == pytest.approx([2.0, *(4 + 2 * noisy)])


def test_two_runs_write_the_same_bytes_and_another_seed_other_ones(tmp_path, train_cell, data, usual):
    assert train_cell(make_config(), data, tmp_path / "b") == results(usual)
    assert (
        train_cell(make_config(seed=1), data, tmp_path / "c")["history.csv"] != results(usual)["history.csv"]
    )


def mining_methods() -> list[str]:
    """Those whose rule divides the samples as they are: on the plain view."""
    return [name for name, kind in METHODS.items() if kind.mine is not Method.mine and name != "man"]


@pytest.mark.parametrize("method", mining_methods())
@pytest.mark.parametrize("thresholds", [{}, {"confidence": "max"}, {"adaptive": False, "init_clean": 0.4}])
def test_what_the_rule_says_at_the_end_is_what_it_says_before_an_epoch(
    tmp_path, train_cell, method, thresholds
):
    """Heads that learn nothing: the subsets that the last epoch used are the final ones."""
    data = make_data(train=90, wrong=18, make=make_bank_samples)
    config = make_config(method, training=HEAD, optimizer={"lr": 1e-30}, thresholds=thresholds)
    train_cell(config, data, tmp_path)
    history = pd.read_csv(tmp_path / "out" / "history.csv")
    stored = np.load(tmp_path / "out" / "train_predictions.npz")
    if len(stored["epochs"]):  # else it waited to the end
        assert stored["final_subset"].tolist() == stored["subsets"][-1].tolist()
    assert len(set(stored["final_subset"].tolist())) > 1
    for kind in ("clean", "noisy"):
        columns = [f"threshold_{kind}_{k}" for k in range(3)]
        np.testing.assert_allclose(stored[f"{kind}_threshold"], history[columns].iloc[-1], rtol=1e-6)
    given = torch.from_numpy(stored["given"])
    confidence = mining.confidence(
        torch.from_numpy(stored["probabilities"]), given, config.thresholds.confidence
    )
    assert stored["confidence"].tolist() == confidence.tolist()


@pytest.mark.parametrize(("method", "subset"), [("baseline", 0), ("man", 30)])
def test_what_a_method_does_not_have_is_stored_empty(tmp_path, train_cell, data, method, subset):
    train_cell(make_config(method, training={"epochs": 2}), data, tmp_path)
    stored = np.load(tmp_path / "out" / "train_predictions.npz")
    names = ("final_subset", "confidence", "clean_threshold", "noisy_threshold")
    assert [len(stored[name]) for name in names] == [subset, 0, 0, 0]
    assert len(np.load(tmp_path / "out" / "features.npz")["test_subset"]) == 12 * (subset > 0)


def test_mean_class_accuracy_is_that_of_the_classes_that_are_there(data):
    few = replace(
        data, test=data.test.take(np.array([0, 1, 3, 4, 6, 9])), valid=data.valid.take(np.array([0, 1]))
    )
    scores, probs = epoch.evaluate(cell.make_method(make_config("baseline"), few, None), few)
    true, predicted = few.test.labels.numpy(), probs.mean(0).argmax(1).numpy()
    assert true.tolist() == [0, 1, 0, 1, 0, 0]
    expected = [(predicted == true)[true == k].mean() for k in (0, 1)]
    assert scores["test_mean_class_accuracy"] == pytest.approx(np.mean(expected))
    assert scores["test_accuracy"] == pytest.approx((predicted == true).mean())
    assert "valid_mean_class_accuracy" in scores


# forks a process for each moment, without a word of autograd before: what the imports take is paid once
CHILD = """
import json, os, signal, sys; sys.path.insert(0, {tests!r}); sys.argv = {argv!r}  # run.json holds them
from pathlib import Path
from tiny import make_config, make_data
from asm.methods import Method
from asm.parts import weights
from asm.training import cell
import torch
torch.set_num_threads(1)
folder, found = Path({folder!r}), []
saved = folder / "ck" / "last.pt"

def die_at_call(owner, name, number):
    real, calls = getattr(owner, name), []
    def function(*args, **options):
        calls.append(1)
        if len(calls) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **options)
    setattr(owner, name, function)

for moment in {moments!r}:
    if (child := os.fork()) == 0:
        exec(moment)
        cell.train(make_config({method!r}), make_data(train=120), None, folder / "out", folder / "ck",
                   folder / "timing.csv", torch.device("cpu"))
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    found.append([code, len(torch.load(saved, weights_only=True)["history"]) if saved.exists() else None])
(folder / "found.json").write_text(json.dumps(found))
"""
# what is called when the process dies, and how many epochs the next one finds done
MOMENTS = {
    "die_at_call(Method, 'weak', 3)": None,  # in the first epoch: nothing is kept
    "die_at_call(Method, 'weak', 20)": 1,  # of 15 batches an epoch: in the second
    "die_at_call(os, 'fsync', 1)": 1,  # the second epoch's checkpoint is written, but not yet in its place
    "die_at_call(weights, 'save', 1)": 4,  # among the results
}


@pytest.mark.parametrize("method", ["baseline", "asm"])
def test_killed_again_and_again_it_writes_the_bytes_of_an_uninterrupted_run(tmp_path, train_cell, method):
    expected = train_cell(make_config(method), make_data(train=120), tmp_path / "whole")
    folder, tests = tmp_path / "killed", str(Path(__file__).parent)
    told = {"argv": sys.argv, "folder": str(folder), "method": method, "moments": [*MOMENTS, ""]}
    script = CHILD.format(tests=tests, **told)
    subprocess.run([sys.executable, "-c", script], stdout=subprocess.DEVNULL, check=True)
    found = json.loads((folder / "found.json").read_text())
    assert found == [*([-signal.SIGKILL, kept] for kept in MOMENTS.values()), [0, 4]]
    assert results(folder) == expected


@pytest.mark.parametrize("other", [{"code": "of another commit"}, {"seed": 1}, None])
def test_a_checkpoint_of_other_code_options_or_labels_is_not_continued(
    tmp_path, train_cell, usual, capsys, other
):
    config, data = make_config(**other or {}), make_data() if other else make_data(wrong=0)
    shutil.copytree(usual / "ck", tmp_path / "ck")
    found = train_cell(config, data, tmp_path)
    assert "checkpoint of another configuration or data ignored" in capsys.readouterr().out
    assert found == train_cell(config, data, tmp_path / "fresh")


def test_a_non_finite_loss_stops_with_the_batchs_ids(tmp_path, train_cell, data):
    config = make_config("baseline", optimizer={"lr": 1e30})
    with pytest.raises(epoch.NonFiniteLoss, match=r"epoch \d+: .*samples: train\d+, train\d+.*Lower") as e:
        train_cell(config, data, tmp_path)
    assert len(str(e.value).split("samples: ")[1].split(". ")[0].split(", ")) == 8
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("train", "kept"), [(1, 12), (0, 12), (30, 0)])
def test_too_few_samples_are_refused(tmp_path, train_cell, data, train, kept):
    few = replace(data, train=rows(data.train, train), test=rows(data.test, kept))
    with pytest.raises(InputError, match=f"tiny: training needs two samples .* found {train} and {kept}"):
        train_cell(make_config(), few, tmp_path)


def rows(samples: Samples, count: int) -> Samples:
    return Samples(samples.ids[:count], samples.faces[:count], samples.labels[:count], samples.origin[:count])


def test_a_full_disk_stops_the_run_and_the_next_one_goes_on(
    tmp_path, train_cell, data, usual, monkeypatch, capsys
):
    real, calls = checkpoint.save, []

    def fill_at_third(state, path):
        calls.append(1)
        if len(calls) == 3:
            raise InputError(f"{path}: cannot write the checkpoint (No space left on device)")
        real(state, path)

    monkeypatch.setattr(checkpoint, "save", fill_at_third)
    with pytest.raises(InputError, match="No space left"):
        train_cell(make_config(), data, tmp_path / "full")
    monkeypatch.undo()
    assert train_cell(make_config(), data, tmp_path / "full") == results(usual)
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


def test_bf16_trains_too(tmp_path, train_cell, data):
    train_cell(make_config(training={"precision": "bf16"}), data, tmp_path)
    assert pd.read_csv(tmp_path / "out" / "history.csv")["loss_total"].notna().all()


@pytest.fixture
def aligned_file(tmp_path):
    """The tiny data in the file of a store, and its given labels."""
    data = make_data()
    splits = {"train": data.train, "valid": data.valid, "test": data.test}
    np.save(tmp_path / "faces.npy", np.concatenate([s.faces.numpy() for s in splits.values()]))
    manifest = pd.concat(
        pd.DataFrame({"id": s.ids, "split": name, "true": s.labels.numpy()}) for name, s in splits.items()
    ).reset_index(drop=True)
    labels = pd.DataFrame({"id": data.train.ids, "given": data.train.labels.numpy(), "true": data.true})
    faces = np.load(tmp_path / "faces.npy", mmap_mode="r")
    return AlignedFaces("tiny", data.classes, faces, manifest, np.zeros((len(faces), 5, 2))), labels


def test_a_balanced_order_draws_the_classes_equally_often():
    labels = torch.tensor([0] * 900 + [1] * 90 + [2] * 10)
    order = epoch.draw_order(labels, True, torch.Generator().manual_seed(0))
    counts = torch.bincount(labels[order])
    assert len(order) == 1000
    assert ((counts - 333).abs() < 60).all()  # 4 standard deviations
    plain = epoch.draw_order(labels, False, torch.Generator().manual_seed(0))
    assert plain.sort().values.tolist() == list(range(1000))


def test_faces_that_do_not_fit_are_streamed_to_the_same_bytes(
    tmp_path, train_cell, usual, monkeypatch, aligned_file
):
    """Streamed from a memory map, and resident: every file of the results is the same."""
    aligned, labels = aligned_file
    streamed = []
    real = StreamedFaces.batches
    monkeypatch.setattr(StreamedFaces, "batches", lambda *a: streamed.append(1) or real(*a))
    monkeypatch.setenv("ASM_MEMORY_GB", "0.00001")
    assert train_cell(make_config(), cell_data(aligned, labels), tmp_path / "streamed") == results(usual)
    assert streamed


def test_the_number_of_threads_is_one_unless_the_environment_says_so_and_is_said(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(device, "_keep_freed_memory", lambda: None)
    try:
        for given, threads in ((None, 1), ("1", 1), ("2", 2)):
            monkeypatch.setenv("OMP_NUM_THREADS", given) if given else monkeypatch.delenv(
                "OMP_NUM_THREADS", False
            )
            assert device.pick_device() == CPU
            assert torch.get_num_threads() == threads
            assert ("2 threads give other last digits" in capsys.readouterr().err) == (threads == 2)
        for given in ("", "0", "many", "-1"):
            monkeypatch.setenv("OMP_NUM_THREADS", given)
            with pytest.raises(
                InputError, match=f"OMP_NUM_THREADS: expected a number from 1, found '{given}'"
            ):
                device.pick_device()
    finally:
        torch.set_num_threads(1)
