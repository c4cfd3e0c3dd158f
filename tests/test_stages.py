"""The stages' scripts as a user meets them: what they write, and one line and exit code 1 for bad input."""

import json
import shutil
from pathlib import Path

import made_dlib
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from scripts import ROOT, command, configure, refused, run_here
from tiny import make_config

from asm.faces import store
from asm.parts import backbones
from asm.parts.batches import cell_data
from asm.parts.weights import dlib, read_weights
from asm.training import cell as cell_module

CLASSES = ("neutral", "happiness", "sadness")
TRAIN, OTHER = 40, 6  # samples: the latter of validation and of test each
FACES = {"images": 40, "unreadable": 0, "fallback": 4, "fallback_share": 0.1}


@pytest.fixture
def faces(tmp_path) -> Path:
    """The folder of a store of colours in a project (tmp_path), with the splits in turn; one id looks like a
    number, one like a missing value."""
    count = TRAIN + 2 * OTHER
    split = np.array(["train"] * count, dtype=object)
    split[1 : 1 + 4 * OTHER : 4], split[3 : 3 + 4 * OTHER : 4] = "valid", "test"
    rng = np.random.default_rng(0)
    label = np.arange(count) // 2 % 3
    pixels = rng.integers(0, 120, (count, 32, 32, 3), dtype=np.uint8)
    pixels[np.arange(count), :, :, label] += 100
    ids = ["007", "v", "NA", "t", *(f"img_{i}" for i in range(4, count))]
    manifest = pd.DataFrame(
        {
            "id": ids,
            "path": [f"faces/{i}.png" for i in ids],
            "split": split,
            "true": label,
            # the other annotator: mostly the next class, now and then unknown
            "original_label": np.where(
                np.arange(count) % 10 == 0, -1, (label + (np.arange(count) % 3 > 0)) % 3
            ),
            "face": "as_is",
        }
    )
    folder = tmp_path / "data" / "aligned" / "tiny"
    folder.mkdir(parents=True)
    np.save(folder / "faces.npy", pixels)
    np.save(folder / "landmarks.npy", np.full((count, 5, 2), np.nan, np.float32))
    manifest.to_csv(folder / "manifest.csv", index=False)
    summarise(folder)
    return folder


def summarise(folder: Path) -> None:
    """summary.json of the store as it is."""
    content = {"dataset": "tiny", "classes": CLASSES, **FACES, "sha256": store.digests(folder)}
    (folder / "summary.json").write_text(json.dumps(content))


QUARTER = {"kind": "symmetric", "rate": 0.25, "seed": 3}  # draws 10 of the 40 training samples


def corrupt_words(folder: Path, **config) -> list[object]:
    path = configure(folder, "corrupt", "n", {"seed": 0, **config})
    places = {
        "lists": folder,
        "faces": folder / "data" / "aligned" / "tiny",
        "out": folder / "data" / "labels" / "tiny_n",
    }
    return ["--config", path, *(word for key, value in places.items() for word in (f"--{key}", value))]


def corrupted(folder: Path, **config) -> tuple[pd.DataFrame, dict]:
    """labels.csv and noise.json of a run of the corrupt stage that must succeed."""
    done = command(folder, "corrupt", *corrupt_words(folder, **config))
    assert done.returncode == 0, done.stderr
    written = folder / "data" / "labels" / "tiny_n"
    labels = pd.read_csv(written / "labels.csv", dtype={"id": str}, keep_default_na=False)
    return labels, json.loads((written / "noise.json").read_text())


def check_summary(labels: pd.DataFrame, noise: dict) -> None:
    """noise.json says what labels.csv holds: counts, realised rate and transition matrix."""
    kept = labels[labels["given"] >= 0]
    assert noise["samples"] == len(kept)
    assert noise["excluded"] == len(labels) - len(kept)
    assert noise["wrong"] == (kept["given"] != kept["true"]).sum()
    assert noise["realised"] == pytest.approx((kept["given"] != kept["true"]).mean())
    table = pd.crosstab(kept["true"], kept["given"]).reindex(index=range(3), columns=range(3), fill_value=0)
    assert noise["counts"] == table.to_numpy().tolist()
    np.testing.assert_allclose(noise["transition"], table.div(table.sum(axis=1), axis=0))
    assert noise["classes"] == list(CLASSES)


# --- corrupt ----------------------------------------------------------------------------------------------


def test_symmetric_noise_changes_so_many_training_labels_and_nothing_else(tmp_path, faces):
    before = {path.name: path.read_bytes() for path in faces.iterdir()}
    labels, noise = corrupted(tmp_path, **QUARTER)
    aligned = store.load(faces)
    train = aligned.manifest[aligned.manifest["split"] == "train"]
    assert labels["id"].tolist() == train["id"].tolist()
    assert {"007", "NA"} < set(labels["id"])
    assert labels["true"].tolist() == train["true"].tolist()
    assert (labels["given"] != labels["true"]).sum() == 10  # a quarter of 40
    assert (noise["kind"], noise["rate"], noise["realised"]) == ("symmetric", 0.25, 0.25)
    check_summary(labels, noise)
    assert {path.name: path.read_bytes() for path in faces.iterdir()} == before
    data = cell_data(aligned, labels)
    for samples, split in ((data.valid, "valid"), (data.test, "test")):
        rows = aligned.manifest[aligned.manifest["split"] == split]
        assert samples.ids == rows["id"].tolist()
        assert samples.labels.tolist() == rows["true"].tolist()
        assert len(samples.ids) == OTHER
    assert data.train.labels.tolist() == labels["given"].tolist()


def test_asymmetric_noise_follows_the_pairs(tmp_path, faces):
    pairs = {"neutral": "sadness", "happiness": "neutral"}
    labels, noise = corrupted(tmp_path, kind="asymmetric", rate=0.5, pairs=pairs)
    changed = labels[labels["given"] != labels["true"]]
    assert set(zip(changed["true"], changed["given"], strict=True)) == {(0, 2), (1, 0)}
    assert noise["per_class"][2] == 0.0
    assert noise["transition"][2] == [0.0, 0.0, 1.0]
    check_summary(labels, noise)


def test_a_given_list_is_taken_as_it_is(tmp_path, faces):
    manifest = store.load(faces).manifest
    wanted = (manifest["true"] + (manifest.index % 5 == 0)) % 3  # every fifth label is the next class
    lines = [f"{i}.png {label + 1}" for i, label in zip(manifest["id"], wanted, strict=True)]
    (tmp_path / "list.txt").write_text("\n".join(lines))
    labels, noise = corrupted(tmp_path, kind="list", path="list.txt")
    is_train = manifest["split"] == "train"
    assert labels["given"].tolist() == wanted[is_train].tolist()
    assert noise["wrong"] == (is_train & (manifest.index % 5 == 0)).sum()
    assert noise["rate"] is None
    check_summary(labels, noise)


def test_original_labels_leave_unknown_ones_out(tmp_path, faces):
    labels, noise = corrupted(tmp_path, kind="original")
    manifest = store.load(faces).manifest.query("split == 'train'")
    assert labels["given"].tolist() == manifest["original_label"].tolist()
    unknown = manifest["original_label"] == -1
    assert noise["excluded"] == unknown.sum() > 0
    check_summary(labels, noise)
    data = cell_data(store.load(faces), labels)
    assert data.train.ids == manifest["id"][~unknown].tolist()
    assert data.true.tolist() == manifest["true"][~unknown].tolist()


def test_corrupt_refuses_in_one_line(tmp_path, faces):
    def message(**config) -> str:
        found = refused(tmp_path, "corrupt", *corrupt_words(tmp_path, **config))
        assert not (tmp_path / "data" / "labels").exists()
        return found

    assert "list.txt: no such file" in message(kind="list", path="list.txt")
    assert "'joy' is not among the classes" in message(kind="asymmetric", rate=0.1, pairs={"joy": "sadness"})
    manifest = pd.read_csv(faces / "manifest.csv", keep_default_na=False).drop(columns="original_label")
    manifest.to_csv(faces / "manifest.csv", index=False)
    summarise(faces)
    assert "no second annotator's labels" in message(kind="original")
    shutil.rmtree(faces)
    assert "no such directory of aligned faces" in message(kind="symmetric", rate=0.1)


# --- configs ----------------------------------------------------------------------------------------------


def test_configs_names_a_bad_key(tmp_path):
    text = (ROOT / "params.yaml").read_text().replace("  init_clean:", "  init_claen:")
    (tmp_path / "params.yaml").write_text(text)
    profile = ROOT / "profiles" / "smoke" / "profile.yaml"
    words = ["--params", "params.yaml", "--profile", profile, "--name", "smoke", "--out", "configs"]
    done = command(tmp_path, "configs", *words)
    assert done.returncode == 1
    assert "params.yaml: thresholds.init_claen: unknown key; known here: adaptive" in done.stderr
    assert "thresholds.init_clean: missing; it needs a value" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "configs").exists()


# --- init -------------------------------------------------------------------------------------------------

TINY_NETWORK = {"network": {"backbone": "resnet18", "width": 4, "image_size": 32}}


def init_words(folder: Path, content: dict) -> list[object]:
    return ["--config", configure(folder, "init", "i", content), "--files", folder, "--out", folder / "init"]


def test_init_without_weights_writes_only_its_summary(tmp_path, monkeypatch):
    content = {"weights": "none", **TINY_NETWORK}
    run_here(monkeypatch, tmp_path, "init", *init_words(tmp_path, content))
    assert [path.name for path in (tmp_path / "init").iterdir()] == ["summary.json"]
    assert json.loads((tmp_path / "init" / "summary.json").read_text()) == {
        "weights": "none",
        "backbone": "resnet18",
        "width": 4,
    }


def test_init_takes_the_backbone_out_of_a_published_file(tmp_path, monkeypatch):
    network = backbones.build("resnet18", 12, 4, None, 0)
    theirs = {ours: published for published, ours in network.published_names.items()}

    def published(name: str) -> str:
        part = next(part for part in theirs if name.startswith(f"{part}."))
        return f"module.{theirs[part]}{name.removeprefix(part)}"

    state = {published(key): value for key, value in network.state_dict().items()}
    assert {"module.conv1.weight", "module.layer4.1.bn2.bias", "module.fc.weight"} < set(state)
    torch.save({"state_dict": state, "epoch": 9}, tmp_path / "resnet18_msceleb.pth")
    content = {"weights": "msceleb", "path": "resnet18_msceleb.pth", **TINY_NETWORK}
    run_here(monkeypatch, tmp_path, "init", *init_words(tmp_path, content))
    written = load_file(tmp_path / "init" / "weights.safetensors")
    assert set(written) == set(network.backbone_state())
    assert all(torch.equal(value, network.state_dict()[key]) for key, value in written.items())
    summary = json.loads((tmp_path / "init" / "summary.json").read_text())
    assert (summary["path"], summary["tensors"]) == (content["path"], len(written))


def test_init_turns_dlibs_file_into_a_backbone(tmp_path, monkeypatch):
    monkeypatch.setattr(dlib, "CALIBRATION_FACES", 4)
    made_dlib.write(tmp_path / "mine.dat", *made_dlib.random_layers())
    content = {
        "weights": "dlib",
        "path": "mine.dat",
        "network": {"backbone": "dlib29", "width": 32, "image_size": 64},
    }
    run_here(monkeypatch, tmp_path, "init", *init_words(tmp_path, content))
    state = read_weights(tmp_path / "init" / "weights.safetensors", "dlib29", 32)
    assert state["stages.0.0.conv1.weight"].shape == (32, 32, 3, 3)
    summary = json.loads((tmp_path / "init" / "summary.json").read_text())
    assert (summary["file"], summary["layers"], summary["tensors"]) == ("mine.dat", 29, len(state))
    (tmp_path / "mine.dat").write_bytes(b"something else")
    with pytest.raises(SystemExit, match=r"^error: .*mine\.dat: convolution 1 of 29 is missing"):
        run_here(monkeypatch, tmp_path, "init", *init_words(tmp_path, content))


def test_init_says_where_to_get_missing_weights(tmp_path, monkeypatch):
    words = init_words(tmp_path, {"weights": "msceleb", "path": "absent.pth", **TINY_NETWORK})
    with pytest.raises(
        SystemExit, match=r"^error: .*absent\.pth: no such weights file; get resnet18_msceleb\.pth"
    ):
        run_here(monkeypatch, tmp_path, "init", *words)


# --- train, evaluate, tsne --------------------------------------------------------------------------------

CELL = ("tiny", "tiny", "n", "none")  # cell, data set, noise, initial weights
SCORED = CELL[:3]


@pytest.fixture
def cell(tmp_path, faces) -> Path:
    """The project of a tiny ASM cell at a quarter wrong labels."""
    corrupted(tmp_path, **QUARTER)
    config = make_config(training={"epochs": 6}).model_dump(exclude={"code"})
    configure(tmp_path, "train", "tiny", config)
    configure(tmp_path, "evaluate", None, {})
    configure(tmp_path, "tsne", None, {})
    (tmp_path / "data" / "init" / "none").mkdir(parents=True)
    return tmp_path


def test_train_refuses_weights_of_another_network(cell):
    state = {
        f"encoder.{key}": value
        for key, value in backbones.build("resnet18", 1, 4, None, 0).state_dict().items()
    }
    save_file(state, cell / "data" / "init" / "none" / "weights.safetensors")
    message = refused(cell, "train", *CELL)
    assert "missing: ['stem.0.weight'" in message
    assert "the file holds e.g. ['encoder." in message
    assert not (cell / "runs").exists()


def test_train_refuses_a_configuration_of_other_code(cell):
    path = cell / "configs" / "train" / "tiny.yaml"
    content = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump(content | {"code": "0" * 64}))
    message = refused(cell, "train", *CELL)
    assert "tiny.yaml: the code of the stage 'train' has changed since this file was written" in message


def test_from_labels_to_scores_and_embedding(cell, monkeypatch):
    """What the scores of a real run say agrees with what its own training log says."""
    run_here(monkeypatch, cell, "train", *CELL)
    run_here(monkeypatch, cell, "evaluate", *SCORED)
    scores = json.loads((cell / "reports" / "scores" / "tiny.json").read_text())
    history = pd.read_csv(cell / "runs" / "tiny" / "history.csv")
    last5 = history.tail(5)
    test = scores["test"]
    assert test["averaged_epochs"] == 5
    assert test["accuracy"]["last5"] == pytest.approx(last5["test_accuracy"].mean())
    assert test["accuracy"]["last"] == pytest.approx(history["test_accuracy"].iloc[-1])
    for i, network in enumerate(test["networks"], start=1):
        assert network["last5"] == pytest.approx(last5[f"test_accuracy_net{i}"].mean())
    assert scores["curves"]["subset_noisy"] == [None, *history["subset_noisy"][1:]]
    assert scores["noise"]["realised"] == 0.25
    assert scores["mining"]["epoch"] == [2, 3, 4, 5, 6]
    overall = 0.0
    for name in ("clean", "ambiguous", "noisy"):
        wrong = scores["mining"]["wrong_share"][name][-1]
        overall += history[f"subset_{name}"].iloc[-1] * (wrong or 0)
    assert overall == pytest.approx(0.25)
    assert scores["faces"] == {**FACES, "corrected": 0}
    words = ["--config", "configs/tsne.yaml", "--run", "runs/tiny", "--out", "tsne/tiny.npz"]
    run_here(monkeypatch, cell, "tsne", *words)
    found = np.load(cell / "tsne" / "tiny.npz")
    assert found["train_xy"].shape == (TRAIN, 2)
    assert (found["train_given"] != found["train_true"]).mean() == 0.25
    assert (found["train_subset"] == 2).mean() == pytest.approx(history["subset_noisy"].iloc[-1])


def test_train_refuses_a_number_of_processes_that_is_none(cell):
    done = command(cell, "train", *CELL, processes="two")
    assert done.returncode == 1
    assert done.stderr == "error: ASM_PROCESSES: expected a number from 1, found 'two'\n"


def train_two_epochs(cell: Path, monkeypatch) -> None:
    """Train, interrupted before the third epoch."""
    real = cell_module.set_rates

    def stop_before_the_third(optimizer, options, epoch, epochs):
        if epoch == 3:
            raise KeyboardInterrupt
        return real(optimizer, options, epoch, epochs)

    with monkeypatch.context() as patch:
        patch.setattr(cell_module, "set_rates", stop_before_the_third)
        with pytest.raises(KeyboardInterrupt):
            run_here(patch, cell, "train", *CELL)


def test_two_processes_go_on_where_one_stopped(cell, monkeypatch):
    train_two_epochs(cell, monkeypatch)
    done = command(cell, "train", *CELL, processes=2)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("going on after epoch 2") == 1  # the second process is silent
    history = pd.read_csv(cell / "runs" / "tiny" / "history.csv")
    assert history["epoch"].tolist() == [1, 2, 3, 4, 5, 6]
    assert history["forward_passes"].tolist()[0] == 2.0


def test_training_goes_on_only_from_a_checkpoint_of_the_same_pixels(cell, faces, monkeypatch):
    """Interrupted, then one pixel of one image changed: it begins again."""
    train_two_epochs(cell, monkeypatch)
    pixels = np.load(faces / "faces.npy")
    pixels[8, 31, 31, 2] ^= 1
    np.save(faces / "faces.npy", pixels)
    summarise(faces)
    done = command(cell, "train", *CELL)
    assert done.returncode == 0, done.stderr
    assert "checkpoint of another configuration or data ignored" in done.stdout


def test_evaluate_refuses_an_incomplete_run_and_one_of_other_data(cell, faces, monkeypatch):
    run_here(monkeypatch, cell, "train", *CELL)
    manifest = pd.read_csv(faces / "manifest.csv", dtype={"id": str}, keep_default_na=False)
    other = manifest.assign(
        id=np.where(manifest["split"] == "test", "other_" + manifest["id"], manifest["id"])
    )
    other.to_csv(faces / "manifest.csv", index=False)
    assert "the run belongs to other data" in refused(cell, "evaluate", *SCORED)
    manifest.to_csv(faces / "manifest.csv", index=False)
    (cell / "runs" / "tiny" / "test_predictions.npz").unlink()
    with pytest.raises(
        SystemExit, match=r"^error: .*test_predictions\.npz: not found; the run is incomplete"
    ):
        run_here(monkeypatch, cell, "evaluate", *SCORED)
    assert not (cell / "reports").exists()
