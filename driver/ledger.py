"""DVC's side of `make repro`: what is to be run, and the record of what was.

Before and after a stage's command this does what `dvc repro` does, with DVC's own functions and in its order,
so that dvc.lock, cache and run-cache are those that `dvc repro` would leave; but the stages may be many at
once, and dvc.lock is written now and then instead of after each.
"""

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lock
from dvc.exceptions import DvcException
from dvc.output import Output
from dvc.repo import Repo
from dvc.repo.reproduce import get_active_graph, plan_repro
from dvc.rwlock import rwlock
from dvc.stage import PipelineStage
from dvc.stage.cache import _can_hash, _get_stage_hash
from dvc.stage.serialize import to_lockfile
from dvc.utils.serialize import dumps_yaml
from job import THREADS

from asm.basics.errors import InputError
from asm.basics.files import atomic_write

SHARE = 20  # dvc.lock is written so seldom that it takes no more than this part of the time
SECONDS = 5  # and no more often


@contextlib.contextmanager
def opened(home: Path) -> Iterator["Ledger"]:
    """The ledger of the project in `home`; what was finished is written at the end.

    Raises:
        InputError: another driver is at work there, or DVC refuses the pipeline.
    """
    with lock.taken(home):
        lock.mend(home)
        ledger = Ledger(home)
        try:
            yield ledger
        finally:
            ledger.close()


class Ledger:
    """The stages of the DVC project in `home`, by name, in DVC's own order: `stages`; `upstream` of each.

    Raises:
        InputError: DVC refuses the pipeline.
    """

    def __init__(self, home: Path) -> None:
        os.chdir(home)  # as DVC does; names of stages and paths in messages are seen from there
        self.home = home
        self.threads = {name: os.environ[name] for name in THREADS if name in os.environ}
        self.repo = Repo(str(home), _wait_for_lock=True)
        with self.locked():
            graph = get_active_graph(self.repo.index.graph)
            planned = plan_repro(graph, list(self.repo.stage.collect("dvc.yaml")))
        self.stages: dict[str, PipelineStage] = {stage.addressing: stage for stage in planned}
        self.upstream = {
            name: {each.addressing for each in graph[stage]} for name, stage in self.stages.items()
        }
        self._entries: dict[str, Any] = {}  # of dvc.lock, not written yet
        self._held: dict[str, contextlib.ExitStack] = {}  # DVC's locks on what runs
        self._written, self._cost = time.monotonic(), 0.0

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """DVC's lock on the repository, which is free while commands run, as in `dvc repro`.

        Raises:
            InputError: DVC refuses something.
        """
        try:
            with self.repo.lock, self.repo.scm_context:
                yield
        except DvcException as error:
            raise InputError(f"{self.home}: {' '.join(str(error).split())}") from error

    def settle(self, name: str) -> bool:
        """Whether the stage is up to date, or became so by its run-cache. Raw data need not be here as long
        as what was made of it is, as in `dvc repro --allow-missing`."""
        stage = self.stages[name]
        if stage.frozen or not (
            stage.changed_stage() or stage.changed_deps(allow_missing=True) or stage.changed_outs()
        ):
            return True
        if any(not dep.exists for dep in stage.deps):
            return False
        for found in self._known(stage):
            for out in found.outs:
                _drop_damaged(out)
            if found.outs_cached():  # else the old outputs stay
                for out in stage.outs:
                    if out.use_cache:  # the others are as they were
                        out.remove()
                found.checkout()
                self.finish(name)
                return True
        return False

    def _known(self, stage: PipelineStage) -> Iterator[PipelineStage]:
        """The stage with outputs that were made of what it reads now: by dvc.lock, by the run-cache."""
        if not stage.changed_stage() and stage.deps_cached():
            yield stage
        stage.save_deps()
        if not _can_hash(stage):  # nothing of it is kept there
            return
        kept, found = self.repo.stage_cache, None
        with contextlib.suppress(OSError, ValueError, KeyError):  # a damaged entry
            if entry := kept._load(stage):
                found = kept._create_stage(entry, wdir=stage.wdir)
        if found and {out.fs_path for out in found.outs} == {out.fs_path for out in stage.outs}:
            yield found
        else:  # DVC would stumble over it again
            shutil.rmtree(kept._get_cache_dir(_get_stage_hash(stage)), ignore_errors=True)

    def stale(self, configs: Path) -> list[str]:
        """The stages that would be run, `configs` apart; asks only. What DVC's cache holds is not run.

        Args:
            configs: a folder with what the stage `configs` would write now.
        """
        found: list[str] = []
        for name, stage in self.stages.items():
            needs = self.upstream[name].intersection(found)
            if name != "configs" and (
                needs
                or stage.changed_stage()
                or any(self._differs(dep, configs) for dep in stage.deps)
                or (stage.changed_outs() and not stage.outs_cached())
            ):
                found.append(name)
        return found

    def _differs(self, dep: Any, configs: Path) -> bool:
        """Whether what a stage reads is other than what it read; raw data need not be here."""
        path = Path(dep.fs_path)
        if path.is_relative_to(self.home / "configs"):
            path = configs / path.relative_to(self.home / "configs")
            return hashlib.md5(path.read_bytes()).hexdigest() != dep.hash_info.value
        return any(state != "deleted" for state in dep.status().values())

    def job(self, name: str) -> dict[str, Any]:
        """What a worker needs to know of a stage (job.py). `outs` are removed before it runs; they stay where
        something is lacking of which they would be made anew. The stage itself says best what it expects, and
        where one gets it."""
        stage = self.stages[name]
        whole = all(dep.exists for dep in stage.deps)
        return {
            "name": name,
            "cmd": [stage.cmd] if isinstance(stage.cmd, str) else stage.cmd,
            "folder": stage.wdir,
            "home": str(self.home),
            "threads": self.threads,
            "outs": [out.fs_path for out in stage.outs if whole and not out.persist],
        }

    def clear(self, groups: tuple[str, ...]) -> list[str]:
        """Remove what stages of these groups once wrote and none writes any more: of cells that were renamed
        or left out. Returns the files."""
        written = {Path(out.fs_path) for stage in self.stages.values() for out in stage.outs}
        gone = []
        for name, entry in self._locked_stages().items():
            for path in (self.home / out["path"] for out in entry.get("outs", [])):
                if name.partition("@")[0] in groups and path not in written and path.is_file():
                    path.unlink()
                    gone.append(str(path.relative_to(self.home)))
        return gone

    def begin(self, name: str) -> None:
        """Until `finish` or `drop` other DVC commands keep off what the stage reads and writes."""
        stage = self.stages[name]
        read = [dep.fs_path for dep in stage.deps]
        write = [out.fs_path for out in stage.outs]
        hardlink = self.repo.config["core"].get("hardlink_lock", False)
        command = " ".join(sys.argv)  # as DVC names the process; for the same name it is no stranger
        self._held[name] = contextlib.ExitStack()
        self._held[name].enter_context(
            rwlock(self.repo.tmp_dir, self.repo.fs, command, read, write, hardlink)
        )

    def drop(self, name: str) -> None:
        """The stage does not run any more."""
        self._held.pop(name, contextlib.ExitStack()).close()

    def finish(self, name: str) -> None:
        """Take the outputs of a stage into DVC's cache and run-cache.

        Raises:
            InputError: one is missing, or DVC cannot keep it.
        """
        stage = self.stages[name]
        self.drop(name)
        uncached = any(not out.use_cache for out in stage.outs if not (out.is_metric or out.is_plot))
        try:
            stage.save(run_cache=not uncached)
            stage.commit()
        except (DvcException, OSError) as error:  # one is lacking, the disk is full
            raise InputError(f"{name}: {' '.join(str(error).split())}") from error
        self._entries |= to_lockfile(stage)

    def close(self) -> None:
        for name in list(self._held):
            self.drop(name)
        with self.locked():
            self.write(at_once=True)

    def write(self, at_once: bool = False) -> None:
        """Enter what was finished into dvc.lock, if enough time has passed; whole or not at all."""
        since = time.monotonic() - self._written
        if not self._entries or not (at_once or since > max(SECONDS, SHARE * self._cost)):
            return
        started = time.monotonic()
        path = self.home / "dvc.lock"
        stages = _ordered(self._locked_stages() | self._entries, _committed(self.home), self.stages)
        with atomic_write(path) as partial:
            partial.write_text(dumps_yaml({"schema": "2.0", "stages": stages}), encoding="utf-8")
        self.repo.scm_context.track_file("dvc.lock")
        self._entries = {}
        self._written = time.monotonic()
        self._cost = self._written - started

    def _locked_stages(self) -> dict[str, Any]:
        path = self.home / "dvc.lock"
        return lock.load(path.read_bytes() if path.exists() else b"").get("stages", {})


def _drop_damaged(out: Output) -> None:
    """Take out of DVC's cache what it holds of an output and is not what its name says. DVC does not look: it
    trusts files there that nobody may write to."""
    names = [out.hash_info.value] if out.use_cache and out.hash_info else []
    for name in names:  # of a folder's list first, then of the files that are in it
        path = Path(out.cache.oid_to_path(name))
        if path.is_file():
            with open(path, "rb") as content:
                if hashlib.file_digest(content, "md5").hexdigest() != name.removesuffix(".dir"):
                    path.unlink()
        if name.endswith(".dir") and (folder := out.get_obj()):
            names += [each.value for _, (_, each) in folder.iteritems()]


def _committed(home: Path) -> dict[str, Any]:
    """The stages in the dvc.lock of the last commit."""
    found = subprocess.run(["git", "show", "HEAD:./dvc.lock"], cwd=home, capture_output=True)
    return lock.load(found.stdout).get("stages", {}) if found.returncode == 0 else {}


def _ordered(entries: dict[str, Any], committed: dict[str, Any], planned: dict[str, Any]) -> dict[str, Any]:
    """As `dvc repro` would have it: what was there stays in its place, what is new follows in the order of
    the plan, whatever was finished first."""
    places = {name: place for place, name in enumerate({**committed, **planned, **entries})}
    return dict(sorted(entries.items(), key=lambda item: places[item[0]]))
