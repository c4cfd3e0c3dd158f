"""A profile's project is one driver's at a time, and its dvc.lock is whole."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from scripts import ROOT

sys.path.insert(0, str(ROOT / "driver"))
import lock

from asm.basics.errors import InputError

LOCK = (ROOT / "dvc.lock").read_bytes()


@pytest.fixture
def home(tmp_path) -> Path:
    """A folder under git, its dvc.lock committed."""
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    (tmp_path / "dvc.lock").write_bytes(LOCK)
    commit = ["git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "state"]
    for words in (["git", "add", "dvc.lock"], commit):
        subprocess.run(words, cwd=tmp_path, check=True)
    return tmp_path


@pytest.mark.parametrize(
    "content", [b"", LOCK[:20], LOCK[: LOCK.index(b"size: ") + 6], b"\xff\xfe", b"[]", b"stages: 1"]
)
def test_a_half_written_lock_is_taken_back(home, capsys, content):
    (home / "dvc.lock").write_bytes(content)
    lock.mend(home)
    assert (home / "dvc.lock").read_bytes() == LOCK
    assert "dvc.lock: was damaged" in capsys.readouterr().err


def test_the_index_has_a_later_one_and_none_anywhere_is_none(home, tmp_path):
    later = LOCK.replace(b"cmd: python", b"cmd: python3", 1)
    (home / "dvc.lock").write_bytes(later)
    subprocess.run(["git", "add", "dvc.lock"], cwd=home, check=True)  # as DVC does after each command
    for staged, expected in ((later, later), (b"", LOCK)):
        (home / "dvc.lock").write_bytes(staged)
        subprocess.run(["git", "add", "dvc.lock"], cwd=home, check=True)
        (home / "dvc.lock").write_bytes(b"")
        lock.mend(home)
        assert (home / "dvc.lock").read_bytes() == expected
    subprocess.run(["git", "rm", "-qf", "--cached", "dvc.lock"], cwd=home, check=True)
    subprocess.run(
        ["git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "none"], cwd=home, check=True
    )
    (home / "dvc.lock").write_bytes(b"schema: ")
    lock.mend(home)
    assert not (home / "dvc.lock").exists()
    lock.mend(home)


def test_a_whole_lock_is_left_alone():
    assert lock._is_whole(LOCK)
    assert lock._is_whole(b"schema: '2.0'\nstages: {}\n")


def test_dvc_at_work_is_named_and_what_killed_ones_left_is_removed(tmp_path):
    path = tmp_path / ".dvc" / "tmp" / "rwlock"
    path.parent.mkdir(parents=True)
    other = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()", "dvc"], stdin=subprocess.PIPE
    )
    try:
        mine, theirs = {"pid": os.getpid(), "cmd": "dvc repro"}, {"pid": other.pid, "cmd": "dvc exp run"}
        path.write_text(json.dumps({"write": {"runs/a": mine}, "read": {"data": [mine, theirs]}}))
        with (
            pytest.raises(
                InputError, match=rf"`dvc exp run` \(process {other.pid}, since \d.*\) is at work here; wait"
            ),
            lock.taken(tmp_path),
        ):
            pass
    finally:
        other.stdin.close()
        other.wait()
    for content in (path.read_bytes(), b"", b"{", b"[]", b'{"write": {"a": 1}}'):
        path.write_bytes(content)
        with lock.taken(tmp_path):
            pass
        assert not path.exists()
