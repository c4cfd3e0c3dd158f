"""The stages' scripts as a user meets them: what they write, and one line and exit code 1 for bad input."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from test_evaluation import make_manifest, write_run
from tiny import make_config

from asm import backbone, training
from asm.data import select
from asm.faces import store

ROOT = Path(__file__).resolve().parents[1]
CLASSES = ("neutral", "happiness", "sadness")
TRAIN, OTHER = 40, 6  # samples: the latter of validation and of test each
FACES = {"images": 40, "unreadable": 0, "fallback": 4, "fallback_share": 0.1}


def command(stage: str, processes: int | str = 1, **options) -> subprocess.CompletedProcess:
    """Run a stage's script as DVC does, from another folder so that nothing depends on where it stands."""
    words = [w for key, value in options.items() for w in (f"--{key}", str(value))]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    environment["ASM_PROCESSES"] = str(processes)
    return subprocess.run(
        [sys.executable, str(ROOT / "stages" / f"{stage}.py"), *words],
        capture_output=True,
        text=True,
        cwd=ROOT / "tests",
        env=environment,
        check=False,
    )


def refused(stage: str, **options) -> str:
    """The message of a stage that must end with exit code 1, one `error: ...` and no traceback."""
    done = command(stage, **options)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.strip().splitlines()) == 1
    return done.stderr


def run_here(monkeypatch, stage: str, **options) -> None:
    """Run a stage's script in this process, which has torch loaded already."""
    words = [w for key, value in options.items() for w in (f"--{key}", str(value))]
    monkeypatch.setattr(sys, "argv", [f"{stage}.py", *words])
    runpy.run_path(str(ROOT / "stages" / f"{stage}.py"), run_name="__main__")


def write_yaml(path: Path, content: dict) -> Path:
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture
def faces(tmp_path) -> Path:
    """A store of colours with the splits in turn; one id looks like a number, one like a missing value."""
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
            "label": label,
            # the other annotator: mostly the next class, now and then unknown
            "original_label": np.where(
                np.arange(count) % 10 == 0, -1, (label + (np.arange(count) % 3 > 0)) % 3
            ),
            "face": "as_is",
        }
    )
    folder = tmp_path / "faces"
    folder.mkdir()
    np.save(folder / "faces.npy", pixels)
    np.save(folder / "landmarks.npy", np.full((count, 5, 2), np.nan, np.float32))
    manifest.to_csv(folder / "manifest.csv", index=False)
    (folder / "summary.json").write_text(json.dumps({"dataset": "tiny", "classes": CLASSES, **FACES}))
    return folder


def corrupted(tmp_path: Path, faces: Path, **config) -> tuple[pd.DataFrame, dict]:
    """labels.csv and noise.json of a run of the corrupt stage that must succeed."""
    path = write_yaml(tmp_path / "noise.yaml", {"seed": 0, "mode": "bernoulli", **config})
    done = command("corrupt", config=path, faces=faces, out=tmp_path / "labels")
    assert done.returncode == 0, done.stderr
    labels = pd.read_csv(tmp_path / "labels" / "labels.csv", dtype={"id": str}, keep_default_na=False)
    return labels, json.loads((tmp_path / "labels" / "noise.json").read_text())


def check_summary(labels: pd.DataFrame, noise: dict) -> None:
    """noise.json says what labels.csv holds: counts, realised rate and transition matrix."""
    kept = labels[labels["label"] >= 0]
    assert noise["samples"] == len(kept)
    assert noise["excluded"] == len(labels) - len(kept)
    assert noise["flipped"] == (kept["label"] != kept["clean"]).sum()
    assert noise["realised"] == pytest.approx((kept["label"] != kept["clean"]).mean())
    table = pd.crosstab(kept["clean"], kept["label"]).reindex(index=range(3), columns=range(3), fill_value=0)
    assert noise["counts"] == table.to_numpy().tolist()
    np.testing.assert_allclose(noise["transition"], table.div(table.sum(axis=1), axis=0))
    assert noise["classes"] == list(CLASSES)


# --- corrupt ----------------------------------------------------------------------------------------------


def test_symmetric_noise_changes_so_many_training_labels_and_nothing_else(tmp_path, faces):
    before = {path.name: path.read_bytes() for path in faces.iterdir()}
    labels, noise = corrupted(tmp_path, faces, kind="symmetric", rate=0.25, mode="exact")
    aligned = store.load(faces)
    train = aligned.manifest[aligned.manifest["split"] == "train"]
    assert labels["id"].tolist() == train["id"].tolist()
    assert {"007", "NA"} < set(labels["id"])
    assert labels["clean"].tolist() == train["label"].tolist()
    assert (labels["label"] != labels["clean"]).sum() == 10  # a quarter of 40
    assert (noise["kind"], noise["rate"], noise["realised"]) == ("symmetric", 0.25, 0.25)
    check_summary(labels, noise)
    assert {path.name: path.read_bytes() for path in faces.iterdir()} == before
    data = select(aligned, labels)
    for samples, split in ((data.valid, "valid"), (data.test, "test")):
        rows = aligned.manifest[aligned.manifest["split"] == split]
        assert samples.ids == rows["id"].tolist()
        assert samples.labels.tolist() == rows["label"].tolist()
        assert len(samples.ids) == OTHER
    assert data.train.labels.tolist() == labels["label"].tolist()


def test_asymmetric_noise_follows_the_pairs(tmp_path, faces):
    pairs = {"neutral": "sadness", "happiness": "neutral"}
    labels, noise = corrupted(tmp_path, faces, kind="asymmetric", rate=0.5, pairs=pairs)
    changed = labels[labels["label"] != labels["clean"]]
    assert set(zip(changed["clean"], changed["label"], strict=True)) == {(0, 2), (1, 0)}
    assert noise["per_class"][2] == 0.0
    assert noise["transition"][2] == [0.0, 0.0, 1.0]
    check_summary(labels, noise)


def test_a_given_list_is_taken_as_it_is(tmp_path, faces):
    manifest = store.load(faces).manifest
    wanted = (manifest["label"] + (manifest.index % 5 == 0)) % 3  # every fifth label is the next class
    lines = [f"{i}.png {label + 1}" for i, label in zip(manifest["id"], wanted, strict=True)]
    (tmp_path / "list.txt").write_text("\n".join(lines))
    labels, noise = corrupted(tmp_path, faces, kind="list", path=str(tmp_path / "list.txt"))
    is_train = manifest["split"] == "train"
    assert labels["label"].tolist() == wanted[is_train].tolist()
    assert noise["flipped"] == (is_train & (manifest.index % 5 == 0)).sum()
    assert noise["rate"] is None
    check_summary(labels, noise)


def test_original_labels_leave_unknown_ones_out(tmp_path, faces):
    labels, noise = corrupted(tmp_path, faces, kind="original")
    manifest = store.load(faces).manifest.query("split == 'train'")
    assert labels["label"].tolist() == manifest["original_label"].tolist()
    unknown = manifest["original_label"] == -1
    assert noise["excluded"] == unknown.sum() > 0
    check_summary(labels, noise)
    data = select(store.load(faces), labels)
    assert data.train.ids == manifest["id"][~unknown].tolist()
    assert data.clean.tolist() == manifest["label"][~unknown].tolist()


def test_corrupt_refuses_in_one_line(tmp_path, faces):
    def message(folder: Path = faces, **config) -> str:
        path = write_yaml(tmp_path / "noise.yaml", {"seed": 0, "mode": "bernoulli", **config})
        found = refused("corrupt", config=path, faces=folder, out=tmp_path / "labels")
        assert not (tmp_path / "labels").exists()
        return found

    assert "no such directory of aligned faces" in message(tmp_path / "none", kind="symmetric", rate=0.1)
    assert "list.txt: no such file" in message(kind="list", path=str(tmp_path / "list.txt"))
    assert "'joy' is not among the classes" in message(kind="asymmetric", rate=0.1, pairs={"joy": "sadness"})
    manifest = pd.read_csv(faces / "manifest.csv", keep_default_na=False).drop(columns="original_label")
    manifest.to_csv(faces / "manifest.csv", index=False)
    assert "no second annotator's labels" in message(kind="original")


# --- configs ----------------------------------------------------------------------------------------------


def test_configs_names_a_bad_key(tmp_path):
    params = write_yaml(tmp_path / "params.yaml", {"thresholds": {"init_claen": 0.7}})
    profile = ROOT / "profiles" / "smoke.yaml"
    message = refused("configs", params=params, profile=profile, out=tmp_path / "configs")
    assert "params.yaml: thresholds.init_claen: unknown key; known here: adaptive, confidence" in message
    assert not (tmp_path / "configs").exists()


# --- init -------------------------------------------------------------------------------------------------


def test_init_without_weights_writes_only_its_summary(tmp_path, monkeypatch):
    config = write_yaml(tmp_path / "init.yaml", {"weights": "none", "width": 4})
    run_here(monkeypatch, "init", config=config, out=tmp_path / "init")
    assert [path.name for path in (tmp_path / "init").iterdir()] == ["summary.json"]
    assert json.loads((tmp_path / "init" / "summary.json").read_text()) == {"weights": "none", "width": 4}


def test_init_takes_the_backbone_out_of_a_published_file(tmp_path, monkeypatch):
    state = backbone.ResNet18(12, 4).state_dict()
    published = {"state_dict": {f"module.{key}": value for key, value in state.items()}, "epoch": 9}
    torch.save(published, tmp_path / "resnet18_msceleb.pth")
    content = {"weights": "msceleb", "width": 4, "path": str(tmp_path / "resnet18_msceleb.pth")}
    run_here(monkeypatch, "init", config=write_yaml(tmp_path / "init.yaml", content), out=tmp_path / "init")
    written = load_file(tmp_path / "init" / "weights.safetensors")
    assert set(written) == {key for key in state if not key.startswith("fc.")}
    assert all(torch.equal(value, state[key]) for key, value in written.items())
    summary = json.loads((tmp_path / "init" / "summary.json").read_text())
    assert summary == {**content, "tensors": len(written)}


def test_init_says_where_to_get_missing_weights(tmp_path, monkeypatch):
    content = {"weights": "msceleb", "width": 4, "path": str(tmp_path / "absent.pth")}
    config = write_yaml(tmp_path / "init.yaml", content)
    with pytest.raises(
        SystemExit, match=r"^error: .*absent\.pth: no such weights file; get resnet18_msceleb\.pth"
    ):
        run_here(monkeypatch, "init", config=config, out=tmp_path / "init")


# --- train, evaluate, tsne --------------------------------------------------------------------------------


@pytest.fixture
def cell(tmp_path, faces) -> dict[str, Path]:
    """The options of the train stage for a tiny ASM cell at a quarter wrong labels."""
    corrupted(tmp_path, faces, kind="symmetric", rate=0.25, mode="exact")
    config = make_config(training={"epochs": 6}).model_dump(exclude_none=True)
    (tmp_path / "init").mkdir()
    return {
        "config": write_yaml(tmp_path / "cell.yaml", config),
        "faces": faces,
        "labels": tmp_path / "labels",
        "init": tmp_path / "init",
        "out": tmp_path / "run",
        "checkpoints": tmp_path / "checkpoints",
        "timing": tmp_path / "timing.csv",
    }


def test_train_refuses_weights_of_another_network(cell):
    state = {f"encoder.{key}": value for key, value in backbone.ResNet18(1, 4).state_dict().items()}
    save_file(state, cell["init"] / "weights.safetensors")
    message = refused("train", **cell)
    assert "missing: ['conv1.weight'" in message
    assert "the file holds e.g. ['encoder." in message
    assert not cell["out"].exists()


def test_from_labels_to_scores_and_embedding(cell, tmp_path, monkeypatch):
    """What the scores of a real run say agrees with what its own training log says."""
    (cell["init"] / "summary.json").write_text(json.dumps({"weights": "none", "width": 4}))
    run_here(monkeypatch, "train", **cell)
    where = {"metrics": tmp_path / "m" / "tiny.json", "details": tmp_path / "d" / "tiny.json"}
    labels = cell["labels"] / "noise.json"
    run_here(
        monkeypatch,
        "evaluate",
        run=cell["out"],
        faces=cell["faces"],
        noise=labels,
        init=cell["init"],
        **where,
    )
    details = json.loads(where["details"].read_text())
    history = pd.read_csv(cell["out"] / "history.csv")
    last5 = history.tail(5)
    test = details["test"]
    assert test["averaged_epochs"] == 5
    assert test["accuracy"]["last5"] == pytest.approx(last5["test_accuracy"].mean())
    assert test["accuracy"]["last"] == pytest.approx(history["test_accuracy"].iloc[-1])
    for i, network in enumerate(test["networks"], start=1):
        assert network["last5"] == pytest.approx(last5[f"test_accuracy_net{i}"].mean())
    assert details["curves"]["subset_noisy"] == [None, *history["subset_noisy"][1:]]
    assert details["noise"]["realised"] == 0.25
    assert details["mining"]["epoch"] == [2, 3, 4, 5, 6]
    overall = 0.0
    for name in ("clean", "ambiguous", "noisy"):
        wrong = details["mining"]["wrong_share"][name][-1]
        overall += history[f"subset_{name}"].iloc[-1] * (wrong or 0)
    assert overall == pytest.approx(0.25)
    assert details["backbone"] == {"weights": "none", "width": 4}
    assert details["faces"] == FACES
    assert json.loads(where["metrics"].read_text()) == {
        "accuracy": test["accuracy"]["last5"],
        "balanced_accuracy": test["balanced_accuracy"],
    }
    run_here(monkeypatch, "tsne", run=cell["out"], out=tmp_path / "tsne" / "tiny.npz")
    found = np.load(tmp_path / "tsne" / "tiny.npz")
    assert found["train_xy"].shape == (TRAIN, 2)
    assert (found["train_label"] != found["train_true"]).mean() == 0.25
    assert (found["train_subset"] == 2).mean() == pytest.approx(history["subset_noisy"].iloc[-1])


def test_train_refuses_a_number_of_processes_that_is_none(cell):
    done = command("train", processes="two", **cell)
    assert done.returncode == 1
    assert done.stderr == "error: ASM_PROCESSES: expected a number from 1, found 'two'\n"


def test_two_processes_go_on_where_one_stopped(cell, monkeypatch):
    real = training.set_rates

    def stop_before_the_third(optimizer, options, epoch, epochs):
        if epoch == 3:
            raise KeyboardInterrupt
        return real(optimizer, options, epoch, epochs)

    monkeypatch.setattr(training, "set_rates", stop_before_the_third)
    with pytest.raises(KeyboardInterrupt):
        run_here(monkeypatch, "train", **cell)
    done = command("train", processes=2, **cell)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("going on after epoch 2") == 1  # the second process is silent
    history = pd.read_csv(cell["out"] / "history.csv")
    assert history["epoch"].tolist() == [1, 2, 3, 4, 5, 6]
    assert history["forward_passes"].tolist()[0] == 2.0
    assert not cell["checkpoints"].exists()


def test_evaluate_refuses_an_incomplete_run_and_one_of_other_data(tmp_path, monkeypatch):
    write_run(tmp_path / "run")
    (tmp_path / "init").mkdir()
    (tmp_path / "init" / "summary.json").write_text(json.dumps({"weights": "none", "width": 4}))
    (tmp_path / "noise.json").write_text(json.dumps({"kind": "symmetric", "rate": 0.3, "realised": 0.3}))
    manifest = make_manifest()
    manifest["id"] = manifest["id"].str.replace("test", "other")
    manifest.to_csv(tmp_path / "manifest.csv", index=False)
    options = {
        "run": tmp_path / "run",
        "faces": tmp_path,
        "noise": tmp_path / "noise.json",
        "init": tmp_path / "init",
        "metrics": tmp_path / "metrics.json",
        "details": tmp_path / "details.json",
    }
    assert "the run belongs to other data" in refused("evaluate", **options)
    (tmp_path / "run" / "predictions.npz").unlink()
    with pytest.raises(SystemExit, match=r"^error: .*predictions\.npz: not found; the run is incomplete"):
        run_here(monkeypatch, "evaluate", **options)
    assert not options["metrics"].exists()
    assert not options["details"].exists()
