"""Bring a profile up to date, many stages at once: `make repro`.

DVC says what is to be run (ledger.py), Dask's workers run it (workers.py, job.py), and this process alone
tells DVC what came out. Plain `dvc repro` does the same, one stage after the other.
"""

import argparse
import ctypes
import os
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def warn_if_moved(environment: Path) -> None:
    """Tell of a virtual environment that was moved: its Python runs, its commands do not."""
    with suppress(OSError):
        text = (environment / "bin" / "activate").read_text(encoding="utf-8")
        if str(environment) not in text and str(environment.resolve()) not in text:
            print(
                f"{environment}: was moved here; `dvc` and `source .venv/bin/activate` work again after "
                "`rm -r .venv && make repro`",
                file=sys.stderr,
            )


def main() -> None:
    """What is imported here is not imported by the workers, which load this file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("profile", nargs="?", default="", help="its name (the one of the root's dvc.yaml)")
    parser.add_argument(
        "--jobs", type=int, default=len(os.sched_getaffinity(0)), help="stages at once (one a core)"
    )
    parser.add_argument("--cells-per-gpu", type=int, default=1, help="stages at once on a GPU (1)")
    parser.add_argument("--cluster", type=Path, help="yaml file that describes it (docs/cluster.md)")
    parser.add_argument("--rehearse", action="store_true", help="run one cell of each kind, on few images")
    parser.add_argument("--side", type=int, help="pixels of a rehearsal's faces (the profile's)")
    args = parser.parse_args()
    received: list[int] = []

    def stop(number: int, _: object) -> None:
        if received:
            sys.exit(128 + number)
        received.append(number)  # the driver ends between two steps of DVC

    for number in STOPPING:
        signal.signal(number, stop)
    with suppress(OSError, AttributeError):  # who kills make stops this, where the system can tell
        ctypes.CDLL("libc.so.6").prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG

    sys.path.append(str(Path(__file__).resolve().parents[1] / "stages"))
    import bootstrap

    from ledger import opened
    from project import project

    from asm.basics.errors import reported
    from asm.basics.files import denied
    from driver import ATTEMPTS, check, run_all

    if sys.prefix != sys.base_prefix:
        warn_if_moved(Path(sys.prefix))
    with reported():
        cluster = args.cluster and args.cluster.resolve()
        try:
            if args.rehearse:
                import rehearse

                home, started = rehearse.prepare(args.profile, bootstrap.ROOT, args.side), time.monotonic()
            else:
                home = project(args.profile, bootstrap.ROOT)
            with opened(home) as ledger:
                attempts = 1 if args.rehearse else ATTEMPTS
                driver = run_all(
                    ledger, args.jobs, args.cells_per_gpu, cluster, lambda: bool(received), attempts
                )
                if args.rehearse:
                    sys.exit(not rehearse.conclude(home, driver, started) or bool(received))
                check(driver)
                if not received:
                    shutil.rmtree(home / "checkpoints", ignore_errors=True)  # all is DVC's now
        except PermissionError as error:
            raise denied(error, bootstrap.ROOT) from error
    if received:
        print("stopped; what was finished is kept, and the same command resumes", file=sys.stderr)
        sys.exit(128 + received[0])


if __name__ == "__main__":
    main()
