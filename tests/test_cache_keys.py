"""No stale result is ever up to date: what a stage opens is in its key, and so is what changes a result."""

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tiny_pipeline import ROOT, Workspace, make_workspace

from asm.basics.code import code_hash, imported
from asm.basics.named import names
from asm.datasets import source_names

SMOKE = (ROOT / "profiles" / "smoke" / "profile.yaml").read_text()
METHODS, WEIGHTS, SOURCES = names("asm.methods"), names("asm.parts.weights"), source_names()


def training(method: str) -> dict:
    return {"method": method, "training": {"backbone": "resnet18"}}


# every stage instance whose code differs from another's
INSTANCES = {
    **{f"train@{method}": ("train", training(method)) for method in METHODS},
    **{f"align@{source}": ("align", {"source": source}) for source in SOURCES},
    **{f"init@{kind}": ("init", {"weights": kind, "backbone": "resnet18"}) for kind in WEIGHTS},
    "features": ("features", {"backbone": "resnet18"}),
    **{stage: (stage, {}) for stage in ("configs", "render", "corrupt", "evaluate", "tsne", "report")},
}


def hashes(root: Path) -> dict[str, str]:
    return {name: code_hash(stage, config, root) for name, (stage, config) in INSTANCES.items()}


@pytest.fixture
def copy(tmp_path) -> Path:
    for folder in ("asm", "stages"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def changed(root: Path) -> set[str]:
    before, after = hashes(ROOT), hashes(root)
    return {name for name in before if before[name] != after[name]}


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text, path
    path.write_text(text.replace(old, new))


def test_comments_docstrings_and_line_breaks_anywhere_change_no_code(copy):
    for path in [*copy.rglob("asm/**/*.py"), *copy.glob("stages/*.py")]:
        text, tree = path.read_text(), ast.parse(path.read_text())
        lines = text.splitlines(keepends=True)
        documented = [tree, *(n for n in ast.walk(tree) if isinstance(n, ast.ClassDef | ast.FunctionDef))]
        for node in sorted(documented, key=lambda n: -getattr(n, "lineno", 0)):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and ast.get_docstring(node)
            ):
                lines[first.lineno - 1] = lines[first.lineno - 1].replace('"""', '"""Another word. ', 1)
        path.write_text("# a comment\n\n" + "".join(lines) + "\n\n# and another\n")
    assert changed(copy) == set()


def test_an_edit_of_eq_3_changes_the_methods_that_import_it_and_not_the_baseline(copy):
    edit(copy / "asm" / "mining.py", "return probs.max(dim=1).values", "return probs.max(dim=1).values * 0.5")
    trained = {name for name in changed(copy) if name.startswith("train@")}
    assert trained == {f"train@{name}" for name in ("asm", "man", "waiting_asm", "fair_asm")}
    assert not {"init@dlib", "align@rafdb", "render"} & changed(copy)


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        ("asm/methods/scn.py", "return order[:count]", "return order[: count + 1]", {"train@scn"}),
        ("asm/datasets/rafdb.py", "def load(", "EXTRA = 1\n\n\ndef load(", {"align@rafdb"}),
        ("asm/parts/weights/dlib.py", "CALIBRATION_FACES = 300", "CALIBRATION_FACES = 200", {"init@dlib"}),
        (
            "stages/tsne.py",
            "embed_run(args.run, args.out)",
            "embed_run(args.run, args.out or None)",
            {"tsne"},
        ),
    ],
)
def test_an_edit_changes_what_it_touches_and_nothing_else(copy, file, old, new, expected):
    edit(copy / file, old, new)
    assert changed(copy) - {"configs"} == expected  # configs reads every method's options


def test_imports_that_were_missed_when_they_were_listed_by_hand():
    drawn = imported("init", {"weights": "synthetic", "backbone": "resnet18"})
    assert {"asm.faces.alignment", "asm.rendered.renderer"} <= set(drawn)
    assert "asm.rendered.renderer" not in imported("init", {"weights": "none", "backbone": "resnet18"})
    parts = {"a": {"source": "affectnet"}, "b": {"source": "rafdb"}}
    union = imported("align", {"source": "union", "options": {"parts": parts}})
    assert {"asm.datasets.union", "asm.datasets.affectnet", "asm.datasets.rafdb"} <= set(union)
    assert "asm.datasets.ferplus" not in union
    assert "asm.losses" not in imported("train", training("baseline"))


def test_type_checking_imports_do_not_count():
    assert "asm.grid.params" not in imported("train", training("asm"))  # it knows every method


# --- through DVC ---


@pytest.fixture(scope="module")
def smoke(tmp_path_factory) -> Workspace:
    """The smoke profile, run."""
    workspace = make_workspace(tmp_path_factory.mktemp("smoke"), SMOKE)
    workspace.run_audited(tmp_path_factory.mktemp("opened"), "dvc", "repro")
    workspace.commit()
    return workspace


def test_every_file_that_a_stage_opens_is_in_its_key(smoke):
    smoke.check_opened()


def test_an_edit_of_eq_3_retrains_what_mines_and_a_comment_nothing(smoke):
    mining, scn = smoke.path / "asm" / "mining.py", smoke.path / "asm" / "methods" / "scn.py"
    before = mining.read_text(), scn.read_text()
    try:
        scn.write_text(before[1] + "\n# a comment\n")
        edit(scn, '"""Wang, Peng', '"""Another word. Wang, Peng')
        smoke.run("dvc", "repro", "configs")
        assert json.loads(smoke.run("dvc", "status", "--json").splitlines()[-1]) == {}
        edit(mining, "return probs.max(dim=1).values", "return probs.max(dim=1).values * 0.5")
        smoke.run("dvc", "repro", "configs")
        stale = json.loads(smoke.run("dvc", "status", "--json").splitlines()[-1])
        trained = {name for name in stale if name.startswith("train@")}
        assert trained == {f"train@synthetic_{name}_s0" for name in ("n00_asm", "n30_asm", "n30_fair_asm")}
    finally:
        mining.write_text(before[0])
        scn.write_text(before[1])
        smoke.run("dvc", "repro", "configs")


def test_code_that_changes_under_a_run_is_refused(smoke):
    """`configs` has written the old code's hash; a result of the new code must not be kept under it."""
    file = smoke.path / "asm" / "scores" / "evaluation.py"
    before = file.read_text()
    try:
        file.write_text(before + "\nEXTRA = 1\n")
        output = smoke.run("dvc", "repro", "-f", "-s", "evaluate@synthetic_n30_asm_s0", expect=255)
        assert "the code of the stage 'evaluate' has changed since this file was written" in output
        assert "Traceback" not in output
    finally:
        file.write_text(before)
    smoke.run("git", "checkout", "-q", ".")
    smoke.run("dvc", "repro")


def test_an_experiment_in_another_folder_runs_its_own_code(smoke):
    """As `dvc exp run --queue` does. The environment has this repository's code installed, not theirs."""
    file = smoke.path / "asm" / "scores" / "evaluation.py"
    before = file.read_text()
    try:
        file.write_text(before + '\nprint("evaluated by", __file__)\n')
        output = smoke.run(
            "dvc", "exp", "run", "--temp", "--name", "own_code", "evaluate@synthetic_n30_asm_s0"
        )
        places = {line.split("evaluated by ")[1] for line in output.splitlines() if "evaluated by" in line}
        assert len(places) == 1
        assert ".dvc/tmp/exps" in places.pop()
    finally:
        file.write_text(before)


def test_a_clone_and_a_worktree_run_their_own_code(smoke, tmp_path):
    for number, make in enumerate((["clone", "-q", str(smoke.path)], ["worktree", "add", "-q", "--detach"])):
        place = tmp_path / str(number)
        smoke.run("git", *make, str(place))
        (place / "asm" / "basics" / "errors.py").open("a").write('\nprint("code of", __file__)\n')
        done = subprocess.run(
            [sys.executable, "stages/configs.py", "--help"],
            cwd=place,
            capture_output=True,
            text=True,
            check=True,
        )
        assert f"code of {place}" in done.stdout


LISTED = """\
training: {input: aligned, image_size: 32, width: 4, epochs: 1, warmup_epochs: 0, batch_size: 8}
render:
  synthetic: {train: 14, valid: 7, test: 7}
datasets:
  synthetic: {source: synthetic, root: data/rendered/synthetic}
noises:
  list: {kind: list, path: mine.txt}
inits:
  none: {weights: none}
cells:
  base: {dataset: synthetic, noise: list, method: baseline}
"""


def test_a_list_that_is_replaced_under_its_name_is_noticed(tmp_path):
    workspace = make_workspace(tmp_path, LISTED)
    path = tmp_path / "data" / "raw" / "noise" / "mine.txt"
    labels = tmp_path / "data" / "labels" / "synthetic_list" / "labels.csv"
    path.write_text("".join(f"train_{i:05d}.jpg {i % 7}\n" for i in range(14)))
    workspace.run("dvc", "repro", "corrupt")
    first = labels.read_text()
    path.write_text("".join(f"train_{i:05d}.jpg {(i + 1) % 7}\n" for i in range(14)))
    output = workspace.run("dvc", "repro", "corrupt")
    assert "Running stage 'corrupt@synthetic-list'" in output
    assert labels.read_text() != first


def test_a_copied_profile_is_another_profile(tmp_path):
    """Its name and its settings are those of its own folder; it has a pipeline and a lock of its own."""
    workspace = make_workspace(tmp_path, LISTED)
    shutil.copytree(
        ROOT / "profiles" / "smoke",
        tmp_path / "profiles" / "smoke",
        ignore=shutil.ignore_patterns("data", "runs", "reports", "cache", "tmp"),
    )
    workspace.run("cp", "-r", "profiles/smoke", "profiles/mine")
    edit(tmp_path / "profiles" / "mine" / "profile.yaml", "epochs: 3", "epochs: 2")
    for name, epochs in (("smoke", 3), ("mine", 2)):
        folder = Path(workspace.run(sys.executable, "driver/project.py", name).strip())
        assert folder == tmp_path / "profiles" / name
        workspace.run("dvc", "--cd", str(folder), "repro", "configs")
        grid = yaml.safe_load((folder / "configs" / "report.yaml").read_text())
        assert (grid["profile"], grid["epochs"]) == (name, epochs)
        assert (folder / "dvc.lock").is_file()
    assert not (tmp_path / "dvc.lock").exists()
    # an experiment is compared there as at the root: old and new value
    workspace.commit()
    change = ["-S", "../../params.yaml:losses.gamma=2.5", "-S", "profile.yaml:training.epochs=1"]
    workspace.run("dvc", "--cd", str(folder), "exp", "run", *change, "configs")
    for words in (["params", "diff"], ["exp", "diff"]):
        told = json.loads(workspace.run("dvc", "--cd", str(folder), *words, "--json"))
        found = told.get("params", told)
        assert found["profile.yaml"]["training.epochs"].items() >= {"old": 2, "new": 1}.items()
        assert found["configs/params.yaml"]["losses.gamma"].items() >= {"old": 1.0, "new": 2.5}.items()
        assert {key for values in found.values() for key in values} == {"training.epochs", "losses.gamma"}


@pytest.mark.parametrize("name", ["absent", "x; touch y", "../smoke", "Demo", ""])
def test_a_profile_is_found_or_the_names_are_said(tmp_path, name):
    workspace = make_workspace(tmp_path)
    done = subprocess.run(
        [sys.executable, "driver/project.py", name],
        cwd=tmp_path,
        env={**os.environ},
        capture_output=True,
        text=True,
    )
    if name == "":
        assert done.stdout.strip() == str(workspace.path)  # the default one
    else:
        assert done.returncode == 1
        assert "There are tiny" in done.stderr
        assert "Traceback" not in done.stderr


def test_every_profiles_pipeline_is_the_roots(tmp_path):
    """But for its own paths; `make profiles` writes them anew."""
    sys.path.insert(0, str(ROOT / "driver"))
    try:
        from project import pipeline
    finally:
        sys.path.pop(0)
    found = [path for path in ROOT.glob("profiles/*/dvc.yaml") if (path.parent / ".dvc").exists()]
    assert len(found) >= 5
    for path in found:
        assert path.read_text() == pipeline(ROOT), path
