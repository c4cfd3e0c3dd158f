"""The workers of `make repro`: this machine's cores or GPUs, or the cluster that a yaml file names."""

import asyncio
import contextlib
import importlib
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
import warnings
from collections.abc import Callable
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import cloudpickle
import dask
import job
from distributed import Client, Future, LocalCluster, Status
from progress import ProgressView

from asm.basics.code import ROOT
from asm.basics.errors import InputError
from asm.basics.yaml import read_yaml

CLASSES = {
    "slurm": "dask_jobqueue.SLURMCluster",
    "pbs": "dask_jobqueue.PBSCluster",
    "sge": "dask_jobqueue.SGECluster",
    "lsf": "dask_jobqueue.LSFCluster",
    "htcondor": "dask_jobqueue.HTCondorCluster",
    "ssh": "distributed.SSHCluster",
}
SETTINGS = {
    # a stage that is lost with its worker comes back to the driver, which counts its failures
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.work-stealing": False,
    # else a worker whose stage has just begun counts as idle beside those that run for long, and gets another
    "distributed.scheduler.unknown-task-duration": "1000h",
    # for the dashboard; without these lines Dask takes 2 % of a core for each worker, and 4 % for the
    # driver of two workers (a whole core with 64)
    "distributed.worker.profile.enabled": False,
    "distributed.admin.system-monitor.interval": "60s",
    "distributed.admin.tick.interval": "1s",
    "distributed.comm.timeouts.connect": "60s",
}
# Prints a line for each GPU that computes: its place in CUDA_VISIBLE_DEVICES.
PROBE = """
import torch
for number in range(torch.cuda.device_count()):
    try:
        torch.ones(1, device=f"cuda:{number}").add(1).item()
        print("computes:", number)
    except RuntimeError as error:
        print("torch.Error:", error, file=__import__("sys").stderr)
"""
ASKED = 120  # seconds that nvidia-smi, torch and a cluster's scheduler have to answer: some never do
STOPPED = 30  # seconds that workers have to end what they run; it also ends with them
SILENT = 60.0  # seconds without a worker after which the user is told
cloudpickle.register_pickle_by_value(job)


class Carried:
    """A function of job.py that travels as what it is, not as a name: workers on other machines could not
    import it. Dask pickles tasks by name where it can."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, *arguments: Any) -> Any:
        return self.function(*arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[bytes]]:
        return cloudpickle.loads, (cloudpickle.dumps(self.function),)


class WorkerPool:
    """Workers, started when they are first asked for. A context: at its end all that they run ends too.

    Args:
        home: folder of the profile's project.
        jobs: workers on this machine if it has no GPU; with GPUs there is one for each.
        cells_per_gpu: stages at once on a GPU.
        cluster: yaml file, `type` and keywords of Dask's class for it; None: this machine.
        view: is told what stages print.
    """

    def __init__(
        self, home: Path, jobs: int, cells_per_gpu: int, cluster: Path | None, view: ProgressView
    ) -> None:
        self.home, self.jobs, self.cells_per_gpu, self.cluster = home, jobs, cells_per_gpu, cluster
        self.view = view
        self.jobs_there = Jobs()
        self._client: Client | None = None
        self._told, self._patience = time.monotonic(), SILENT
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> "WorkerPool":
        return self

    def __exit__(self, *reason: Any) -> None:
        if self._client is not None:
            with contextlib.suppress(Exception):  # workers may be gone, or suspended, or the scheduler
                self._client.run(job.stop, on_error="ignore", callback_timeout=STOPPED)
        with contextlib.suppress(Exception):  # likewise; Dask asserts that all jobs came to be
            self._stack.close()

    @property
    def client(self) -> Client:
        """
        Raises:
            InputError: the cluster's file is not right, or Dask cannot start what it describes.
        """
        if self._client is None:
            self._stack.enter_context(dask.config.set(SETTINGS))
            logging.getLogger("distributed").setLevel(logging.CRITICAL)  # `view` says what is lost
            token = self._stack.enter_context(tempfile.TemporaryDirectory(dir=self.home / ".dvc" / "tmp"))
            devices: list[str] = []
            if self.cluster is not None:
                place, where = described(self.cluster, self.jobs_there), str(self.cluster)
            elif devices := gpus(self.view.say):
                place, where = local(len(devices), self.cells_per_gpu), f"{len(devices)} GPUs of this machine"
            else:
                place, where = local(self.jobs, 1), f"{self.jobs} on the CPU"
            if not isinstance(place, str):
                self._stack.enter_context(place)
            root = str(ROOT)
            self._arguments = (job.facts(root, token), root, token, devices)
            self._client = self._stack.enter_context(Client(place, timeout=60))
            self._client.subscribe_topic("stages", lambda event: self.view.told(event[1]))
            self.view.say(f"workers: {where}; {self._client.dashboard_link}")
        return self._client

    def slots(self) -> int:
        """How many stages may run at once now.

        Raises:
            InputError: Dask's scheduler is gone, or the cluster's refuses jobs and none is left.
        """
        try:
            count = sum(self.client.nthreads().values())
        except (OSError, TimeoutError) as error:
            raise InputError(f"Dask's scheduler does not answer ({error}); start again") from error
        if self.jobs_there.refused and not count and not self.jobs_there.alive:
            raise InputError(f"{self.cluster}: no job could be submitted: {self.jobs_there.refused}")
        now = time.monotonic()
        if count:
            self._told = now
        elif now - self._told > self._patience:
            self._told, self._patience = now, 10 * SILENT
            jobs = f"; jobs in the queue or at work: {len(self.jobs_there.alive)}" if self.cluster else ""
            self.view.say(
                f"no worker yet{jobs}. Work starts as soon as one comes; if none does, look at the "
                "scheduler's queue and the jobs' logs, or stop this (Ctrl-C)"
            )
        return count

    def submit(self, stage: dict[str, Any]) -> Future:
        """What becomes of the stage: the result of job.run."""
        key = f"{stage['name']}-{uuid.uuid4().hex[:8]}"
        return self.client.submit(Carried(job.run), stage, *self._arguments, key=key, pure=False)

    def retire(self, address: str) -> int:
        """Stop this worker; returns how many stages may run at once without it."""
        self.client.retire_workers([address], close_workers=True)
        return self.slots()


def local(workers: int, threads: int) -> LocalCluster:
    """So many workers on this machine with so many stages at once. Encrypted, by keys made for the occasion:
    else other users of the machine could run code as this one."""
    options = {"n_workers": workers, "threads_per_worker": threads, "memory_limit": None, "silence_logs": 50}
    resource_tracker.ensure_running()  # it would let SIGINT through again in the thread that starts it
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # workers inherit that: Ctrl-C is the driver's
    try:
        with warnings.catch_warnings(action="ignore"):  # another port is found where this one is taken
            return LocalCluster(**options, security=True, dashboard_address="127.0.0.1:8787")
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def gpus(say: Callable[[str], None]) -> list[str]:
    """This machine's GPUs that torch can compute on, as CUDA_VISIBLE_DEVICES takes them. Why others are left
    out is said."""
    names, why = [], ""
    if (chosen := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        names = [name for name in chosen.split(",") if name.strip()]
    elif shutil.which("nvidia-smi"):
        words = ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"]
        status, told, errors = asked(words)
        names = [line.strip() for line in told.splitlines() if line.strip()] if status == 0 else []
        why = f"nvidia-smi: {' '.join((told + errors).split())[:300]}" if status else ""
    usable = names
    if names:
        # in this order: by itself torch numbers them by speed
        _, told, errors = asked(
            ["env", f"CUDA_VISIBLE_DEVICES={','.join(names)}", sys.executable, "-c", PROBE]
        )
        computing = told.splitlines()
        usable = [name for number, name in enumerate(names) if f"computes: {number}" in computing]
        if len(usable) < len(names):
            said = re.search(r"^\S.*(Error|Warning): (.*)", errors, re.MULTILINE)
            why = f"torch: {said[2] if said else 'it finds no more'}"
    if why:
        say(f"GPUs that can be used: {len(usable)} of {len(names)} ({why})")
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(usable)  # the stages are not to try the others
    return usable


def asked(words: list[str]) -> tuple[int, str, str]:
    """Exit status, output and errors of a command; a status of its own where it cannot be run, or hangs."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, errors="replace", timeout=ASKED)
        return done.returncode, done.stdout, done.stderr
    except subprocess.TimeoutExpired:
        return -1, "", f"TimeoutError: no answer within {ASKED} seconds"
    except OSError as error:
        return -1, "", f"{type(error).__name__}: {error}"


class Jobs:
    """What became of a cluster's jobs: names of those in its queue or at work, and why it refused one."""

    def __init__(self) -> None:
        self.alive: set[str] = set()
        self.refused = ""

    def watched(self, kind: type) -> type:
        """The class of jobs `kind` of dask_jobqueue, whose errors Dask would only log and wait for ever."""
        there = self

        class Watched(kind):
            async def start(self) -> None:
                try:
                    await asyncio.wait_for(super().start(), ASKED)
                    there.alive.add(self.name)
                except TimeoutError:
                    there.refused = f"the scheduler does not answer within {ASKED} seconds"
                    self.status = Status.running
                except (RuntimeError, ValueError, OSError) as error:
                    told = str(error).partition("\nstderr:\n")[2].strip() or str(error)
                    there.refused = " ".join(told.split())
                    self.status = Status.running  # for Dask, which would wait

            async def close(self) -> None:
                there.alive.discard(self.name)
                await super().close()

        return Watched


def described(path: Path, there: Jobs) -> Any:
    """The cluster of a yaml file, or the address of one that runs. `there` is told of its jobs.

    Raises:
        InputError: the file is not right, or Dask cannot start what it describes.
    """
    content = read_yaml(path)
    kind = content.pop("type", None)
    if kind == "address":
        if not isinstance(content.get("address"), str):
            raise InputError(f"{path}: type address needs the scheduler's: `address: tcp://host:8786`")
        return content["address"]
    if kind not in CLASSES:
        raise InputError(f"{path}: type: {kind!r}; expected one of {', '.join([*CLASSES, 'address'])}")
    module, _, name = CLASSES[kind].rpartition(".")
    jobs = content.pop("jobs", 1) if kind != "ssh" else None
    if jobs is not None and (not isinstance(jobs, int) or jobs < 1):
        raise InputError(f"{path}: jobs: expected a number from 1, found {jobs!r}")
    try:
        cluster = getattr(importlib.import_module(module), name)
        if jobs:
            content["job_cls"] = there.watched(cluster.job_cls)
        started = cluster(**content)
    except Exception as error:
        raise InputError(
            f"{path}: {name} cannot be started with this ({type(error).__name__}: {error})"
        ) from error
    if jobs:
        started.adapt(minimum_jobs=jobs, maximum_jobs=jobs)  # a job that ends is submitted anew
    return started
