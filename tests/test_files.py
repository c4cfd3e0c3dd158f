"""Files are whole or not there, a full disk is one line in every stage, and nothing outlives its parent."""

import io
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import psutil
import pytest
from scripts import ROOT, configure, run_here
from tiny import make_config, strong_options, weak_options

from asm.basics.errors import InputError
from asm.basics.files import atomic_write, exclusive, mapped, writing


@contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """No file may grow beyond `size` bytes here: to who writes it is as a full disk is."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):  # pytest captures them in files
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_file_is_the_old_one_or_the_whole_new_one(tmp_path):
    path = tmp_path / "new" / "x.csv"
    with atomic_write(path) as partial:
        partial.write_text("1")
        assert not path.exists()

    def write(text: str | None) -> None:
        with atomic_write(path) as partial:
            partial.write_text("half")
            partial.write_text(text)

    with pytest.raises(TypeError):
        write(None)
    with files_up_to(100), pytest.raises(InputError, match=r"x\.csv: cannot be written .* MB are free there"):
        write("3" * 101)
    assert [file.name for file in path.parent.iterdir()] == ["x.csv"]
    assert path.read_text() == "1"
    with pytest.raises(InputError, match=r"y: cannot be written"), atomic_write(path / "y"):  # below a file
        pass


def test_the_space_of_a_mapped_file_is_there_before_it_is_used(tmp_path):
    """Found missing by a store into the map, it would end the process by SIGBUS."""
    array = mapped(tmp_path / "a.npy", (300, 400))
    array[:] = 7
    array.flush()
    assert np.array_equal(np.load(tmp_path / "a.npy"), np.full((300, 400), 7, np.uint8))
    assert (tmp_path / "a.npy").stat().st_blocks * 512 >= 300 * 400
    with files_up_to(1000), pytest.raises(InputError, match=r"b\.npy: cannot be written"):
        mapped(tmp_path / "b.npy", (300, 400))


def stages(folder: Path) -> dict[str, list[object]]:
    """The stages of a tiny project in their order, with their words, as DVC calls them."""

    def of(stage: str, key: str | None, content: dict, **places: str) -> list[object]:
        words = {"config": configure(folder, stage, key, content), **places}
        return [word for name, value in words.items() for word in (f"--{name}", value)]

    faces, size, seed = "data/aligned/tiny", {"size": 32}, {"seed": 0}
    render = {"train": 7, "valid": 0, "test": 7, "size": 64, "ambiguous_share": 0.1, **seed}
    align = {"detect": False, "pad": 0.0, "upscale": 1.0, "batch_size": 8, **size}
    align = {"source": "synthetic", "root": "rendered", "options": {}, "align": align}
    network = {"backbone": "resnet18", "width": 4}
    augment = {"augment": weak_options().model_dump(), "strong_augment": strong_options().model_dump()}
    init = {"weights": "synthetic", "faces": 8, "epochs": 1, "augment": augment["augment"]}
    init["network"] = {"image_size": 32, **network}
    init["pretrain"] = {"batch_size": 8, "lr": 0.001, "jitter": 0.0, **seed}
    frozen = {"features": {"cells": {2: 1}, "components": 5, "views": 2, **seed}, **network, **augment}
    training = make_config("baseline", training={"epochs": 2}).model_dump(exclude={"code"})
    configure(folder, "train", "tiny", training)
    configure(folder, "evaluate", None, {})
    noise = {"kind": "symmetric", "rate": 0.2, **seed}
    bank = {"out": "data/features/tiny", "work": "checkpoints/features_tiny"}
    return {
        "render": of("render", "r", render, out="rendered"),
        "align": of("align", "tiny", align, out=faces, work="checkpoints/align_tiny"),
        "corrupt": of("corrupt", "n", noise, lists=".", faces=faces, out="data/labels/tiny_n"),
        "init": of("init", "i", init, files=".", out="data/init/i"),
        "features": of("features", "tiny", frozen, faces=faces, init="data/init/i", **bank),
        "train": ["tiny", "tiny", "n", "i"],
        "evaluate": ["tiny", "tiny", "n"],
        "tsne": of("tsne", None, {}, run="runs/tiny", out="data/tsne/tiny.npz"),
    }


def test_on_a_full_disk_every_stage_says_so_in_one_line_and_goes_on_later(tmp_path, monkeypatch):
    def files() -> set[str]:
        return {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}

    for stage, words in stages(tmp_path).items():
        before = files()
        refusal = pytest.raises(SystemExit, match=r"^error: \S+: cannot be written \(.* start again: .*$")
        with files_up_to(30), refusal:
            run_here(monkeypatch, tmp_path, stage, *words)
        assert all(path.endswith("/lock") for path in files() - before)  # nothing half-written
        run_here(monkeypatch, tmp_path, stage, *words)
        assert not [path for path in files() if "partial" in path]
    # what was kept to go on from has gone when the next stage had its results; no cell read the bank here
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["features_tiny"]


HOLDS = """
import sys; sys.path.insert(0, {root!r})
from pathlib import Path
from asm.basics.files import exclusive
with exclusive(Path({folder!r})):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_folder_is_one_process_own_until_it_dies(tmp_path):
    code = HOLDS.format(root=str(ROOT), folder=str(tmp_path))
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    child = subprocess.Popen([sys.executable, "-c", code], **pipes)
    assert child.stdout.readline() == b"held\n"
    told = rf"{tmp_path}: a run \(process {child.pid}, since 20\d\d-.*\) is at work here; wait for it"
    with pytest.raises(InputError, match=told), exclusive(tmp_path):
        pass
    child.kill()
    child.communicate()
    with exclusive(tmp_path):
        pass


def test_a_folder_of_another_user_is_named_with_its_owner(tmp_path):
    message = rf"{tmp_path}/a: Permission denied; it belongs to the user '{tmp_path.owner()}'\. Work in"
    with pytest.raises(InputError, match=message), writing(tmp_path / "b"):
        raise PermissionError(13, "Permission denied", str(tmp_path / "a"))


LEAVES_WORKERS = """
import sys; sys.path.insert(0, {root!r})
from asm.rendered import dataset
if __name__ == "__main__":
    dataset.render_action_units(10_000, size=112, seed=0)
"""


def test_workers_end_with_the_process_that_started_them(tmp_path):
    (tmp_path / "child.py").write_text(LEAVES_WORKERS.format(root=str(ROOT)))
    child = subprocess.Popen([sys.executable, tmp_path / "child.py"], stderr=subprocess.DEVNULL)
    parent = psutil.Process(child.pid)
    deadline = time.monotonic() + 60
    while len(workers := [p for p in parent.children() if "spawn_main" in " ".join(p.cmdline())]) < 2:
        assert child.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    child.kill()
    child.wait()
    _, alive = psutil.wait_procs(workers, timeout=30)
    for worker in alive:
        worker.kill()
    assert not alive
