"""Make's commands on a profile: one at a time, from a whole dvc.lock, and stopped with all they started."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from scripts import ROOT

sys.path.insert(0, str(ROOT / "stages"))
import alone

from asm.errors import InputError

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
    alone.mend(home)
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
        alone.mend(home)
        assert (home / "dvc.lock").read_bytes() == expected
    subprocess.run(["git", "rm", "-qf", "--cached", "dvc.lock"], cwd=home, check=True)
    subprocess.run(
        ["git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "none"], cwd=home, check=True
    )
    (home / "dvc.lock").write_bytes(b"schema: ")
    alone.mend(home)
    assert not (home / "dvc.lock").exists()
    alone.mend(home)


def test_a_whole_lock_is_left_alone():
    assert alone._is_whole(LOCK)
    assert alone._is_whole(b"schema: '2.0'\nstages: {}\n")


def test_dvc_at_work_is_named_and_what_killed_ones_left_is_removed(tmp_path):
    path = tmp_path / ".dvc" / "tmp" / "rwlock"
    path.parent.mkdir(parents=True)
    other = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()", "dvc"], stdin=subprocess.PIPE
    )
    try:
        mine, theirs = {"pid": os.getpid(), "cmd": "dvc repro"}, {"pid": other.pid, "cmd": "dvc exp run"}
        path.write_text(json.dumps({"write": {"runs/a": mine}, "read": {"data": [mine, theirs]}}))
        with pytest.raises(
            InputError, match=rf"`dvc exp run` \(process {other.pid}, since \d.*\) is at work; wait"
        ):
            alone.take(tmp_path, ["x"])
    finally:
        other.stdin.close()
        other.wait()
    for content in (path.read_bytes(), b"", b"{", b"[]", b'{"write": {"a": 1}}'):
        path.write_bytes(content)
        alone.take(tmp_path, ["x"]).close()
        assert not path.exists()


@pytest.fixture
def started() -> Iterator[Callable[..., subprocess.Popen]]:
    """Starts a made-up command as make's would be, in the current folder; ended at the end."""
    processes = []

    def start(command: str) -> subprocess.Popen:
        code = (
            "import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path; import alone\n"
            "from asm.errors import reported\n"
            "with reported():\n"
            "    lock = alone.take(Path(sys.argv[2]), ['x', 'repro-alone'])\n"
            "    sys.exit(alone.run(['sh', '-c', sys.argv[3]]))\n"
        )
        words = [sys.executable, "-c", code, str(ROOT / "stages"), os.getcwd(), command]
        processes.append(subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return processes[-1]

    yield start
    for process in processes:
        process.terminate()
        process.communicate()


def below(process: subprocess.Popen, count: int) -> list[psutil.Process]:
    """All that it has started, once these are so many."""
    deadline = time.monotonic() + 60
    while len(found := psutil.Process(process.pid).children(recursive=True)) < count:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_all_that_was_started(started, tmp_path, monkeypatch, number):
    monkeypatch.chdir(tmp_path)
    process = started("sleep 300 & (sleep 300; true) | (trap '' TERM INT HUP; sleep 0.5; sleep 0.5)")
    children = below(process, 5)
    process.send_signal(number)
    assert process.wait(timeout=60) == 128 + number
    assert not psutil.wait_procs(children, timeout=5)[1]


def test_the_second_is_turned_away_with_the_firsts_name_and_time(started, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = started("sleep 300")
    below(first, 1)
    out, err = started("true").communicate(timeout=60)
    assert out == ""
    assert err.startswith(f"error: {tmp_path}: `make repro` (process {first.pid}, since 20")
    assert err.endswith("is at work on this profile; wait for it, or stop it: what it has finished is kept\n")
    first.terminate()
    first.wait()
    assert started("exit 7").wait(timeout=60) == 7  # its lock fell with it
