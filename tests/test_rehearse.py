"""Rehearsals: which cells and epochs; stages on few images; `paper` on data made up in official layouts."""

import json
import shlex
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "driver"))
import measured
import numpy as np
import pandas as pd
import plan
import pytest
import rehearse
from ledger import opened
from made_layouts import write_all
from tiny_pipeline import make_workspace

from asm.basics.yaml import read_yaml
from asm.datasets import base
from asm.grid.params import Params, load_params
from asm.grid.profile import load_profile, parse_profile
from asm.grid.resolve import resolve_cell

ROOT = Path(__file__).resolve().parents[1]
PARAMS = load_params(ROOT / "params.yaml")


def profile(name: str):
    return load_profile(ROOT / "profiles" / name / "profile.yaml")


@pytest.fixture(scope="module")
def paper():
    current = profile("paper")
    return current, *rehearse.derived(PARAMS, current, ROOT / "profiles" / "paper", None)


def configs(values, content):
    params, short = Params.model_validate(values), parse_profile(content, "rehearsal")
    return {cell: resolve_cell(params, short, cell) for cell in short.cells}


def test_every_cell_of_the_paper_has_one_of_its_kind(paper):
    current, _, content, kinds = paper
    assert sorted(cell for cells in kinds.values() for cell in cells) == sorted(current.cells)
    assert set(content["cells"]) == set(kinds)
    for kept, cells in kinds.items():
        assert kept in cells
        rows = [current.cells[cell] for cell in cells]
        assert len({(row.dataset, row.method) for row in rows}) == 1
    where = {cell: kept for kept, cells in kinds.items() for cell in cells}
    alike = [
        ("rafdb_n00_baseline_s0", "rafdb_n30_baseline_s2"),
        ("rafdb_n00_asm_beta02_s0", "rafdb_n30_asm_s1"),
    ]
    assert all(where[a] == where[b] for a, b in alike)
    # told another noise, EAC erases otherwise; of Co-teaching none is dropped; a weight of 0 is another path
    other = [
        ("rafdb_n00_eac_s0", "rafdb_n30_eac_s0"),
        ("rafdb_n00_coteaching_s0", "rafdb_n30_coteaching_s0"),
        ("rafdb_n00_asm_beta0_s0", "rafdb_n00_asm_beta02_s0"),
        ("rafdb_n00_asm_s0", "ferplus_n00_asm_s0"),
        ("rafdb_n00_asm_at_s0", "rafdb_n00_asm_at_mut_s0"),
    ]
    assert all(where[a] != where[b] for a, b in other)


def test_each_stretch_of_a_schedule_is_an_epoch_and_nothing_else_changes(paper):
    current, values, content, kinds = paper
    short = configs(values, content)
    for cell in kinds:
        before, after = resolve_cell(PARAMS, current, cell), short[cell]
        ends = rehearse.stretches(before)
        assert after.training.epochs == len(ends) + 1
        assert rehearse.stretches(after) == list(range(2, len(ends) + 2))
        same = {"training": {"epochs", "warmup_epochs"}, "optimizer": {"lr_steps", "lr_table"}, "code": True}
        assert before.model_dump(exclude=same) == after.model_dump(exclude=same)
    dmue, ran = short["rafdb_n30_dmue_s0"], short["rafdb_n00_ran_s0"]
    assert (dmue.training.warmup_epochs, dmue.training.epochs) == (5, 10)
    assert [row[0] for row in dmue.optimizer.lr_table] == [2, 3, 4, 6, 7, 8, 9, 10]
    assert ran.optimizer.lr_steps == [3, 4, 5]
    assert short["rafdb_n30_decoupling_s0"].training.warmup_epochs == 0


@pytest.mark.parametrize("name", ["ferplus", "regimes", "demo", "ferplus_gpu"])
def test_other_profiles_too_those_whose_cells_have_epochs_of_their_own(name):
    current = profile(name)
    values, content, kinds = rehearse.derived(PARAMS, current, ROOT, 64)
    for cell, config in configs(values, content).items():
        assert config.training.epochs == len(rehearse.stretches(resolve_cell(PARAMS, current, cell))) + 1
        assert config.training.image_size == 64
    assert len(kinds) < len(current.cells) / 2
    assert set(content["out_of_sample"]) <= set(kinds)


def test_a_few_images_are_of_all_classes_and_parts_alike():
    rng = np.random.default_rng(0)
    splits = ["train"] * 900 + ["test"] * 600
    table = pd.DataFrame({"id": map(str, range(1500)), "path": "", "split": splits})
    table["true"] = rng.choice(4, 1500, p=[0.6, 0.3, 0.09, 0.01])
    table["origin"] = rng.choice(["a", "b"], 1500, p=[0.9, 0.1])
    whole = base.FaceDataset("x", tuple("abcd"), table, lambda row: np.full((2, 2), row % 256, np.uint8))
    part = measured.few(whole, 100)
    assert part.table.split.value_counts().to_dict() == {"train": 100, "test": measured.TESTED}
    counts = part.table[part.table.split == "train"].value_counts(["true", "origin"])
    assert counts.min() >= min(8, table[table.split == "train"].value_counts(["true", "origin"]).min())
    assert all(int(part.read(i)[0, 0]) == int(x) % 256 for i, x in enumerate(part.table.id))
    assert part.table.id.map(int).is_monotonic_increasing


def in_this_process(monkeypatch, folder: Path) -> list[str]:
    """Run all stages of a rehearsal as the driver would, without starting Python for each."""
    from asm.training import cell

    monkeypatch.setattr(cell, "evaluate", cell.evaluate)  # it is replaced; afterwards it is what it was
    monkeypatch.chdir(folder)
    with opened(folder) as ledger:
        commands = {name: shlex.split(stage.cmd) for name, stage in ledger.stages.items()}
    for name, (python, option, script, *words) in commands.items():
        assert (python, option, Path(script).name) == ("python", "-B", "measured.py")
        monkeypatch.setenv("DVC_STAGE", name)
        monkeypatch.setattr(sys, "argv", [script, *words])
        monkeypatch.setattr(sys, "path", [script, str(ROOT), *sys.path[1:]])
        measured.main()
    return list(commands)


def test_paper_in_its_official_layouts_each_method_and_each_data_set(tmp_path, monkeypatch, capsys):
    """With tiny networks; from the lists of the data sets and the published weights to the page."""
    for name in ("driver", "stages", "asm"):
        (tmp_path / name).symlink_to(ROOT / name)
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    write_all(tmp_path / "data" / "raw", images=8, release="2021", width=4)
    (tmp_path / "data" / "raw" / "noise").mkdir()
    content = read_yaml(ROOT / "profiles" / "paper" / "profile.yaml")
    content["training"] |= {"width": 4, "precision": "fp32"}
    kept, methods, data = {}, set(), set()
    for cell, row in parse_profile(content, "paper").cells.items():
        if row.method not in methods or row.dataset not in data:
            kept[cell] = row.model_dump(exclude_none=True, exclude={"init"})
            methods.add(row.method)
            data.add(row.dataset)
    assert (len(methods), len(data)) == (15, 6)
    del content["grid"], content["tsne"]
    content["cells"] = kept
    (tmp_path / "profiles" / "paper").mkdir(parents=True)
    (tmp_path / "profiles" / "paper" / "profile.yaml").write_text(json.dumps(content))

    folder = rehearse.prepare("paper", tmp_path, 32)
    stages = in_this_process(monkeypatch, folder)
    assert {name.partition("@")[0] for name in stages} >= {"align", "corrupt", "train", "evaluate", "report"}
    reported = json.loads((folder / "reports" / "metrics.json").read_text())
    assert set(reported) == set(read_yaml(folder / "profile.yaml")["cells"])
    page = (folder / "reports" / "README.md").read_text()
    for word in ("RAF-DB", "AffectNet", "DivideMix", "IPA2LT"):
        assert word in page, word
    whole = json.loads((folder / "measured" / "align@affectnet8.json").read_text())["whole"]
    assert whole == {"train": 64, "test": 16}
    summary = json.loads((folder / "data" / "init" / "msceleb" / "summary.json").read_text())
    assert summary["tensors"] > 100


@pytest.mark.parametrize("fast", [False, True])
def test_smaller_faces_are_rehearsed_in_fp32_where_bf16_is_slow(monkeypatch, fast):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.cpu._is_amx_tile_supported", lambda: False)
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: fast)
    profile, params = load_profile(ROOT / "profiles/paper/profile.yaml"), load_params(ROOT / "params.yaml")
    for side, expected in ((32, "bf16" if fast else "fp32"), (None, "bf16")):
        training = rehearse.derived(params, profile, ROOT, side)[1]["training"]
        assert (training["precision"], training["image_size"]) == (expected, side or 224)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return make_workspace(tmp_path_factory.mktemp("rehearsed") / "copy")


MISTAKEN = """\
training: {input: aligned, image_size: 32, width: 4, epochs: 3, warmup_epochs: 1, batch_size: 8}
render:
  synthetic: {train: 28, valid: 7, test: 14}
datasets:
  synthetic: {source: synthetic, root: data/rendered/synthetic}
  gone: {source: rafdb, root: ../../data/raw/gone}
noises:
  n30: {kind: symmetric, rate: 0.3}
inits:
  none: {weights: none}
  file: {weights: msceleb, path: w.pth}
cells:
  right: {dataset: synthetic, noise: n30, method: asm, init: none, seed: 4}
  faceless: {dataset: gone, noise: n30, method: baseline, init: none}
  weightless: {dataset: synthetic, noise: n30, method: baseline, init: file}
  huge:
    {dataset: synthetic, noise: n30, method: dacl, init: none, set: {dacl: {hidden: [65536, 65536, 64]}}}
"""


def test_a_rehearsal_goes_on_after_mistakes_and_names_them(tmp_path):
    """A user's own profile with a mistake in the data, in the file of weights, and in the size of a network;
    then in a method's option. What has none of them is run."""
    workspace = make_workspace(tmp_path)
    folder = tmp_path / "profiles" / "mine"
    folder.mkdir()
    (folder / "profile.yaml").write_text(MISTAKEN)
    (tmp_path / "data" / "raw" / "weights" / "w.pth").write_bytes(b"no weights")
    # a layer of DACL's would take 17 GB
    limited = ["bash", "-c", 'ulimit -v 16000000; exec "$@"', "bash"]
    words = [sys.executable, "driver/repro.py", "mine", "--rehearse", "--jobs", "1"]
    told = workspace.run(*limited, *words, expect=1)
    found = json.loads((tmp_path / "rehearsals" / "mine" / rehearse.RESULT).read_text())
    errors = {cell: row["error"] for cell, row in found["cells"].items()}
    assert errors["right"] is None
    assert errors["faceless"].startswith("not run: ")
    assert "corrupt@gone-n30" in errors["faceless"]
    assert errors["weightless"] == "not run: init@file"
    assert errors["huge"].startswith("train: not enough memory")
    for word in (
        "align@gone: rafdb: not found at",
        "w.pth: ",
        "1 of 4 kinds of cell are ok",
        "not enough memory",
    ):
        assert word in told, word
    assert found["cells"]["right"]["peak_gb"] > 0
    assert len(found["cells"]["right"]["seconds_an_image"]) == 3
    mine, params = load_profile(folder / "profile.yaml"), load_params(tmp_path / "params.yaml")
    told_of = plan.Estimate(mine, {cell: resolve_cell(params, mine, cell) for cell in mine.cells}, found)
    assert told_of.seconds("train@right") > 0
    assert told_of.seconds("train@huge") is None
    assert not {"runs", "data", "reports", "dvc.lock", "configs"} & {path.name for path in folder.iterdir()}

    (folder / "profile.yaml").write_text(MISTAKEN.replace("hidden: [65536, 65536, 64]", "hiden: 4"))
    assert "dacl.hiden: unknown key" in workspace.run(*words, expect=1)
