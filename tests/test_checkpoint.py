"""Atomic writes, refusal of foreign or damaged files, a full disk, the lock, and what a checkpoint is of."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import make_config

from asm.basics.errors import InputError
from asm.basics.files import exclusive
from asm.parts.batches import Data, Samples
from asm.training import cell, checkpoint


def test_what_is_saved_is_loaded(tmp_path):
    state = {"fingerprint": {"train": "a"}, "x": torch.arange(3), "history": [{"epoch": 1, "loss": 0.5}]}
    checkpoint.save(state, tmp_path / "last.pt")
    loaded = checkpoint.load(tmp_path / "last.pt", {"train": "a"})
    assert loaded["history"] == state["history"]
    assert torch.equal(loaded["x"], state["x"])
    assert [p.name for p in tmp_path.iterdir()] == ["last.pt"]


def test_no_checkpoint_or_one_of_another_configuration_is_none(tmp_path, capsys):
    assert checkpoint.load(tmp_path / "last.pt", {"train": "a"}) is None
    checkpoint.save({"fingerprint": {"train": "a"}}, tmp_path / "last.pt")
    assert checkpoint.load(tmp_path / "last.pt", {"train": "b"}) is None
    assert "another configuration" in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x03\x04 half a file"])
def test_a_damaged_checkpoint_is_ignored_with_a_word(tmp_path, capsys, content):
    (tmp_path / "last.pt").write_bytes(content)
    assert checkpoint.load(tmp_path / "last.pt", {"train": "a"}) is None
    assert "unreadable checkpoint ignored" in capsys.readouterr().out


def test_a_full_disk_leaves_the_old_checkpoint_and_says_what_to_do(tmp_path, monkeypatch):
    path = tmp_path / "last.pt"
    checkpoint.save({"fingerprint": {"train": "a"}, "epoch": 1}, path)
    real = torch.save

    def half_then_full(state, handle):
        handle.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", half_then_full)
    with pytest.raises(InputError, match=r"last\.pt: cannot be written .*No space left.*Free some"):
        checkpoint.save({"fingerprint": {"train": "a"}, "epoch": 2}, path)
    monkeypatch.setattr(torch, "save", real)
    assert checkpoint.load(path, {"train": "a"})["epoch"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["last.pt"]


def test_a_real_full_device_is_reported_the_same_way(tmp_path):
    """/dev/full answers every write as a full disk does."""
    try:
        (tmp_path / "last.partial.pt").symlink_to("/dev/full")
    except OSError:
        pytest.skip("no /dev/full here")
    with pytest.raises(InputError, match="No space left"):
        checkpoint.save({"x": torch.zeros(100_000)}, tmp_path / "last.pt")


def test_a_second_process_is_turned_away_and_let_in_after_the_first(tmp_path):
    hold = (
        "import sys; from pathlib import Path; from asm.basics.files import exclusive\n"
        "with exclusive(Path(sys.argv[1])):\n"
        "    print('held', flush=True); sys.stdin.read()\n"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", hold, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdout.readline().strip() == "held"
    with pytest.raises(InputError, match=rf"process {other.pid}, since .* is at work"), exclusive(tmp_path):
        pass
    other.kill()  # SIGKILL: the lock falls with the process
    other.wait()
    with exclusive(tmp_path):
        pass


def many(count: int = 2 * cell.HASHED_AT_ONCE + 9) -> Samples:
    """More samples than are hashed at once."""
    zeros = torch.zeros(count, dtype=torch.int64)
    return Samples([f"i{k}" for k in range(count)], torch.zeros(count, 2, 2, 3).byte(), zeros, zeros)


def changed(arguments: dict, **other) -> list[str]:
    """The parts of the fingerprint that are not the same with other arguments."""
    one, two = cell.fingerprint(**arguments), cell.fingerprint(**arguments | other)
    assert set(map(len, one.values())) == {64}
    return [name for name in one if one[name] != two[name]]


@pytest.mark.parametrize("split", ["train", "valid", "test"])
@pytest.mark.parametrize("part", ["ids", "faces", "labels", "origin"])
def test_the_fingerprint_sees_the_last_sample_of_each_split(split, part):
    samples = many()
    value = getattr(samples, part)
    other = [*value[:-1], "other"] if part == "ids" else value.clone()
    if part != "ids":
        other.view(-1)[-1] += 1
    data = Data(("a", "b"), samples, samples, samples, np.zeros(len(samples.ids)))
    other = replace(data, **{split: replace(samples, **{part: other})})
    assert changed({"config": make_config(), "data": data, "initial": None}, data=other) == [split]


def test_the_fingerprint_sees_configuration_and_initial_weights(data):
    initial = {"a": torch.zeros(3), "b": torch.zeros(2, 2000)}
    same = {"config": make_config(), "data": data, "initial": initial}
    other = initial | {"b": initial["b"].clone()}
    other["b"][-1, -1] = 1
    assert changed(same) == []
    assert changed(same, initial=other) == ["initial"]
    assert changed(same, initial={"a": initial["a"], "c": initial["b"]}) == ["initial"]
    assert changed(same, config=make_config(optimizer={"lr": 0.002})) == ["configuration"]
