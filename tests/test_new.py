"""`python -m asm new`: what it sees in a folder, and the profile that it writes."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image
from tiny import PARAMS
from tiny_pipeline import make_workspace

from asm.__main__ import main
from asm.basics.errors import InputError
from asm.datasets import ferplus, rafdb
from asm.datasets.base import FaceDataset
from asm.grid.profile import load_profile
from asm.grid.resolve import resolve_cell, write_configs
from asm.tools.new import look, measure, write

CLASSES = ("anger", "fear", "joy")


class Detector:
    """In place of MTCNN: finds a face in every image with a border, without one in those of an even mean."""

    def __init__(self, device: str, **border: float) -> None:
        self.border = border

    def detect(self, images: list[np.ndarray]) -> list[object | None]:
        return [image if self.border or image.mean() % 2 < 1 else None for image in images]


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(look, "FaceDetector", Detector)
    monkeypatch.setattr(measure, "STEPS", {"cuda": 1, "features": 1, "aligned": 1})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def picture(path: Path, shade: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.full((24, 24, 3), shade % 256, np.uint8)
    values[0, :, 0] = shade // 256  # each is another image
    Image.fromarray(values).save(path)


def flat(root: Path, count: int = 60) -> Path:
    """Class folders without a split."""
    for i in range(count):
        picture(root / CLASSES[i % 3] / f"{i:03d}.png", 4 * i)
    return root


def found_of(root: Path, **options) -> look.Found:
    return look.look(root, None, options, {}, "cpu")


def profile_of(found: look.Found, tmp_path: Path, name: str = "mine", **wishes):
    """The typed profile, and the text it is read from."""
    usual = {"methods": write.METHODS, "noises": write.NOISES, "seeds": [0], "backbone": "dlib29"}
    wish = write.Wish(**usual | {"regime": None} | wishes)
    content = write.content(found, name, "data/raw/mine", wish, PARAMS, tmp_path)
    text = write.text(content, "python -m asm new mine data/raw/mine", found)
    return write.checked(text, PARAMS, "new"), text


def test_a_folder_without_split_becomes_a_profile_that_runs(tmp_path, monkeypatch, capsys):
    home = make_workspace(tmp_path / "clone").path
    data = flat(home / "data/raw/mine")
    picture(data / "angre" / "900.png", 901)
    picture(data / "angre" / "901.png", 903)
    picture(data / "joy" / "copy.png", 0)  # of anger/000.png
    (data / "joy" / "broken.png").write_bytes(b"no image")
    monkeypatch.chdir(home)
    main(["new", "mine", "data/raw/mine", "--methods", "baseline", "asm", "--seeds", "0", "1"])
    printed = capsys.readouterr().out
    for said in (
        "64 images of 4 classes, read as `folder`",
        "a fifth of each class is drawn for testing",
        "with a border (pad, upscale) in 50",
        "angre (2 images) is spelt like anger (20)",
        "images that cannot be read: 1 of 64, such as joy/broken.png",
        "images that occur more than once: 1, such as",
        "1 with different labels",
        "angre (1)",
        "written: profiles/mine/profile.yaml, 8 cells",
        "make repro PROFILE=mine   # about",
        "audit data/raw/mine --options test_share=0.2 split_seed=0 --align pad=0.25 upscale=2.0",
    ):
        assert said in printed
    path = home / "profiles/mine/profile.yaml"
    assert {"dvc.yaml", "cells.yaml", ".dvc"} <= {each.name for each in path.parent.iterdir()}
    profile = load_profile(path)
    assert sorted(profile.cells) == sorted(
        f"mine_{noise}_{method}_s{seed}"
        for noise in ("given", "n30")
        for method in ("baseline", "asm")
        for seed in (0, 1)
    )
    assert profile.datasets["mine"].align == look.BORDER
    monkeypatch.chdir(path.parent)
    assert Path(profile.datasets["mine"].root).samefile(data)

    before = path.read_bytes()
    monkeypatch.chdir(home / "data")
    with pytest.raises(SystemExit, match=r"profiles/mine exists, and is left as it is"):
        main(["new", "mine", "raw/mine"])
    assert path.read_bytes() == before


def raf(root: Path) -> None:
    rows = [f"train_{k:05d}.jpg {k}" for k in range(1, 8)] + ["test_0001.jpg 4"]
    (root / "basic/EmoLabel").mkdir(parents=True)
    (root / "basic" / rafdb.LIST).write_text("\n".join(rows))
    for k, row in enumerate(rows):
        picture(root / "basic/Image/aligned" / f"{row.split('.')[0]}_aligned.jpg", k)


def affect(root: Path) -> None:
    for folder, labels in (("train_set", range(8)), ("val_set", (1, 7))):
        (root / folder / "annotations").mkdir(parents=True)
        for n, label in enumerate(labels):
            picture(root / folder / "images" / f"{n}.jpg", n)
            np.save(root / folder / "annotations" / f"{n}_exp.npy", np.array(str(label)))


def affect_first(root: Path) -> None:
    for file, labels in (("training.csv", range(8)), ("validation.csv", (1, 7))):
        rows = [f"{file[:3]}/{k}.jpg,{k}" for k in labels]
        root.mkdir(exist_ok=True)
        (root / file).write_text("\n".join(["subDirectory_filePath,expression", *rows]) + "\n")
        for k in labels:
            picture(root / "Manually_Annotated_Images" / file[:3] / f"{k}.jpg", k)


def fer(root: Path) -> None:
    for folder in ferplus.FOLDERS.values():
        rows = []
        for k in range(8):
            votes = [10 * (i == k) for i in range(10)]
            picture(root / folder / f"{folder}{k}.png", k)
            rows.append(f'{folder}{k}.png,"(0, 0, 48, 48)",{",".join(map(str, votes))}')
        (root / folder / "label.csv").write_text("\n".join(rows) + "\n")


@pytest.mark.parametrize(
    ("make", "source", "images", "align"),
    [
        (raf, "rafdb", 8, {"detect": False}),
        (affect, "affectnet", 10, look.BORDER),
        (affect_first, "affectnet", 10, look.BORDER),
        (fer, "ferplus", 24, look.BORDER),
    ],
)
def test_published_layouts_are_told_by_their_files(make, source, images, align, tmp_path):
    make(tmp_path / "set")
    found = found_of(tmp_path / "set")
    assert (found.source, len(found.dataset.table), found.align) == (source, images, align)
    profile, _ = profile_of(found, tmp_path)
    assert profile.datasets["mine"].source == source


def test_a_csv_without_split_and_one_with_a_fault(tmp_path):
    for i in range(30):
        picture(tmp_path / f"{i}.png", 4 * i)
    rows = [f"{i}.png,{CLASSES[i % 3]}" for i in range(30)]
    (tmp_path / "labels.csv").write_text("\n".join(["path,label", *rows]) + "\n")
    assert found_of(tmp_path).options == look.SPLIT
    split = [f"{row},{'test' if i < 6 else 'train'}" for i, row in enumerate(rows)]
    (tmp_path / "labels.csv").write_text("\n".join(["path,label,split", *split]) + "\n")
    assert found_of(tmp_path).options == {}
    (tmp_path / "labels.csv").write_text("\n".join(["path,label,split", *split, "x.png,joy,no"]) + "\n")
    with pytest.raises(InputError, match=r"row 32: expected a split .* found 'no'"):
        found_of(tmp_path)


def paths_of(*paths: str) -> FaceDataset:
    table = pd.DataFrame({"path": paths, "true": [CLASSES.index(path.split("/")[0]) for path in paths]})
    return FaceDataset("folder", CLASSES, table, lambda row: np.empty(0))


@pytest.mark.parametrize(
    ("name", "who"),
    [
        ("{c}/S{p:03d}_{k:03d}.png", "S004"),  # CK+
        ("{c}/{p}_{c}_{k}.jpg", "4"),
        ("{c}/K{l}.XX{k}.tiff", "KE"),  # JAFFE
        ("{c}/person {p}/{k}.jpg", "person 4"),
        ("{c}/fer{i:07d}.png", None),
        ("{c}/{i}.png", None),
    ],
)
def test_people_are_told_by_usual_names_alone(name, who):
    paths = [
        name.format(c=c, p=p, l=chr(65 + p), k=k, i=100 * p + 10 * k + CLASSES.index(c))
        for p in range(12)
        for k in range(2)
        for c in CLASSES
    ]
    pattern = look.person_pattern(paths_of(*paths))
    assert (pattern is None) == (who is None)
    if pattern:
        assert who in set(pd.Series(paths).str.extract(pattern)[0])


def test_nobody_is_in_both_splits_where_names_tell_people(tmp_path):
    for p in range(20):
        for c in CLASSES:
            picture(tmp_path / c / f"S{p:03d}_1.png", 10 * p + CLASSES.index(c))
    found = found_of(tmp_path)
    table = found.dataset.table
    assert "subject" in found.options
    assert not set(table.subject[table.split == "train"]) & set(table.subject[table.split == "test"])
    assert 0 < (table.split == "test").sum() < 20


@pytest.mark.parametrize(
    ("name", "other", "alike"),
    [
        ("hapiness", "happiness", True),
        ("surprised", "surprise", True),
        ("sad", "sadness", True),
        ("fear", "anger", False),
        ("disgust", "sadness", False),
        ("au1", "au12", False),
    ],
)
def test_slips_of_the_pen(name, other, alike):
    counts = [0] * 2 + [1] * 50
    table = pd.DataFrame({"true": counts})
    said = list(look._spelling(FaceDataset("folder", (name, other), table, lambda row: np.empty(0))))
    assert bool(said) == alike
    many = pd.DataFrame({"true": [0] * 50 + [1] * 50})
    assert not list(look._spelling(FaceDataset("folder", (name, other), many, lambda row: np.empty(0))))


@pytest.mark.parametrize(
    ("plain", "border", "align"),
    [(9, 9, {}), (8, 9, look.BORDER), (9, 8, {}), (2, 4, {"detect": False}), (0, 0, {"detect": False})],
)
def test_faces_are_aligned_by_what_finds_most(plain, border, align, monkeypatch):
    monkeypatch.setattr(look, "_faces_of", lambda images, device: (10, [plain, border], [0.1, 0.2]))
    assert look._alignment([], "cpu")[0] == align


def test_sizes_fit_the_number_of_faces(tmp_path):
    found = found_of(flat(tmp_path / "mine"))
    profile, text = profile_of(found, tmp_path)
    assert profile.training.batch_size == write.SMALLEST_BATCH
    assert profile.datasets["mine"].set["features"] == {"components": 48 // 4}
    assert max(map(len, text.splitlines())) < 160
    large = SimpleNamespace(**vars(found) | {"train": 20_000})
    profile, _ = profile_of(large, tmp_path)
    assert (profile.training.batch_size, profile.training.hidden) == (256, 1024)
    assert "features" not in profile.datasets["mine"].set


def test_components_of_a_data_set_reach_its_features_and_no_cell(tmp_path):
    profile, _ = profile_of(found_of(flat(tmp_path / "mine")), tmp_path)
    write_configs(PARAMS, profile, "mine", tmp_path / "configs")
    told = yaml.safe_load((tmp_path / "configs/features/mine.yaml").read_text())
    assert told["features"] == PARAMS.features.model_dump() | {"components": 12}
    entry = profile.datasets["mine"]
    wrong = entry.model_copy(update={"set": {"features": {"component": 12}}})
    with pytest.raises(InputError, match=r"datasets\.mine\.set\.features: component: unknown key"):
        write_configs(
            PARAMS, profile.model_copy(update={"datasets": {"mine": wrong}}), "mine", tmp_path / "other"
        )


def test_all_layers_where_there_is_a_gpu_or_where_asked_for(tmp_path, monkeypatch):
    found = found_of(flat(tmp_path / "mine"))
    asked, _ = profile_of(found, tmp_path, regime="aligned")
    assert (asked.training.input, asked.training.precision) == ("aligned", "fp32")
    assert asked.datasets["mine"].set == {}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    given, _ = profile_of(found, tmp_path)
    assert (given.training.input, given.training.precision) == ("aligned", "bf16")


def test_what_is_asked_for(tmp_path):
    found = found_of(flat(tmp_path / "mine"), folds=3)
    wishes = {"methods": ["scn"], "noises": [0.05, 0.125], "seeds": [4], "backbone": "resnet18"}
    profile, _ = profile_of(found, tmp_path, "my-set", regime="aligned", **wishes)
    assert sorted(profile.cells) == sorted(
        f"my_set_f{fold}_{noise}_scn_s4" for fold in range(3) for noise in ("n05", "n12_5")
    )
    assert [entry.options for entry in profile.datasets.values()] == [
        {"folds": 3, "fold": fold} for fold in range(3)
    ]
    assert profile.inits["none"].weights == "none"
    (tmp_path / write.FILES["imagenet"]).touch()
    profile, _ = profile_of(found, tmp_path, regime="features", **wishes)
    assert profile.inits["imagenet"].path == write.FILES["imagenet"]


def test_what_cannot_be_trained_is_refused(tmp_path):
    found = found_of(flat(tmp_path / "mine"))
    with pytest.raises(InputError, match=r"method: 'asmm' is not among"):
        profile_of(found, tmp_path, methods=["asmm"])
    with pytest.raises(InputError, match=r"noises\.n150\.rate"):
        profile_of(found, tmp_path, noises=[1.5])
    with pytest.raises(InputError, match=r"freezes resnet18, and its weights are not in"):
        profile_of(found, tmp_path, backbone="resnet18", regime="features")


def test_data_outside_the_clone_and_no_clone(tmp_path, monkeypatch):
    monkeypatch.chdir(Path(write.__file__).parent)
    with pytest.raises(InputError, match=r"lies outside .*; ln -s .*/mine .*/data/raw/mine, and"):
        write.clone(tmp_path / "mine")
    with pytest.raises(InputError, match="lies outside"):
        write.clone(Path("../../../../mine"))
    assert write.clone(Path("data"))[1] == "asm/tools/new/data"
    monkeypatch.setattr(write.asm, "__file__", str(tmp_path / "site-packages/asm/__init__.py"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="in a clone of this project"):
        write.clone(tmp_path / "mine")


def test_the_estimate_is_of_all_cells_and_places(tmp_path, monkeypatch):
    found = found_of(flat(tmp_path / "mine"))
    monkeypatch.setattr(measure, "_start", lambda: 1.0)
    monkeypatch.setattr(measure, "_features", lambda *_: 30.0)
    monkeypatch.setattr(measure, "_seconds_a_sample", lambda *_: 0.01)
    monkeypatch.setattr(measure.os, "sched_getaffinity", lambda _: {0, 1})
    found = SimpleNamespace(**vars(found) | {"train": found.train, "seconds_a_face": 0.1})
    cell = 0.01 * found.train * 16 + 2
    for seeds in ([0], [0, 1]):
        profile, _ = profile_of(found, tmp_path, seeds=seeds)
        taken = measure.seconds(found, profile, PARAMS, torch.device("cpu"))
        once = 60 * 0.1 / 2 + measure.STARTS + 30
        assert taken == pytest.approx(once + 10 * len(seeds) * cell / 2)


@pytest.mark.parametrize("regime", ["features", "aligned"])
def test_every_method_is_tried_at_the_size_of_the_profile(regime, tmp_path):
    found = found_of(flat(tmp_path / "mine"))
    profile, _ = profile_of(found, tmp_path, regime=regime, methods=["asm"], noises=[0.3])
    (cell,) = profile.cells
    taken = measure._seconds_a_sample(resolve_cell(PARAMS, profile, cell), found, PARAMS, torch.device("cpu"))
    assert 0 < taken < 5
    if regime == "features":
        assert measure._features(profile.training, PARAMS, torch.device("cpu"), 10, 12) > 0


def test_images_that_cannot_be_read_at_all(tmp_path):
    shutil.rmtree(tmp_path / "mine", ignore_errors=True)
    for c in CLASSES:
        for i in range(3):
            (tmp_path / "mine" / c).mkdir(parents=True, exist_ok=True)
            (tmp_path / "mine" / c / f"{i}.png").write_bytes(b"nothing")
    with pytest.raises(InputError, match="none of the 9 images looked at can be read"):
        found_of(tmp_path / "mine")
