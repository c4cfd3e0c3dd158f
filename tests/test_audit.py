"""The audit: what it ranks, what else it finds, its files, and what it computes again."""

import errno
import json
from dataclasses import replace
from pathlib import Path

import audit_set
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from asm.__main__ import main
from asm.faces import process
from asm.faces.store import AlignedFaces, digests
from asm.tools.audit import duplicates, ranking, review_page
from asm.training import features

CLASSES = ["anger", "fear", "joy"]


def judged(probs, given):
    """As a method without thresholds stores it: the paper's rule is applied."""
    nothing = np.empty(0)
    ids = np.array([f"i{k}" for k in range(len(given))])
    stored = {"ids": ids, "given": np.asarray(given), "probabilities": np.asarray(probs)}
    return stored | {"clean_threshold": nothing, "noisy_threshold": nothing}


def rows(count):
    return pd.DataFrame({"path": [f"{k}.png" for k in range(count)], "split": "train"})


def store_of(pixels, **columns):
    count = len(pixels)
    manifest = pd.DataFrame(
        {"id": [f"i{k}" for k in range(count)], "path": "x", "split": "train", "true": 0, "face": "mtcnn"}
    ).assign(**columns)
    return AlignedFaces("made", tuple(CLASSES), pixels, manifest, np.zeros((count, 5, 2), np.float32))


def test_a_label_that_networks_deny_is_first_and_a_class_too_small_to_judge_last():
    probs = [[0.9, 0.05, 0.05], [0.02, 0.9, 0.08], [0.8, 0.1, 0.1], [0.1, 0.6, 0.3], [0.9, 0.05, 0.05]]
    found = ranking.table(judged(probs, [0, 0, 0, 1, 2]), rows(5), CLASSES, folds=1)[0]
    assert found["id"].tolist()[:2] == ["i4", "i1"]
    assert found["suggested"].tolist()[:2] == ["anger", "fear"]
    assert found["rank"].tolist() == [1, 2, 3, 4, 5]
    assert found.set_index("id")["ambiguity_rank"]["i3"] == 1  # .6 against .3
    unjudged, _ = ranking.table(judged(probs, [0, 0, 0, 1, 2]), rows(5), CLASSES, folds=2)
    assert unjudged.set_index("id")["judged"].to_dict() == dict.fromkeys(["i0", "i1", "i2"], True) | {
        "i3": False,
        "i4": False,
    }
    assert set(unjudged["id"][-2:]) == {"i3", "i4"}


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(4, 30))
def test_the_ranking_is_a_permutation_from_the_most_suspicious_on(seed, count):
    rng = np.random.default_rng(seed)
    probs = rng.dirichlet(np.full(3, 0.5), count).astype(np.float32)
    found, score = ranking.table(judged(probs, rng.integers(0, 3, count)), rows(count), CLASSES, folds=0)
    assert sorted(found["id"]) == sorted(f"i{k}" for k in range(count))
    assert sorted(found["ambiguity_rank"]) == list(range(1, count + 1))
    assert (np.diff(found[score]) <= 0).all()
    assert (found["subset"][found["depth"] <= 0] != "noisy").all()


def test_equal_and_nearly_equal_faces_are_grouped_and_others_are_not():
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (8, 7, 7, 1)).repeat(8, axis=1).repeat(8, axis=2).astype(np.uint8)
    pixels[3] = pixels[0]
    pixels[5] = (pixels[1] * 0.9 + 10).astype(np.uint8)  # paler
    pixels[6:] = 90  # blank ones are like everything
    found = duplicates.find(
        store_of(pixels, split=["train"] * 3 + ["test"] * 5, true=[0, 1, 2, 1, 0, 1, 0, 0])
    )
    assert found[["group", "id", "split", "true", "exact"]].to_numpy().tolist() == [
        [1, "i0", "train", 0, True],
        [1, "i3", "test", 1, True],
        [2, "i1", "train", 1, False],
        [2, "i5", "test", 1, False],
    ]
    assert not len(duplicates.find(store_of(pixels[:3])))


@pytest.mark.parametrize("inline", [0, 1000])
def test_the_page_holds_every_row_and_no_text_ends_its_script(tmp_path, monkeypatch, inline):
    monkeypatch.setattr(review_page, "INLINE", inline)
    probs = np.full((4, 3), 1 / 3)
    table = ranking.table(judged(probs, [0, 1, 2, 0]), rows(4), CLASSES, 0)[0].assign(note="</script><b>")
    faces = store_of(np.full((4, 30, 30, 1), 7, np.uint8))
    path = review_page.write(tmp_path, table, faces, [("odd", ["a < b"])], "</title>", "sum", "about")
    text = path.read_text(encoding="utf-8")
    assert text.count("</script>") == 2
    content = json.loads(text.split('id="data">')[1].split("</script>")[0])
    assert content["rows"]["id"] == table["id"].tolist()
    assert content["rows"]["note"] == ["</script><b>"] * 4
    assert (content["pictures"] is None) == (inline == 0)
    pictures = sorted(file.name for file in tmp_path.glob("thumbs/*"))
    assert pictures == (["0.jpg", "1.jpg", "2.jpg", "3.jpg"] if inline == 0 else [])
    assert "http" not in text.replace("http://www.w3.org", "")  # nothing is loaded from elsewhere


def full(path: Path, *arguments, real=Path.write_text, **options) -> int:
    """In place of Path.write_text: the disk is full when the page is written."""
    if path.suffix == ".html":
        raise OSError(errno.ENOSPC, "No space left on device")
    return real(path, *arguments, **options)


def test_from_a_folder_to_a_ranked_list_and_again_without_computing_features(tmp_path, monkeypatch, capsys):
    audit_set.make_quick(monkeypatch)
    misplaced = audit_set.write(tmp_path / "mine")
    Image.new("RGB", (9, 9)).save(tmp_path / "mine" / "train" / "joy" / "black.png")
    (tmp_path / "mine" / "train" / "fear" / "broken.jpg").write_bytes(b"no image")
    (tmp_path / "mine" / "train" / "angerr").mkdir()
    Image.new("RGB", (9, 9), (1, 200, 1)).save(tmp_path / "mine" / "train" / "angerr" / "x.png")
    arguments = ["audit", str(tmp_path / "mine"), "--align", "detect=false", "--folds", "3"]
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        with pytest.raises(SystemExit, match=r"audit\.html: cannot be written .*No space left"):
            main([*arguments, "--out", str(out)])
    assert (out / "cache" / "training").is_dir()  # what took longest
    capsys.readouterr()
    main([*arguments, "--out", str(out)])
    assert not (out / "cache" / "training").exists()
    printed, warned = capsys.readouterr()
    assert "1 labelled image(s) cannot be read, such as train/fear/broken.jpg" in warned
    report = Path(warned.split("all are in ")[1].splitlines()[0])
    assert "train/fear/broken.jpg" in report.read_text()
    assert "angerr has 1 faces; 3 folds need 3" in printed
    assert "the classes anger and angerr are spelt alike" in printed
    assert "1 unreadable images" in printed
    table = pd.read_csv(out / "audit.csv", dtype={"id": str})
    assert len(table) == 67
    assert len(set(table["id"][:6]) & set(misplaced)) >= 5
    assert table["id"].iloc[-1] == "train/angerr/x.png"
    assert (out / "audit.html").is_file()

    def never(*_, **__):
        raise AssertionError("computed again")

    monkeypatch.setattr(process, "align_block", never)
    monkeypatch.setattr(features, "pooled", never)
    (tmp_path / "mine" / "corrections.csv").write_text(
        f"id,given,action,label\n{misplaced[0]},{misplaced[0].split('/')[1]},relabel,joy\n"
    )
    main([*arguments, "--out", str(out), "--options", "corrections=corrections.csv"])
    again = pd.read_csv(out / "audit.csv", dtype={"id": str}).set_index("id")
    assert again["given"][misplaced[0]] == "joy"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name either a data set's folder, or a run"),
        (["nowhere"], "not found at nowhere"),
        (["nowhere", "--folds", "1"], "--folds: expected 2 or more, found 1"),
        (["nowhere", "--out", "nowhere/audit"], "--out nowhere/audit lies in the data set's own folder"),
        (["nowhere", "--options", "classes"], "--options: expected KEY=VALUE, found 'classes'"),
        (["nowhere", "--align", "pads=1"], "audit: --align: pads: unknown key"),
        (["nowhere", "--source", "fer"], "unknown data set source 'fer'"),
        (["--from", "runs/none"], "run.json: not found"),
    ],
)
def test_bad_input_ends_in_one_line(arguments, message):
    with pytest.raises(SystemExit, match=rf"^error: .*{message}"):
        main(["audit", *arguments])


def test_a_run_is_audited_by_its_own_probabilities(tmp_path):
    folder, run = tmp_path / "data" / "aligned" / "made", tmp_path / "runs" / "cell"
    folder.mkdir(parents=True)
    run.mkdir(parents=True)
    store = store_of(np.arange(12, dtype=np.uint8)[:, None, None, None].repeat(8, 1).repeat(8, 2))
    store = replace(store, manifest=store.manifest.assign(split=["test"] * 2 + ["train"] * 10))
    store.manifest.to_csv(folder / "manifest.csv", index=False)
    np.save(folder / "faces.npy", store.faces)
    np.save(folder / "landmarks.npy", store.landmarks)
    (folder / "summary.json").write_text(
        json.dumps({"dataset": "made", "classes": CLASSES, "sha256": digests(folder)})
    )
    labels = np.arange(10) % 3
    probs = np.where(np.arange(3) == labels[:, None], 0.9, 0.05)
    probs[4] = [0.9, 0.05, 0.05]
    arrays = {"ids": store.manifest["id"].to_numpy(str)[2:], "given": labels, "true": labels}
    # what the run's own rule made of it counts, whatever Eq. 1-6 would
    subset = np.where(np.arange(10) == 7, 2, 0).astype(np.int8)
    confidence, thresholds = np.where(subset == 2, 0.05, 0.9), {"clean_threshold": np.full(3, 0.8)}
    mined = {"epochs": np.empty(0, int), "subsets": np.empty((0, 0), np.int8), "confidence": confidence}
    mined |= thresholds | {"noisy_threshold": np.full(3, 0.2), "final_subset": subset}
    np.savez(run / "train_predictions.npz", probabilities=probs, **arrays, **mined)
    pd.DataFrame({"epoch": [1], "test_accuracy": [0.5], "forward_passes": [1.0]}).to_csv(
        run / "history.csv", index=False
    )
    config = {"method": "baseline", "cell": "cell", "dataset": "made"}
    info = {"config": config, "classes": CLASSES, "train_images": 10, "parameters": 1, "versions": {}}
    (run / "run.json").write_text(json.dumps(info))
    main(["audit", "--from", str(run), "--out", str(tmp_path / "out")])
    table = pd.read_csv(tmp_path / "out" / "audit.csv")
    assert len(table) == 10
    assert table["id"][0] == "i9"
    assert table["subset"].tolist() == ["noisy"] + ["clean"] * 9
    assert table.set_index("id")["suggested"]["i6"] == "anger"
    (run / "run.json").write_text(json.dumps(info | {"classes": CLASSES[::-1]}))
    with pytest.raises(SystemExit, match=r"of the classes joy, fear, anger, but .* now has anger, fear, joy"):
        main(["audit", "--from", str(run), "--out", str(tmp_path / "out")])
