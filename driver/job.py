"""One stage on a worker: its command in a process of its own, which ends with the worker.

Dask carries these functions to the workers as they are, hence only Python's own library here.
"""

import hashlib
import os
import platform
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

BAR = re.compile(r".*\d+%\|")  # of tqdm
GUARD = "trap '' HUP INT TERM; read _; kill -9 0"  # the group of processes
PATIENCE = 5  # seconds that a stage has to end by itself, also after an error
PACKAGES = ("torch", "torchvision", "numpy", "pandas", "scipy", "scikit-learn")  # that results depend on
# Dask sets these for its workers; a stage's last digits must not depend on that.
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MALLOC_TRIM_THRESHOLD_")


def code(root: str | Path) -> str:
    """SHA-256 over all that stages may run in a checkout."""
    digest = hashlib.sha256()
    for path in sorted(path for name in ("asm", "stages") for path in Path(root, name).rglob("*.py")):
        digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def facts(root: str, token: str) -> dict[str, str]:
    """What must be the same on every worker: the checkout's folder, its code, the packages."""
    found = {"the folder": str(Path(token).is_dir()), "the code": code(root)[:12]}
    found["Python"] = ".".join(platform.python_version_tuple()[:2])
    for name in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def unfit(expected: dict[str, str], root: str, token: str) -> str | None:
    """In what this worker differs from the driver, None if it may work."""
    found = facts(root, token)
    where = f"the worker on {socket.gethostname()} ({sys.executable})"
    if found["the folder"] != "True":
        return f"{where} does not see {root}: the grid needs a file system that all machines share"
    different = {name: value for name, value in expected.items() if found.get(name) != value}
    wrong = [f"{name} {found.get(name, 'missing')} instead of {value}" for name, value in different.items()]
    return f"{where} has {', '.join(wrong)}; it needs the driver's code and packages" if wrong else None


def run(
    job: dict[str, Any], expected: dict[str, str], root: str, token: str, devices: list[str]
) -> dict[str, Any]:
    """Remove the stage's old outputs and run its commands, as DVC does.

    Each line that the stage prints is told to the driver at once, and a warning as soon as the stage has gone
    on after it. Returns `seconds` and the warnings that were not told, `errors`; or `unfit`, and nothing was
    done. `token`: a folder of the driver's.

    Raises:
        RuntimeError: a command failed, and the message is what it printed as errors; or Dask calls for the
            second time, because a worker died that had the first one's result.
    """
    from distributed import get_worker

    worker = get_worker()
    if not hasattr(worker, "asm_running"):
        worker.asm_running, worker.asm_unfit = {}, unfit(expected, root, token)
    if worker.asm_unfit:
        return {"unfit": worker.asm_unfit, "worker": worker.address}
    key = worker.get_current_task()
    try:
        Path(token, key).open("x").close()
    except FileExistsError:  # what the first one has written may be DVC's by now
        raise RuntimeError("its worker died") from None
    environment = stage_environment(job)
    if devices:
        environment["CUDA_VISIBLE_DEVICES"] = devices[int(worker.name) % len(devices)]
    worker.log_event("stages", {"stage": job["name"], "started": worker.address})
    started = time.monotonic()

    def tell(line: str) -> None:
        worker.log_event("stages", {"stage": job["name"], "line": line})

    def wanted() -> bool:
        task = worker.state.tasks.get(key)
        return task is not None and task.state == "executing"

    for path in map(Path, job["outs"]):
        remove(path)
    warnings: list[str] = []
    for command in job["cmd"]:
        worker.asm_running[job["name"]] = begun = Command(command, job["folder"], environment)
        try:
            errors, untold = begun.follow(tell, wanted)
        finally:
            begun.end()
            del worker.asm_running[job["name"]]
        if begun.process.returncode:
            told = "\n".join(errors[-40:]) or "it printed no error"
            raise RuntimeError(f"exit status {begun.process.returncode}: {told}")
        warnings += untold
    return {"seconds": time.monotonic() - started, "errors": warnings}


def stop(dask_worker: Any) -> None:
    """End all that runs on a worker."""
    for command in list(getattr(dask_worker, "asm_running", {}).values()):
        command.end()


def stage_environment(job: dict[str, Any]) -> dict[str, str]:
    """What DVC sets, this Python first on the path, and the driver's numbers of threads."""
    environment = {name: value for name, value in os.environ.items() if name not in THREADS}
    environment |= job["threads"] | {"DVC_ROOT": job["home"], "DVC_STAGE": job["name"]}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return environment


class Command:
    """A shell command, in a group of processes whose first one, the guard, ends all of them when this process
    dies: its pipe closes then. The system's signal for the death of a parent would reach the shell only."""

    def __init__(self, command: str, folder: str, environment: dict[str, str]) -> None:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.guard = subprocess.Popen(["/bin/sh", "-c", GUARD], process_group=0, **pipes)
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        shell = [os.environ.get("SHELL") or "/bin/sh", "-c", command]
        options = {"cwd": folder, "env": environment, "process_group": self.guard.pid}
        try:
            self.process = subprocess.Popen(shell, text=True, errors="replace", **options, **pipes)
        except BaseException:
            self.guard.kill()
            raise

    def follow(self, tell: Callable[[str], None], wanted: Callable[[], bool]) -> tuple[list[str], list[str]]:
        """Pass on what it prints until it ends, or is not wanted; returns what it printed as errors, and what
        of that was not passed on, as it may be why it ended."""
        errors: list[str] = []
        told, came = 0, time.monotonic()

        def take_error(line: str) -> None:
            nonlocal came
            if BAR.match(line):
                tell(line)
            else:
                errors.append(line)
                came = time.monotonic()

        def read(stream: Any, take: Any) -> None:
            for line in stream:
                take(line.rstrip("\n"))

        reading = [
            threading.Thread(target=read, args=arguments, daemon=True)
            for arguments in ((self.process.stdout, tell), (self.process.stderr, take_error))
        ]
        # `wait(1)` would look 20 times a second
        ending = threading.Thread(target=self.process.wait, daemon=True)
        for thread in (*reading, ending):
            thread.start()
        while ending.is_alive():
            ending.join(1)
            if not wanted():
                self.end()
            elif time.monotonic() - came > PATIENCE:  # it has gone on: these were warnings
                for line in errors[told:]:
                    tell(line)
                    told += 1
        for thread in reading:
            thread.join(PATIENCE)  # what the stage left behind may hold its pipes
        return errors, errors[told:]

    def end(self) -> None:
        """End it and all that it started."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(self.guard.pid, number)
                with suppress(subprocess.TimeoutExpired):
                    self.process.wait(PATIENCE)
        self.guard.communicate()


def remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
